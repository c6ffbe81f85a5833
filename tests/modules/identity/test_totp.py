"""Two steps at sign-in: an app's codes, recovery codes, and everything that must not get past them."""

import asyncio
import base64
import getpass
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import PASSWORD, Company
from tests.modules.identity.test_invitations import invite, read_qr
from tests.modules.identity.test_members import bearer
from tests.modules.identity.test_passwords import NEW, Post, post, try_password  # noqa: F401

from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Stack
from buildpeer.modules.identity import rules
from buildpeer.platform import qr
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.limits import Limit
from buildpeer.platform.messages import MAILS

RFC_SECRET = b"12345678901234567890"


class App:
    """Somebody with an account, signed in, and the authenticator app on their phone."""

    def __init__(self, http: httpx.AsyncClient, admin: Any, company: Company, caller: Caller) -> None:
        self.http, self.admin, self.caller = http, admin, caller
        self.email = company.emails[caller.person_id]
        self.headers = company.bearer(caller)
        self.enrolment: dict[str, str] = {}
        self.recovery: list[str] = []

    async def post(self, path: str, **body: str) -> httpx.Response:
        return await self.http.post(f"/v1/me/totp{path}", json=body, headers=self.headers)

    async def begin(self, password: str = PASSWORD) -> httpx.Response:
        answer = await self.post("", password=password)
        if answer.status_code == 201:
            self.enrolment = answer.json()
        return answer

    async def switch_on(self) -> "App":
        assert (await self.begin()).status_code == 201
        confirmed = await self.post("/confirmation", code=self.code())
        assert confirmed.status_code == 201, confirmed.text
        self.recovery = confirmed.json()["codes"]
        await self.later()
        return self

    def code(self, *, steps: int = 0) -> str:
        secret = base64.b32decode(self.enrolment["secret"])
        return TOTP(secret, 6, SHA1(), 30).generate(datetime.now(UTC).timestamp() + 30 * steps).decode()

    def wrong(self) -> str:
        near = {self.code(steps=n) for n in range(-3, 4)}
        return next(code for n in range(10) if (code := f"{n:06}") not in near)

    async def later(self) -> None:
        """As if minutes had passed: codes come anew."""
        await self.admin.execute(
            "update totps set last_step = last_step - 10 where person_id = $1", self.caller.person_id
        )

    async def challenge(self, password: str = PASSWORD) -> str:
        answer = await try_password(self.http, self.email, password)
        assert (answer.status_code, answer.json()["code"]) == (401, "code_needed")
        assert answer.json()["expires_in"] == 300
        return answer.json()["challenge"]

    async def second(self, challenge: str, code: str) -> httpx.Response:
        return await self.http.post("/v1/sessions/completion", json={"challenge": challenge, "code": code})

    async def state(self) -> Any:
        return (await self.http.get("/v1/me", headers=self.headers)).json()["totp"]


@pytest.fixture
def app(http: httpx.AsyncClient, admin: Any, company: Company) -> Any:
    async def hire(role: str = "residente", of: Company = company) -> App:
        return App(http, admin, of, await of.hire(role))

    return hire


async def actions(admin: Any, company: Company) -> list[str]:
    rows = await admin.fetch(
        """select action from audit.entries where tenant_id = $1 and action not in ('insert', 'update')
        order by entry_id""",
        company.tenant_id,
    )
    return [row["action"] for row in rows]


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(at: int, code: str) -> None:
    assert rules.totp_step(RFC_SECRET, code, datetime.fromtimestamp(at, UTC)) == at // 30


@given(at=st.integers(10_000, 4_000_000_000), off=st.integers(-5, 5))
def test_a_code_is_taken_within_one_step_and_names_its_own(at: int, off: int) -> None:
    code = TOTP(RFC_SECRET, 6, SHA1(), 30).generate(at + 30 * off).decode()
    found = rules.totp_step(RFC_SECRET, f" {code[:3]} {code[3:]}", datetime.fromtimestamp(at, UTC))
    near = {TOTP(RFC_SECRET, 6, SHA1(), 30).generate(at + 30 * n).decode(): at // 30 + n for n in (1, 0, -1)}
    assert found == near.get(code)


@given(st.text(max_size=12))
def test_what_is_no_code_is_no_code(text: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    right = {TOTP(RFC_SECRET, 6, SHA1(), 30).generate(now.timestamp() + 30 * n).decode() for n in (-1, 0, 1)}
    assert (rules.totp_step(RFC_SECRET, text, now) is not None) == (rules.spelled(text) in right)


def test_what_is_encrypted_opens_for_its_owner_only() -> None:
    cipher, ana, rosa = Cipher(base64.b64encode(bytes(32)).decode()), uuid4(), uuid4()
    kept = cipher.encrypt(b"secret", ana)
    assert b"secret" not in kept
    assert kept != cipher.encrypt(b"secret", ana)
    assert cipher.decrypt(kept, ana) == b"secret"
    for spoilt, owner in ((kept, rosa), (kept[:-1] + bytes([kept[-1] ^ 1]), ana), (b"", ana)):
        with pytest.raises((InvalidTag, ValueError)):
            cipher.decrypt(spoilt, owner)
    with pytest.raises(ValueError, match="32 bytes"):
        Cipher(base64.b64encode(bytes(16)).decode())


@pytest.mark.parametrize("text", ["a", "https://obra.example/join#dGhlIHRva2Vu-_x", "Ñandú · 起重机 · " * 12])
def test_a_camera_reads_what_the_code_says(text: str) -> None:
    assert read_qr(qr.svg(text)) == text


async def test_an_app_is_enrolled_by_its_qr_code_and_from_then_on_a_sign_in_takes_two_steps(app: Any) -> None:
    ana = await app()
    assert (await ana.begin("not the password")).json()["code"] == "bad_credentials"
    assert await ana.state() is None
    assert (await ana.begin()).status_code == 201
    uri = httpx.URL(ana.enrolment["uri"])
    assert (uri.scheme, uri.host, uri.path) == ("otpauth", "totp", f"/BuildPeer:{ana.email}")
    assert (uri.params["secret"], uri.params["issuer"]) == (ana.enrolment["secret"], "BuildPeer")
    assert read_qr(ana.enrolment["qr_svg"]) == ana.enrolment["uri"]
    assert (await try_password(ana.http, ana.email, PASSWORD)).status_code == 201  # nothing is on yet
    wrong = await ana.post("/confirmation", code=ana.wrong())
    assert (wrong.status_code, wrong.json()["code"]) == (401, "code_wrong")
    confirmed = await ana.post("/confirmation", code=ana.code())
    assert len(set(confirmed.json()["codes"])) == 10
    state = await ana.state()
    assert state["recovery_codes_left"] == 10
    assert datetime.now(UTC) - datetime.fromisoformat(state["since"]) < timedelta(minutes=1)
    again = await ana.begin()
    assert (again.status_code, again.json()["code"]) == (409, "totp_on")
    await ana.later()
    signed_in = await ana.second(await ana.challenge(), ana.code())
    assert signed_in.status_code == 201, signed_in.text
    assert (await ana.http.get("/v1/me", headers=bearer(signed_in.json()))).status_code == 200


async def test_the_device_of_the_first_step_is_that_of_the_session(app: Any) -> None:
    ana = await (await app()).switch_on()
    device = "📱" * 100
    body = {"email": ana.email, "password": PASSWORD, "device": device}
    challenge = (await ana.http.post("/v1/sessions", json=body)).json()["challenge"]
    signed_in = (await ana.second(challenge, ana.code())).json()
    listed = (await ana.http.get("/v1/sessions", headers=bearer(signed_in))).json()["items"]
    assert [each["device"] for each in listed] == [device]


async def test_a_code_works_once_however_many_try_it_at_once(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "TRIES_BY_CODE", Limit(f"test-{uuid4()}", quota=20, window_s=60))
    ana = await (await app()).switch_on()
    challenges = [await ana.challenge() for _ in range(4)]
    answers = await asyncio.gather(*(ana.second(challenge, ana.code()) for challenge in challenges))
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401]
    assert {answer.json().get("code") for answer in answers} == {None, "code_wrong"}
    older = await ana.second(challenges[0], ana.code(steps=-1))
    assert older.json()["code"] == "code_wrong", "a code older than the last one is spent as well"
    assert (await ana.second(challenges[0], ana.code(steps=1))).status_code == 201


async def test_the_code_that_confirmed_signs_nobody_in(app: Any) -> None:
    ana = await app()
    await ana.begin()
    code = ana.code()
    assert (await ana.post("/confirmation", code=code)).status_code == 201
    assert (await ana.second(await ana.challenge(), code)).json()["code"] == "code_wrong"


async def test_a_recovery_code_stands_in_once_and_new_ones_end_the_old(app: Any, admin: Any, company: Company) -> None:
    ana = await (await app()).switch_on()
    first, second, third, *_ = ana.recovery
    typed = f" {first.lower().replace('-', ' ')} "
    answers = await asyncio.gather(*[ana.second(await ana.challenge(), typed) for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401]
    assert (await ana.state())["recovery_codes_left"] == 9
    assert (await ana.second(await ana.challenge(), second)).status_code == 201
    refused = await ana.post("/recovery-codes", password="not the password", code=ana.code())
    assert refused.json()["code"] == "bad_credentials"
    made = await ana.post("/recovery-codes", password=PASSWORD, code=ana.code())
    assert made.status_code == 201
    assert len(set(made.json()["codes"]) - set(ana.recovery)) == 10
    assert (await ana.state())["recovery_codes_left"] == 10
    assert (await ana.second(await ana.challenge(), third)).json()["code"] == "code_wrong"
    assert (await ana.second(await ana.challenge(), made.json()["codes"][0])).status_code == 201
    told = await actions(admin, company)
    assert told.count("recovery_code_used") == 3
    assert told.count("recovery_codes_made") == 1


async def test_an_enrolment_that_nobody_confirmed_is_replaced_and_ends(app: Any, admin: Any) -> None:
    ana = await app()
    none = await ana.post("/confirmation", code="123456")
    assert (none.status_code, none.json()["code"]) == (404, "not_found")
    await ana.begin()
    old = ana.code()
    await ana.begin()
    assert (await ana.post("/confirmation", code=old)).json()["code"] == "code_wrong"
    await admin.execute(
        "update totps set begun_at = now() - interval '61 minutes' where person_id = $1", ana.caller.person_id
    )
    assert (await ana.post("/confirmation", code=ana.code())).json()["code"] == "not_found"
    await ana.switch_on()


async def test_it_is_switched_off_by_password_and_code_and_mails_tell(
    app: Any,
    admin: Any,
    company: Company,
    post: Post,  # noqa: F811
) -> None:
    ana = await app()
    await admin.execute("update people set locale = 'pt' where person_id = $1", ana.caller.person_id)
    for path in ("/removal", "/recovery-codes"):
        off = await ana.post(path, password=PASSWORD, code="123456")
        assert (off.status_code, off.json()["code"]) == (404, "not_found")
    await ana.switch_on()
    for password, code, expected in (
        ("not the password", ana.code(), "bad_credentials"),
        (PASSWORD, ana.wrong(), "code_wrong"),
        (PASSWORD, "", "code_wrong"),
        (PASSWORD, "ABCD-ABCD-ABCD-ABCD", "code_wrong"),
    ):
        assert (await ana.post("/removal", password=password, code=code)).json()["code"] == expected
    assert await ana.state() is not None
    assert (await ana.post("/removal", password=PASSWORD, code=ana.recovery[0])).status_code == 204
    assert await ana.state() is None
    assert (await try_password(ana.http, ana.email, PASSWORD)).status_code == 201
    assert await admin.fetchval("select count(*) from recovery_codes where person_id = $1", ana.caller.person_id) == 0
    subjects = {mail["Subject"] for mail in await post.to(ana.email)}
    assert subjects == {MAILS["totp_on"]["pt"]["subject"], MAILS["totp_off"]["pt"]["subject"]}
    told = await actions(admin, company)
    assert told[:5] == ["totp_on", "confirmation_failed", *["code_refused"] * 3]
    assert told[5:7] == ["recovery_code_used", "totp_off"]


async def test_every_company_of_a_person_sees_what_happens_to_the_account(
    app: Any, admin: Any, company: Company, found_company: Any
) -> None:
    ana, other = await app(), await found_company()
    await admin.execute(
        "insert into memberships values ($1, $2, 'inversionista')", other.tenant_id, ana.caller.person_id
    )
    await ana.switch_on()
    await ana.second(await ana.challenge(), ana.wrong())
    for each in (company, other):
        rows = await admin.fetch(
            "select action, person_id, object_id from audit.entries where tenant_id = $1 and object_type = 'people'",
            each.tenant_id,
        )
        assert [row["action"] for row in rows] == ["totp_on", "code_refused"]
        assert {row["object_id"] for row in rows} == {str(ana.caller.person_id)}


async def test_a_new_password_by_mail_leaves_the_second_step_and_ends_first_steps(app: Any, post: Post) -> None:  # noqa: F811
    ana = await (await app()).switch_on()
    stolen = await ana.challenge()
    await post.to(ana.email)  # what was mailed before
    await ana.http.post("/v1/password-resets", json={"email": ana.email})
    body = {"token": await post.token(ana.email), "password": NEW}
    assert (await ana.http.post("/v1/password-resets/completion", json=body)).status_code == 204
    late = await ana.second(stolen, ana.code())
    assert (late.status_code, late.json()["code"]) == (401, "bad_credentials")
    assert (await ana.second(await ana.challenge(NEW), ana.code())).status_code == 201


async def test_a_challenge_that_is_not_ours_is_worth_nothing(app: Any, tokens: Any, company: Company) -> None:
    ana = await (await app()).switch_on()
    others = [
        "x",
        ana.headers["authorization"].partition(" ")[2],
        tokens.challenge(ana.caller.person_id, now=datetime.now(UTC)),
    ]
    for challenge in others:
        answer = await ana.second(challenge, ana.code())
        assert (answer.status_code, answer.json()["code"]) == (401, "bad_credentials")
    challenge = await ana.challenge()
    step = tokens.read_first_step(challenge, now=datetime.now(UTC))
    old = tokens.first_step(step, now=datetime.now(UTC) - timedelta(minutes=6))
    assert (await ana.second(old, ana.code())).json()["code"] == "bad_credentials"
    asked = await ana.http.get("/v1/me", headers={"authorization": f"Bearer {challenge}"})
    assert (asked.status_code, asked.json()["code"]) == (401, "not_signed_in")
    assert (await ana.second(challenge, ana.code())).status_code == 201


async def test_few_codes_may_be_guessed_even_at_once_and_nobody_else_is_kept_out(app: Any) -> None:
    ana, rosa = await (await app()).switch_on(), await (await app()).switch_on()
    challenge = await ana.challenge()
    answers = await asyncio.gather(*(ana.second(challenge, ana.wrong()) for _ in range(12)))
    assert sorted(answer.json()["code"] for answer in answers) == ["code_wrong"] * 5 + ["too_many_tries"] * 7
    even = await ana.second(challenge, ana.code())
    assert (even.status_code, even.json()["code"]) == (429, "too_many_tries")
    assert (await ana.second(challenge, ana.recovery[0])).status_code == 429
    assert (await rosa.second(await rosa.challenge(), rosa.code())).status_code == 201


async def test_nobody_joins_past_the_second_step(app: Any, company: Company, found_company: Any, post: Post) -> None:  # noqa: F811
    ana, other = await (await app()).switch_on(), await found_company()
    headers = other.bearer(await other.hire("owner"))
    await post.to(ana.email)  # what was mailed before
    await invite(ana.http, headers, kind="email", email=ana.email, role="residente")
    wanted = {"token": await post.token(ana.email), "password": PASSWORD}

    async def join(**more: str) -> httpx.Response:
        return await ana.http.post("/v1/invitations/acceptance", json=wanted | more)

    assert (await join()).json()["code"] == "code_needed"
    assert (await join(code=ana.wrong())).json()["code"] == "code_wrong"
    assert len((await ana.http.get("/v1/me", headers=ana.headers)).json()["tenants"]) == 1
    joined = await join(code=ana.code())
    assert joined.status_code == 201
    assert joined.json()["signed_in"]["tenant"]["tenant_id"] == str(other.tenant_id)


@pytest.mark.parametrize(
    ("who", "whom", "expected"),
    [
        ("owner", "owner", 204),
        ("owner", "manager", 204),
        ("manager", "manager", 204),
        ("manager", "empleado_obra", 204),
        ("manager", "owner", 403),
        ("residente", "empleado_obra", 403),
        ("inversionista", "empleado_obra", 404),
        ("empleado_obra", "empleado_obra", 404),
    ],
)
async def test_who_may_switch_it_off_for_whom(
    app: Any,
    admin: Any,
    company: Company,
    post: Post,  # noqa: F811
    who: str,
    whom: str,
    expected: int,
) -> None:
    ana, caller = await (await app(whom)).switch_on(), await company.hire(who)
    await post.to(ana.email)  # what was mailed before
    path = f"/v1/members/{ana.caller.person_id}/totp"
    answer = await ana.http.delete(path, headers=company.bearer(caller))
    assert answer.status_code == expected
    assert (await ana.state() is None) == (expected == 204)
    if expected == 204:
        assert (await ana.http.delete(path, headers=company.bearer(caller))).status_code == 404
        entry = await admin.fetchrow(
            "select person_id, object_id from audit.entries where tenant_id = $1 and action = 'totp_reset'",
            company.tenant_id,
        )
        assert (entry["person_id"], entry["object_id"]) == (caller.person_id, str(ana.caller.person_id))
        assert (await post.to(ana.email))[-1]["Subject"] == MAILS["totp_off"]["es"]["subject"]


async def test_nobody_switches_off_their_own_without_proof_nor_that_of_another_company(
    app: Any, db: Database, admin: Any, company: Company, found_company: Any
) -> None:
    boss, ana, other = await (await app("owner")).switch_on(), await (await app()).switch_on(), await found_company()
    own = await boss.http.delete(f"/v1/members/{boss.caller.person_id}/totp", headers=boss.headers)
    assert (own.status_code, own.json()["code"]) == (403, "not_allowed")
    for caller, whom in ((boss.caller, boss.caller), (await company.hire(), ana.caller)):  # nor by SQL of their own
        async with db.transaction(caller.scope) as tx:
            assert await tx.value("select app.reset_totp($1)", whom.person_id) == "none"
    stranger = other.bearer(await other.hire("owner"))
    path = f"/v1/members/{ana.caller.person_id}/totp"
    assert (await ana.http.delete(path, headers=stranger)).status_code == 404
    await admin.execute("insert into memberships values ($1, $2, 'owner')", other.tenant_id, ana.caller.person_id)
    for headers in (boss.headers, stranger):
        shared = await ana.http.delete(path, headers=headers)
        assert (shared.status_code, shared.json()["code"]) == (409, "account_shared")
    assert await ana.state() is not None


async def test_an_operator_switches_it_off_and_everybody_concerned_is_told(
    app: Any,
    admin: Any,
    company: Company,
    found_company: Any,
    post: Post,  # noqa: F811
    stack: Stack,
) -> None:
    ana, rosa, other = await (await app()).switch_on(), await (await app()).switch_on(), await found_company()
    await admin.execute("insert into memberships values ($1, $2, 'manager')", other.tenant_id, ana.caller.person_id)
    await post.to(ana.email)  # what was mailed before

    async def run(email: str) -> Any:
        arguments, env = ["people", "totp-off", email], stack.env("operator")
        return await asyncio.to_thread(lambda: CliRunner(env=env).invoke(main, arguments))

    done = await run(ana.email.upper())
    assert (done.exit_code, "is off" in done.output) == (0, True), done.output
    assert (await try_password(ana.http, ana.email, PASSWORD)).status_code == 201
    assert await rosa.state() is not None
    assert await admin.fetchval("select count(*) from recovery_codes where person_id = $1", ana.caller.person_id) == 0
    assert (await post.to(ana.email))[-1]["Subject"] == MAILS["totp_off"]["es"]["subject"]
    for each in (company, other):
        entry = await admin.fetchrow(
            """select person_id, object_id, request_id, changes from audit.entries
            where tenant_id = $1 and action = 'totp_reset'""",
            each.tenant_id,
        )
        assert (entry["person_id"], entry["object_id"]) == (None, str(ana.caller.person_id))
        assert (entry["request_id"], json.loads(entry["changes"])["by"]) == (
            "operator:totp",
            f"terminal:{getpass.getuser()}",
        )
    for email in (ana.email, f"{uuid4()}@nobody.test"):
        again = await run(email)
        assert (again.exit_code, "has a second step" in again.output) == (1, True)
    assert len(await post.to(ana.email)) == 2  # it was switched on, and off once


async def test_the_database_alone_gives_no_secret_and_the_trail_holds_none(
    app: Any, admin: Any, company: Company
) -> None:
    ana = await (await app()).switch_on()
    await ana.second(await ana.challenge(), ana.recovery[0])
    secret = base64.b32decode(ana.enrolment["secret"])
    rows = [
        *await admin.fetch("select to_jsonb(t)::text as row, secret from totps t"),
        *await admin.fetch("select to_jsonb(c)::text as row, code_hash from recovery_codes c"),
        *await admin.fetch(
            "select to_jsonb(e)::text as row, ''::bytea from audit.entries e where tenant_id = $1", company.tenant_id
        ),
    ]
    assert len(rows) > 12
    shown = [ana.enrolment["secret"], secret.hex(), *ana.recovery, *(code.replace("-", "") for code in ana.recovery)]
    for row in rows:
        assert secret not in row[1]
        assert not any(text in row["row"] for text in shown)
    for role in ("buildpeer_worker", "buildpeer_system", "buildpeer_audit"):
        assert not await admin.fetchval("select has_column_privilege($1, 'totps', 'secret', 'select')", role)
        assert not await admin.fetchval("select has_table_privilege($1, 'recovery_codes', 'select')", role)


def login(api: str, home: Any, email: str, *arguments: str, typed: str = "") -> Any:
    env = {"XDG_CONFIG_HOME": str(home), "BUILDPEER_EMAIL": email, "BUILDPEER_PASSWORD": PASSWORD}
    return CliRunner().invoke(main, ["login", "--api", api, "--lang", "es", *arguments], env=env, input=typed)


async def test_the_command_line_signs_in_by_a_code(app: Any, tmp_path: Any) -> None:
    ana = await (await app()).switch_on()
    api = str(ana.http.base_url)
    right = await asyncio.to_thread(login, api, tmp_path, ana.email, "--code", ana.code())
    assert (right.exit_code, "Alguien" in right.output) == (0, True), right.output
    wrong = await asyncio.to_thread(login, api, tmp_path, ana.email, "--code", ana.wrong())
    assert wrong.exit_code == 1
    assert "código" in wrong.output
    without = await asyncio.to_thread(login, api, tmp_path, ana.email)
    assert without.exit_code == 2
    assert "BUILDPEER_CODE" in without.output


def test_a_recovery_code_is_no_code_of_an_app() -> None:
    assert not rules.looks_like_totp("ABCD-EFGH-IJKL-MNOP")
    assert rules.looks_like_totp("123 456")
    assert not rules.looks_like_totp("٣٣٣٣٣٣")
