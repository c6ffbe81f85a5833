"""Passwords, the mails about them, and how often somebody may try."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import settings as running
from hypothesis import strategies as st
from tests.conftest import PASSWORD, Company, eventually
from tests.modules.identity.test_members import bearer, sign_in

from buildpeer.local.mailcatcher import MailCatcher, text_of
from buildpeer.modules.identity import rules
from buildpeer.modules.identity import service as identity
from buildpeer.modules.notifications import service as notifications
from buildpeer.platform import clock
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id
from buildpeer.platform.limits import Limit
from buildpeer.platform.mail import Letter, Mailer, compose
from buildpeer.platform.messages import LANGUAGES, MAILS
from buildpeer.platform.throttle import Throttle

NEW = "una contraseña nueva"


class Post:
    """A mail server for one test, and the relay to it."""

    def __init__(self, catcher: MailCatcher, mailer: Mailer, db: Database) -> None:
        self.catcher, self.mailer, self.db = catcher, mailer, db

    async def to(self, address: str) -> list[Any]:
        while await notifications.relay_mails(self.db, self.mailer, now=clock.now()):
            pass
        return [mail for mail in self.catcher.mails if mail["To"] == address]

    async def token(self, address: str) -> str:
        found = re.search(r"#(\S+)", text_of((await self.to(address))[-1]))
        assert found
        return found[1]


@pytest.fixture
async def post(worker_db: Database) -> AsyncIterator[Post]:
    catcher = MailCatcher()
    servers = await catcher.serve(host="127.0.0.1", smtp_port=0, page_port=0)
    mailer = Mailer(f"smtp://127.0.0.1:{servers[0].sockets[0].getsockname()[1]}", sender="BuildPeer <a@b.test>")
    yield Post(catcher, mailer, worker_db)
    mailer.close()
    for server in servers:
        server.close()


async def try_password(http: httpx.AsyncClient, email: str, password: str) -> httpx.Response:
    return await http.post("/v1/sessions", json={"email": email, "password": password})


async def test_a_forgotten_password_is_replaced_by_mail_once_and_every_session_ends(
    http, settings, admin, company: Company, post: Post
) -> None:
    caller = await company.hire()
    email = company.emails[caller.person_id]
    await admin.execute("update people set locale = 'pt' where person_id = $1", caller.person_id)
    signed_in = await sign_in(http, company, caller)
    asked = await http.post("/v1/password-resets", json={"email": email.upper()})
    assert (asked.status_code, asked.content) == (204, b"")
    token = await post.token(email)
    mail = (await post.to(email))[-1]
    assert mail["Subject"] == MAILS["password_reset"]["pt"]["subject"]
    assert f'href="{settings.web_url}/password#{token}"' in text_of(mail, "html")
    weak = await http.post("/v1/password-resets/completion", json={"token": token, "password": "corta"})
    assert (weak.status_code, weak.json()["code"]) == (422, "password_weak")
    done = await http.post("/v1/password-resets/completion", json={"token": token, "password": NEW})
    assert done.status_code == 204
    again = await http.post("/v1/password-resets/completion", json={"token": token, "password": "otra contraseña"})
    assert (again.status_code, again.json()["code"]) == (410, "link_expired")
    assert (await try_password(http, email, PASSWORD)).status_code == 401
    assert (await try_password(http, email, NEW)).status_code == 201
    for answer in (
        await http.get("/v1/projects", headers=bearer(signed_in)),
        await http.post("/v1/tokens", json={"refresh_token": signed_in["refresh_token"]}),
    ):
        assert answer.json()["code"] == "session_ended"
    assert (await post.to(email))[-1]["Subject"] == MAILS["password_changed"]["pt"]["subject"]
    entries = await admin.fetch("select action, changes from audit.entries where tenant_id = $1", company.tenant_id)
    assert "password_reset" in {row["action"] for row in entries}
    assert not any("argon2" in row["changes"] or token in row["changes"] for row in entries)


async def test_asking_for_an_unknown_address_answers_alike_and_mails_nobody(http, post: Post, admin) -> None:
    email = f"{uuid4()}@nobody.test"
    answer = await http.post("/v1/password-resets", json={"email": email})
    assert (answer.status_code, answer.content) == (204, b"")
    assert await post.to(email) == []
    assert await admin.fetchval("select count(*) from mails where recipient = $1", email) == 0


async def test_a_reset_expires(http, admin, company: Company, post: Post) -> None:
    email = company.emails[(await company.hire()).person_id]
    await http.post("/v1/password-resets", json={"email": email})
    token = await post.token(email)
    await admin.execute("update password_resets set expires_at = now() - interval '1 second' where email = $1", email)
    late = await http.post("/v1/password-resets/completion", json={"token": token, "password": NEW})
    assert late.json()["code"] == "link_expired"


async def test_a_new_password_ends_every_link_mailed_before(http, company: Company, post: Post) -> None:
    caller, colleague = await company.hire(), await company.hire()
    email, others = company.emails[caller.person_id], company.emails[colleague.person_id]

    async def ask(address: str) -> str:
        await post.to(address)  # what was mailed before
        await http.post("/v1/password-resets", json={"email": address})
        return await post.token(address)

    async def redeem(token: str, password: str) -> int:
        wanted = {"token": token, "password": password}
        return (await http.post("/v1/password-resets/completion", json=wanted)).status_code

    first, of_another = await ask(email), await ask(others)
    changed = await http.put(
        "/v1/me/password", json={"current": PASSWORD, "password": NEW}, headers=company.bearer(caller)
    )
    assert changed.status_code == 204
    assert await redeem(first, "la del ladrón del correo") == 410
    second, third = await ask(email), await ask(email)
    assert [await redeem(third, "otra contraseña"), await redeem(second, "la del ladrón del correo")] == [204, 410]
    assert await redeem(of_another, NEW) == 204


async def test_a_changed_password_ends_the_other_sessions_only(http, company: Company) -> None:
    caller = await company.hire()
    here, there = [await sign_in(http, company, caller) for _ in range(2)]
    wrong = await http.put("/v1/me/password", json={"current": "no", "password": NEW}, headers=bearer(here))
    assert (wrong.status_code, wrong.json()["code"]) == (401, "bad_credentials")
    done = await http.put("/v1/me/password", json={"current": PASSWORD, "password": NEW}, headers=bearer(here))
    assert done.status_code == 204
    assert (await http.get("/v1/me", headers=bearer(here))).status_code == 200
    assert (await http.get("/v1/me", headers=bearer(there))).json()["code"] == "session_ended"
    assert (await try_password(http, company.emails[caller.person_id], NEW)).status_code == 201


async def test_tries_are_limited_alike_for_an_account_and_for_none(http, company: Company, monkeypatch) -> None:
    monkeypatch.setattr(rules, "TRIES_BY_ACCOUNT", Limit(f"test-{uuid4()}", quota=2, window_s=60))
    known = company.emails[(await company.hire()).person_id]
    refused = []
    for email in (known, f"{uuid4()}@nobody.test"):
        codes = [(await try_password(http, email, "wrong")).json()["code"] for _ in range(2)]
        assert codes == ["bad_credentials"] * 2
        answer = await try_password(http, email, PASSWORD)  # even the right one
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_tries")
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert ";q=2;w=60" in answer.headers["ratelimit-policy"]
        assert ";r=0;t=" in answer.headers["ratelimit"]
        refused.append({k: v for k, v in answer.json().items() if k not in ("request_id", "detail", "retry_after_s")})
    assert refused[0] == refused[1]


async def test_tries_that_succeed_do_not_count_and_an_address_is_limited_over_all_accounts(
    http, company: Company, monkeypatch
) -> None:
    monkeypatch.setattr(rules, "TRIES_BY_ADDRESS", Limit(f"test-{uuid4()}", quota=2, window_s=60))
    email = company.emails[(await company.hire()).person_id]
    assert [(await try_password(http, email, PASSWORD)).status_code for _ in range(4)] == [201] * 4
    for expected in (401, 401, 429):
        assert (await try_password(http, f"{uuid4()}@nobody.test", "wrong")).status_code == expected


async def test_no_other_spelling_of_an_address_gets_tries_of_its_own(http, company: Company, admin) -> None:
    caller = await company.hire()
    email = f"lili-{uuid4()}@x.test"
    await admin.execute("update people set email = $2 where person_id = $1", caller.person_id, email)
    assert (await try_password(http, email.upper(), PASSWORD)).status_code == 201
    spelled = email.replace("i", "İ", 1)  # Postgres makes a plain i of it, which Python doesn't
    assert (await try_password(http, spelled, PASSWORD)).json()["code"] == "bad_credentials"


async def test_while_valkey_is_away_each_process_counts_for_itself() -> None:
    throttle = Throttle("redis://127.0.0.1:1/0")
    limit = Limit("test", quota=2, window_s=60)
    await throttle.take(limit, "ana")
    await throttle.take(limit, "ana")
    with pytest.raises(Problem, match="too_many_tries"):
        await throttle.take(limit, "ana")
    await throttle.take(limit, "rosa")
    for proof, expected in ((right, True), (wrong, False), (right, True), (wrong, False)):
        assert await throttle.attempt(proof, (limit, "luz")) is expected

    async def work() -> bool:
        raise AssertionError("nobody hashes a password for who has had their tries")

    with pytest.raises(Problem, match="too_many_tries"):
        await throttle.attempt(work, (limit, "luz"))
    await throttle.close()


async def right() -> bool:
    await asyncio.sleep(0)
    return True


async def wrong() -> bool:
    await asyncio.sleep(0)
    return False


async def test_as_many_who_are_right_sign_in_at_once_as_there_are(http, company: Company) -> None:
    email = company.emails[(await company.hire()).person_id]
    answers = await asyncio.gather(*(try_password(http, email, PASSWORD) for _ in range(25)))
    assert {answer.status_code for answer in answers} == {201}


async def test_however_many_guess_at_once_few_learn_that_they_were_wrong(http, company: Company, monkeypatch) -> None:
    monkeypatch.setattr(rules, "TRIES_BY_ACCOUNT", Limit(f"test-{uuid4()}", quota=4, window_s=60))
    monkeypatch.setattr(rules, "TRIES_BY_ADDRESS", Limit(f"test-{uuid4()}", quota=100, window_s=60))
    email = company.emails[(await company.hire()).person_id]
    answers = await asyncio.gather(*(try_password(http, email, f"guess {n}") for n in range(20)))
    codes = [answer.json()["code"] for answer in answers]
    assert (codes.count("bad_credentials"), codes.count("too_many_tries")) == (4, 16)
    assert (await try_password(http, email, PASSWORD)).status_code == 429


@running(max_examples=100, deadline=None)
@given(
    data=st.data(), quota=st.integers(1, 4), proofs=st.lists(st.booleans(), max_size=14), processes=st.integers(1, 3)
)
def test_no_order_of_arrival_lets_more_than_the_limit_be_wrong(
    data: st.DataObject, quota: int, proofs: list[bool], processes: int
) -> None:
    """Several processes share one Valkey; each try may pause anywhere for any time."""
    pauses = data.draw(st.lists(st.integers(0, 5), min_size=len(proofs), max_size=len(proofs)))
    limit, kept = Limit("test", quota=quota, window_s=60), dict[str, tuple[int, float]]()

    async def play() -> list[bool | None]:
        throttles = [Throttle("redis://127.0.0.1:1/0") for _ in range(processes)]
        for throttle in throttles:
            throttle._local = kept  # what Valkey is to them
            share(throttle)

        at_work = [0] * processes

        async def one(n: int) -> bool | None:
            async def proof() -> bool:
                at_work[n % processes] += 1
                assert at_work[n % processes] <= quota
                for _ in range(pauses[n]):
                    await asyncio.sleep(0)
                at_work[n % processes] -= 1
                return proofs[n]

            try:
                told = await throttles[n % processes].attempt(proof, (limit, "ana"))
            except Problem:
                return None
            failed = max((count for count, _ in kept.values()), default=0)
            assert not told or failed < quota, "who guesses on learns nothing, not even that it was right"
            return told

        told = await asyncio.gather(*(one(n) for n in range(len(proofs))))
        assert not any(throttle._lines for throttle in throttles)
        return told

    told = asyncio.run(play())
    assert all(answer in (None, proof) for answer, proof in zip(told, proofs, strict=True))
    assert told.count(False) == min(quota, proofs.count(False))
    if proofs.count(False) < quota:
        assert None not in told, "nobody is kept out by those who are right"


def share(throttle: Throttle) -> None:
    async def count(name: str, window_s: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return throttle._count_here(name, window_s)

    async def look(name: str) -> tuple[int, int]:
        await asyncio.sleep(0)
        return throttle._look_here(name)

    throttle._count, throttle._look = count, look


async def test_an_address_that_nobody_has_costs_the_same_statements(
    settings, tokens, company: Company, admin, worker_db: Database
) -> None:
    """Also the same committed row: what differs is done by the worker, later."""
    known, unknown = company.emails[(await company.hire()).person_id], f"{uuid4()}@nobody.test"
    asked: list[tuple[str, tuple[Any, ...]]] = []

    async def listen(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda query: asked.append((query.query, tuple(map(type, query.args)))))

    throttle, told = Throttle(settings.valkey_url), []
    async with asyncpg.create_pool(settings.database_url, min_size=1, max_size=1, init=listen) as pool:
        for email in (known, unknown):
            asked.clear()
            with pytest.raises(Problem, match="bad_credentials"):
                await identity.sign_in(
                    Database(pool),
                    throttle,
                    tokens,
                    email=email,
                    password="wrong",
                    device="",
                    address=str(uuid4()),
                    now=clock.now(),
                    request_id="r",
                )
            told.append(list(asked))
    await throttle.close()
    assert told[0] == told[1]
    assert any("record_failed_sign_in" in query for query, _ in told[0])
    rows = await admin.fetch(
        "select email, request_id, database_role from failed_sign_ins where email = any ($1) order by failure_id",
        [known, unknown],
    )
    assert [tuple(row) for row in rows] == [(known, "r", "buildpeer_app"), (unknown, "r", "buildpeer_app")]
    while await identity.trail_failed_sign_ins(worker_db):
        pass
    assert await admin.fetchval("select count(*) from failed_sign_ins where email = any ($1)", [known, unknown]) == 0
    trail = await admin.fetchval(
        "select count(*) from audit.entries where tenant_id = $1 and action = 'sign_in_failed'", company.tenant_id
    )
    assert trail == 1


async def test_a_wrong_current_password_is_in_the_trail_and_counts(http, company: Company, admin, monkeypatch) -> None:
    monkeypatch.setattr(rules, "TRIES_BY_ACCOUNT", Limit(f"test-{uuid4()}", quota=2, window_s=60))
    caller = await company.hire()
    headers = company.bearer(caller)

    async def change(current: str) -> str:
        body = {"current": current, "password": NEW}
        answer = await http.put("/v1/me/password", json=body, headers=headers)
        return answer.json()["code"] if answer.content else ""

    assert [await change("wrong") for _ in range(3)] == ["bad_credentials", "bad_credentials", "too_many_tries"]
    assert await change(PASSWORD) == "too_many_tries"
    rows = await admin.fetch(
        "select person_id, object_type, object_id, changes from audit.entries where tenant_id = $1 and action = $2",
        *(company.tenant_id, "confirmation_failed"),
    )
    assert [tuple(row) for row in rows] == [(caller.person_id, "people", str(caller.person_id), "{}")] * 2


async def test_a_mail_of_a_rolled_back_transaction_is_never_sent(db: Database, post: Post) -> None:
    address = f"{uuid4()}@x.test"
    letter = Letter(mail_id=new_id(), template="password_changed", recipient=address, locale="es", facts={})
    with pytest.raises(RuntimeError):
        async with db.across_tenants() as tx:
            await tx.mail(letter)
            raise RuntimeError
    assert await post.to(address) == []


async def test_a_mail_that_the_server_would_not_take_comes_again(db: Database, post: Post, admin) -> None:
    address = f"{uuid4()}@x.test"
    letter = Letter(mail_id=new_id(), template="password_changed", recipient=address, locale="es", facts={})
    async with db.across_tenants() as tx:
        await tx.mail(letter)
    away = Mailer("smtp://127.0.0.1:1", sender="a@b.test")
    while await notifications.relay_mails(post.db, away, now=clock.now()):
        pass
    away.close()
    assert await post.to(address) == []  # lent, and not due yet

    async def due() -> bool:
        await admin.execute("update mails set due_at = now() where recipient = $1", address)
        return bool(await post.to(address))

    await eventually(due)
    assert [mail["Message-ID"] for mail in await post.to(address)] == [f"<{letter.mail_id}@b.test>"]
    assert await admin.fetchval("select count(*) from mails where recipient = $1", address) == 0


async def test_the_catcher_shows_what_it_caught_and_runs_none_of_it() -> None:
    catcher = MailCatcher()
    smtp, page = await catcher.serve(host="127.0.0.1", smtp_port=0, page_port=0)
    mailer = Mailer(f"smtp://127.0.0.1:{smtp.sockets[0].getsockname()[1]}", sender="a@b.test")
    facts = {"link": "https://x.test/#<script>", "minutes": 30}
    await mailer.send(
        Letter(mail_id=new_id(), template="password_reset", recipient="ana@x.test", locale="es", facts=facts),
        now=clock.now(),
    )
    mailer.close()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{page.sockets[0].getsockname()[1]}") as client:
        listed, shown, missing = await asyncio.gather(*(client.get(path) for path in ("/", "/0", "/1")))
    assert "ana@x.test" in listed.text
    assert "https://x.test/#" in shown.text
    assert "<script" not in shown.text
    assert missing.status_code == 404
    smtp.close()
    page.close()


@pytest.mark.parametrize("template", MAILS)
def test_every_mail_is_told_in_every_language_and_needs_the_same_facts(template: str) -> None:
    fields = {
        language: set(re.findall(r"{(\w+)}", "".join(MAILS[template][language].values()))) for language in LANGUAGES
    }
    assert len({frozenset(names) for names in fields.values()}) == 1
    for language in LANGUAGES:
        facts = dict.fromkeys(fields[language], "línea\r\nBcc: x@y.test")
        letter = Letter(mail_id=new_id(), template=template, recipient="a@b.test", locale=language, facts=facts)
        message = compose(letter, sender="a@b.test", now=clock.now())
        assert message["Bcc"] is None
        assert message["Date"] is not None
