"""What somebody tries who means harm, from inside another company, with a found phone, or from outside: all against the
api as it runs.
"""

import asyncio
import collections
import random
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis.asyncio as valkey
from tests.conftest import PASSWORD, Clients, Company
from tests.isolation.calls import STREAM, body_of, path_of, routes, send
from tests.modules.identity.test_invitations import Phone, crew_token, further_device, invite
from tests.modules.identity.test_members import bearer, sign_in

from buildpeer.modules.identity import rules
from buildpeer.modules.identity.service import devices, passwords, sessions
from buildpeer.modules.notifications.service import feed
from buildpeer.platform.ids import new_id
from buildpeer.platform.limits import Limit

NEW = "una contraseña nueva"
LIVING = "select count(*) from sessions where person_id = $1 and ended_at is null"


# A rival, who owns another company ------------------------------------------------------------------------------------


async def test_a_company_that_slips_somebody_a_phone_learns_and_does_nothing_beyond_itself(
    http: Any, company: Company, found_company: Any, admin: Any
) -> None:
    """Whoever manages people can make a phone that acts as one of them, in their own company."""
    rival, shared = await found_company(), await company.hire("residente")
    await admin.execute("insert into memberships values ($1, $2, 'empleado_obra')", rival.tenant_id, shared.person_id)
    own = await sign_in(http, company, shared)
    if own["tenant"]["tenant_id"] == str(company.tenant_id):
        there = {"tenant_id": str(rival.tenant_id)}
        await http.post("/v1/sessions/current/tenant", json=there, headers=bearer(own))  # where a phone could see it
    phone = await further_device(http, rival, shared.person_id)
    slipped = bearer((await phone.sign_in(http)).json())
    me = (await http.get("/v1/me", headers=slipped)).json()
    assert [each["tenant_id"] for each in me["tenants"]] == [str(rival.tenant_id)]
    listed = (await http.get("/v1/sessions", headers=slipped)).json()["items"]
    assert [each["current"] for each in listed] == [True]
    seen = (await http.get("/v1/sessions", headers=bearer(own))).json()["items"]
    assert len(seen) == 2  # they themselves see both
    [theirs] = [each["session_id"] for each in seen if each["current"]]
    ended = await http.delete(f"/v1/sessions/{theirs}", headers=slipped)
    assert (ended.status_code, ended.json()["code"]) == (404, "not_found")
    assert (await http.get("/v1/me", headers=bearer(own))).status_code == 200
    [phones] = [each["session_id"] for each in seen if not each["current"]]
    assert (await http.delete(f"/v1/sessions/{phones}", headers=bearer(own))).status_code == 204
    assert (await http.get("/v1/me", headers=slipped)).json()["code"] == "session_ended"


async def test_nobody_is_buried_in_invitations(http: Any, company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = company.bearer(await company.hire("manager"))

    async def ask(email: str) -> int:
        return (await invite(http, manager, kind="email", email=email, role="residente")).status_code

    victim = f"{uuid4()}@example.test"
    assert [await ask(victim) for _ in range(5)] == [201, 201, 201, 429, 429]
    assert await ask(victim.upper()) == 429
    assert await ask(f"{uuid4()}@example.test") == 201
    monkeypatch.setattr(rules, "INVITATIONS_BY_COMPANY", Limit(f"invitations-{uuid4()}", quota=2, window_s=60))
    assert [await ask(f"{uuid4()}@example.test") for _ in range(3)] == [201, 201, 429]
    many = [str(company.tower)] * 100_000  # which the trail would keep as well
    assert (await invite(http, manager, kind="crew", projects=many)).status_code == 422
    field = company.bearer(await company.hire())  # who may not invite uses nothing up
    assert (await invite(http, field, kind="email", email=victim, role="residente")).status_code == 404


async def test_many_streams_opened_at_once_are_no_more_than_a_person_or_a_company_may_have(
    http: httpx.AsyncClient, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PING_S", 0.2)
    person, colleague = await company.hire(), await company.hire()

    async def alive(headers: dict[str, str]) -> bool:
        """Whether a stream was opened and goes on."""
        async with http.stream("GET", "/v1/events", headers=headers) as answer:
            pings = 0
            async for line in answer.aiter_lines():
                pings += line == ": ping"
                if pings == 5:
                    return True
        return False

    async with httpx.AsyncClient(base_url=http.base_url, timeout=30, limits=httpx.Limits(max_connections=None)) as many:
        http = many
        opened = await asyncio.gather(*(alive(company.bearer(person)) for _ in range(40)))
        assert 1 <= sum(opened) <= feed.STREAMS_PER_PERSON
        monkeypatch.setattr(feed, "STREAMS_PER_COMPANY", 5)
        people = [company.bearer(each) for each in (person, colleague) for _ in range(10)]
        assert 1 <= sum(await asyncio.gather(*(alive(each) for each in people))) <= 5


# A found or stolen phone ----------------------------------------------------------------------------------------------


async def test_a_phone_that_signs_in_while_it_is_revoked_is_out(
    http: Any, company: Company, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, headers = Phone(), company.bearer(await company.hire("manager"))
    joined = (await phone.join(http, await crew_token(http, company))).json()["signed_in"]
    path, real = f"/v1/members/{joined['person']['person_id']}/devices/{phone.device_id}", devices.matches

    async def right_but_slow(pin_hash: str | None, pin: str) -> bool:
        right = await real(pin_hash, pin)
        assert (await http.delete(path, headers=headers)).status_code == 204
        return right

    monkeypatch.setattr(devices, "matches", right_but_slow)
    late = await phone.sign_in(http)
    assert (late.status_code, late.json()["code"]) == (401, "bad_credentials")
    assert await admin.fetchval(LIVING, joined["person"]["person_id"]) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_no_session_of_a_phone_outlives_its_revocation_however_they_meet(
    http: Any, company: Company, admin: Any, seed: int
) -> None:
    phone, chance = Phone(), random.Random(seed)
    joined = (await phone.join(http, await crew_token(http, company))).json()["signed_in"]
    person_id = joined["person"]["person_id"]

    async def revoke() -> None:
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        path = f"/v1/members/{person_id}/devices/{phone.device_id}"
        manager = company.bearer(await company.hire("manager"))
        assert (await http.delete(path, headers=manager)).status_code == 204

    async def hammer() -> None:
        while (await phone.sign_in(http)).status_code == 201:
            pass

    await asyncio.gather(revoke(), *(hammer() for _ in range(3)))
    assert await admin.fetchval(LIVING, person_id) == 0


@pytest.mark.parametrize("how", ["changed", "reset"])
async def test_who_signs_in_by_the_old_password_while_it_changes_is_out(
    http: Any, company: Company, admin: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    caller = await company.hire()
    email, real = company.emails[caller.person_id], sessions.matches
    token = f"token-{uuid4()}"
    await admin.execute(
        "insert into password_resets values ($1, $2, now(), now() + interval '1 hour')",
        *(passwords.token_hash(token), email),
    )

    async def right_but_slow(password_hash: str | None, password: str) -> bool:
        right = await real(password_hash, password)
        if how == "changed":
            wanted = {"current": PASSWORD, "password": NEW}
            done = await http.put("/v1/me/password", json=wanted, headers=company.bearer(caller))
        else:
            wanted = {"token": token, "password": NEW}
            done = await http.post("/v1/password-resets/completion", json=wanted)
        assert done.status_code == 204, done.text
        return right

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "matches", right_but_slow)
        late = await http.post("/v1/sessions", json={"email": email, "password": PASSWORD})
    assert (late.status_code, late.json()["code"]) == (401, "bad_credentials")
    assert await admin.fetchval(LIVING, caller.person_id) == 0
    assert (await http.post("/v1/sessions", json={"email": email, "password": NEW})).status_code == 201


async def test_a_phone_let_in_by_a_manager_does_not_become_an_owners(
    http: Any, company: Company, found_company: Any
) -> None:
    owner, somebody = company.bearer(await company.hire("owner")), await company.hire("residente")
    phone = await further_device(http, company, somebody.person_id)
    before = bearer((await phone.sign_in(http)).json())
    path = f"/v1/members/{somebody.person_id}"
    assert (await http.patch(path, json={"role": "manager"}, headers=owner)).status_code == 200
    assert (await http.get("/v1/me", headers=before)).status_code == 200
    assert (await http.patch(path, json={"role": "owner"}, headers=owner)).status_code == 200
    assert (await http.get("/v1/me", headers=before)).json()["code"] == "session_ended"
    assert (await phone.sign_in(http)).json()["code"] == "bad_credentials"
    manager = company.bearer(await company.hire("manager"))
    approval = f"{path}/devices/{phone.device_id}/approval"
    assert (await http.post(approval, headers=manager)).status_code == 403
    assert (await http.post(approval, headers=owner)).status_code == 204
    assert (await phone.sign_in(http)).status_code == 201


# Somebody outside -----------------------------------------------------------------------------------------------------


async def test_made_up_links_for_a_password_soon_cost_no_work(
    http: Any, api_clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs a slow hash, which whoever signs in waits in line for."""
    monkeypatch.setattr(rules, "RESETS_BY_ADDRESS", Limit(f"resets-{uuid4()}", quota=3, window_s=60))
    hashed, real = 0, passwords.hashed

    async def counted(password: str) -> str:
        nonlocal hashed
        hashed += 1
        return await real(password)

    monkeypatch.setattr(passwords, "hashed", counted)
    wanted = {"token": "made up", "password": NEW}
    answers = [(await http.post("/v1/password-resets/completion", json=wanted)).status_code for _ in range(6)]
    assert (answers, hashed) == ([410, 410, 410, 429, 429, 429], 3)


SQL = (
    "'; select pg_sleep(20); --",
    "' or '1'='1",
    "\\'); drop table people; --",
    "%' escape '!' --",
    "$1 $$ :x {x} %s",
)


@pytest.mark.parametrize("words", SQL)
async def test_no_word_of_a_callers_becomes_sql(
    http: Any, company: Company, settings: Any, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """In every body, query, header and path that takes a text; quick and with nothing broken."""
    monkeypatch.setattr(feed, "PING_S", 0.05)
    owner = await company.hire("owner")
    ids = collections.defaultdict(lambda: str(uuid4()))  # what isn't named here is somebody's, and nobody's
    ids |= {"project_id": str(company.tower), "upload_id": str(new_id()), "document_id": str(new_id()), "number": "1"}
    ids |= {
        "text": words,
        "email": f"{words}@x.test",
        "sha256": "0" * 64,
        "challenge": words,
    }
    async with valkey.Redis.from_url(settings.valkey_url) as tries:
        for route, operation in routes().items():
            await tries.flushdb()
            names = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
            query = {name: words for name in names if name not in ("limit", "format")}
            headers = company.bearer(owner) | {"accept-language": words, "user-agent": words}
            body = body_of(route, operation, ids, random.Random(0))
            for params in (query, {}) if query else ({},):
                async with asyncio.timeout(10):
                    path = path_of(route, ids)
                    answer = await send(http, route, path, headers=headers, json=body, **params_of(route, params))
                assert answer.status_code < 500, (route, answer.text)
            if route == "DELETE /v1/sessions/current":
                owner = await company.hire("owner")
    assert (await http.get("/v1/me", headers=company.bearer(owner))).status_code == 200


def params_of(route: str, params: dict[str, str]) -> dict[str, Any]:
    return {} if route == STREAM else {"params": params}
