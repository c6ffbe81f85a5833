from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import PASSWORD, Company

from buildpeer.modules.identity import service
from buildpeer.platform import clock
from buildpeer.platform.auth import ACCESS_LIFE, Tokens
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem


async def sign_in(http: httpx.AsyncClient, company: Company, caller: Any, password: str = PASSWORD) -> httpx.Response:
    return await http.post(
        "/v1/sessions", json={"email": company.emails[caller.person_id].upper(), "password": password}
    )


async def refresh(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/v1/tokens", json={"refresh_token": token})


async def test_signing_in_gives_a_token_that_opens_ones_own_projects(http, company: Company) -> None:
    caller = await company.hire("residente")
    answer = await sign_in(http, company, caller)
    assert answer.status_code == 201
    signed_in = answer.json()
    assert signed_in["tenant"] == {"tenant_id": str(company.tenant_id), "name": "Obra", "role": "residente"}
    projects = await http.get("/v1/projects", headers={"authorization": f"Bearer {signed_in['access_token']}"})
    assert [p["project_id"] for p in projects.json()["items"]] == [str(company.tower)]


async def test_a_wrong_password_and_an_unknown_address_look_the_same(http, company: Company) -> None:
    wrong = await sign_in(http, company, await company.hire(), "wrong")
    unknown = await http.post("/v1/sessions", json={"email": "nobody@example.test", "password": PASSWORD})
    assert wrong.status_code == unknown.status_code == 401
    assert {k: v for k, v in wrong.json().items() if k != "request_id"} == {
        k: v for k, v in unknown.json().items() if k != "request_id"
    }


@pytest.mark.parametrize("header", [{}, {"authorization": "Basic x"}, {"authorization": "Bearer x.y.z"}])
async def test_without_a_genuine_token_nothing_opens(http, header: dict[str, str]) -> None:
    answer = await http.get("/v1/projects", headers=header)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")


async def test_an_access_token_ends_and_is_no_refresh_token(http, company: Company, tokens: Tokens) -> None:
    caller = await company.hire()
    old = tokens.access(caller, now=clock.now() - ACCESS_LIFE - timedelta(seconds=1))
    answer = await http.get("/v1/projects", headers={"authorization": f"Bearer {old}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
    signed_in = (await sign_in(http, company, caller)).json()
    assert (await refresh(http, signed_in["access_token"])).json()["code"] == "session_ended"
    swapped = await http.get("/v1/projects", headers={"authorization": f"Bearer {signed_in['refresh_token']}"})
    assert swapped.status_code == 401


async def test_a_lost_reply_gives_the_same_successor_and_the_chain_goes_on(http, company: Company) -> None:
    first = (await sign_in(http, company, await company.hire())).json()["refresh_token"]
    second = (await refresh(http, first)).json()["refresh_token"]
    again = (await refresh(http, first)).json()["refresh_token"]
    third = await refresh(http, second)
    assert second == again != first
    assert third.status_code == 200


async def refresh_at(db: Database, tokens: Tokens, token: str, seconds: float) -> str:
    now = clock.now() + timedelta(seconds=seconds)
    return (await service.refresh(db, tokens, token=token, now=now, request_id="")).refresh_token


async def test_reuse_after_the_grace_ends_the_session_for_both_and_is_audited(
    http, db, tokens, admin, company: Company
) -> None:
    stolen = (await sign_in(http, company, await company.hire())).json()["refresh_token"]
    good = await refresh_at(db, tokens, stolen, 0)
    assert await refresh_at(db, tokens, stolen, 59) == good
    with pytest.raises(Problem, match="session_ended"):
        await refresh_at(db, tokens, stolen, 61)
    with pytest.raises(Problem, match="session_ended"):
        await refresh_at(db, tokens, good, 62)
    actions = await admin.fetch(
        "select action from audit.entries where tenant_id = $1 and object_type = 'sessions' order by entry_id",
        company.tenant_id,
    )
    assert [row["action"] for row in actions] == ["sign_in", "session_reused"]


async def test_reuse_of_a_token_two_generations_old_ends_the_session_at_once(
    http, db, tokens, company: Company
) -> None:
    first = (await sign_in(http, company, await company.hire())).json()["refresh_token"]
    second = await refresh_at(db, tokens, first, 0)
    third = await refresh_at(db, tokens, second, 1)
    with pytest.raises(Problem, match="session_ended"):
        await refresh_at(db, tokens, first, 2)
    with pytest.raises(Problem, match="session_ended"):
        await refresh_at(db, tokens, third, 3)


async def test_a_forged_token_ends_nobodys_session(http, company: Company) -> None:
    signed_in = (await sign_in(http, company, await company.hire())).json()
    head, claims, _ = signed_in["refresh_token"].split(".")
    assert (await refresh(http, f"{head}.{claims}.{'A' * 43}")).status_code == 401
    assert (await refresh(http, signed_in["refresh_token"])).status_code == 200


async def test_signing_out_ends_the_session_and_is_audited(http, company: Company, admin) -> None:
    signed_in = (await sign_in(http, company, await company.hire())).json()
    bearer = {"authorization": f"Bearer {signed_in['access_token']}"}
    assert (await http.delete("/v1/sessions/current", headers=bearer)).status_code == 204
    assert (await refresh(http, signed_in["refresh_token"])).json()["code"] == "session_ended"
    assert (await http.get("/v1/projects", headers=bearer)).json()["code"] == "session_ended"
    actions = await admin.fetch(
        "select action from audit.entries where tenant_id = $1 and object_type = 'sessions' order by entry_id",
        company.tenant_id,
    )
    assert [row["action"] for row in actions] == ["sign_in", "sign_out"]


async def test_a_dismissed_person_sees_nothing_with_a_token_that_is_still_good(http, company: Company) -> None:
    caller = await company.hire()
    await company.dismiss(caller)
    answer = await http.get("/v1/projects", headers=company.bearer(caller))
    assert answer.json()["items"] == []
    signed_in = await sign_in(http, company, caller)
    assert signed_in.json()["code"] == "bad_credentials"


async def test_who_was_dismissed_goes_on_elsewhere_and_the_session_with_them(
    http, db, tokens, admin, company: Company, found_company: Any
) -> None:
    caller, other = await company.hire(), await found_company()
    await admin.execute("insert into memberships values ($1, $2, 'residente')", other.tenant_id, caller.person_id)
    entered = (await sign_in(http, company, caller)).json()
    bearer = {"authorization": f"Bearer {entered['access_token']}"}
    if entered["tenant"]["tenant_id"] != str(company.tenant_id):  # both have one name: the first is either
        wanted = {"tenant_id": str(company.tenant_id)}
        assert (await http.post("/v1/sessions/current/tenant", json=wanted, headers=bearer)).status_code == 200
    await admin.execute("delete from memberships where tenant_id = $1", company.tenant_id)
    gone_on = (await refresh(http, entered["refresh_token"])).json()
    assert gone_on["tenant"]["tenant_id"] == str(other.tenant_id)
    bearer = {"authorization": f"Bearer {gone_on['access_token']}"}
    [session] = (await http.get("/v1/sessions", headers=bearer)).json()["items"]
    assert (session["tenant_id"], session["current"]) == (str(other.tenant_id), True)
    told = "select action from audit.entries where tenant_id = $1 and object_type = 'sessions' order by entry_id desc"
    assert await admin.fetchval(told, other.tenant_id) == "tenant_entered"
    # A lost reply, and the next token, find it where it is.
    again = (await refresh(http, entered["refresh_token"])).json()
    assert (again["tenant"], again["refresh_token"]) == (gone_on["tenant"], gone_on["refresh_token"])
    assert (await refresh(http, gone_on["refresh_token"])).json()["tenant"] == gone_on["tenant"]
    entries = [row["action"] for row in await admin.fetch(told, other.tenant_id)]
    assert entries.count("tenant_entered") <= 2  # once by the dismissal, and not once more with each token
