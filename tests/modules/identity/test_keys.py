"""Keys for machines."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.conftest import Company, declare

from buildpeer.entrypoints.api import create_app
from buildpeer.modules.identity import service as identity
from buildpeer.platform import clock
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem


async def make(http: httpx.AsyncClient, company: Company, caller: Any, **tools: str) -> httpx.Response:
    return await http.post("/v1/api-keys", json={"name": "ERP", "tools": tools}, headers=company.bearer(caller))


async def test_a_key_acts_as_its_maker_with_its_tools_only(http, company: Company, admin) -> None:
    owner = await company.hire("owner")
    made = await make(http, company, owner, projects="read", files="standard")
    assert made.status_code == 201
    secret = made.json()["secret"]
    machine = {"authorization": f"Bearer {secret}"}
    assert len((await http.get("/v1/projects", headers=machine)).json()["items"]) == 2
    opened = await http.post(
        f"/v1/projects/{company.tower}/uploads", json={"uploads": [declare(b"abc")]}, headers=machine
    )
    assert opened.json()["results"][0]["upload"]["created_by"] == str(owner.person_id)
    for path in ("/v1/members", "/v1/me", "/v1/api-keys", "/v1/sessions"):
        refused = await http.get(path, headers=machine)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed"), path
    listed = (await http.get("/v1/api-keys", headers=company.bearer(owner))).json()["items"]
    assert listed[0]["last_used_at"] is not None
    assert "secret" not in listed[0]
    entries = await admin.fetch("select changes from audit.entries where tenant_id = $1", company.tenant_id)
    assert entries
    assert not any(secret in row["changes"] for row in entries)


async def test_reading_is_not_writing(http, company: Company) -> None:
    made = await make(http, company, await company.hire("owner"), files="read")
    machine = {"authorization": f"Bearer {made.json()['secret']}"}
    assert (await http.get("/v1/uploads", headers=machine)).status_code == 200
    path = f"/v1/projects/{company.tower}/uploads"
    assert (await http.post(path, json={"uploads": [declare(b"a")]}, headers=machine)).status_code == 403


async def test_a_key_of_level_standard_makes_nobody_an_owner(http, company: Company) -> None:
    made = await make(http, company, await company.hire("owner"), people="standard")
    machine = {"authorization": f"Bearer {made.json()['secret']}"}
    assert (await http.get("/v1/members", headers=machine)).status_code == 200
    path = f"/v1/members/{(await company.hire()).person_id}"
    assert (await http.patch(path, json={"role": "owner"}, headers=machine)).status_code == 403


async def test_a_revoked_key_and_that_of_somebody_who_left_do_nothing(http, company: Company) -> None:
    owner, other = await company.hire("owner"), await company.hire("owner")
    revoked, left = [(await make(http, company, who, projects="read")).json() for who in (owner, other)]
    path = f"/v1/api-keys/{revoked['key']['key_id']}"
    assert (await http.delete(path, headers=company.bearer(owner))).status_code == 204
    answer = await http.get("/v1/projects", headers={"authorization": f"Bearer {revoked['secret']}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
    await company.dismiss(other)
    answer = await http.get("/v1/projects", headers={"authorization": f"Bearer {left['secret']}"})
    assert answer.json()["items"] == []


async def test_a_revoked_key_ends_what_goes_on_by_it(http, company: Company, db: Database) -> None:
    owner = await company.hire("owner")
    made = (await make(http, company, owner, audit="read")).json()
    machine = await identity.caller_of_key(
        db, secret=made["secret"], tool="audit", level="read", now=clock.now(), request_id="r"
    )
    async with db.transaction(machine.scope) as tx:
        assert tx.role == "owner"
    await http.delete(f"/v1/api-keys/{made['key']['key_id']}", headers=company.bearer(owner))
    other = await company.hire("owner")
    anothers = msgspec.structs.replace(machine, person_id=other.person_id)
    for caller in (machine, anothers):
        with pytest.raises(Problem, match="session_ended"):
            async with db.transaction(caller.scope):
                pass


@pytest.mark.parametrize(
    ("role", "expected"), [("manager", 403), ("residente", 404), ("inversionista", 404), ("empleado_obra", 404)]
)
async def test_only_owners_make_keys(http, company: Company, role: str, expected: int) -> None:
    assert (await make(http, company, await company.hire(role), files="read")).status_code == expected


def test_what_only_people_do_is_behind_doors_without_a_tool() -> None:
    app = create_app(Settings())
    doors = {h.opt.get("tool") for route in app.routes for h in getattr(route, "route_handlers", ())}
    assert {"files", "people", "projects", None} <= doors
    closed = ("/v1/me", "/v1/sessions", "/v1/api-keys")
    for route in app.routes:
        if f"{route.path}/".startswith(tuple(f"{path}/" for path in closed)):
            assert all("tool" not in h.opt for h in getattr(route, "route_handlers", ())), route.path
