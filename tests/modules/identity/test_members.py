"""Several tenants, roles that change, members that leave."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.conftest import PASSWORD, Company, declare, eventually
from tests.modules.notifications.test_stream import Reader, started
from tests.modules.uploads.test_facts import sweep

from buildpeer.platform.auth import Caller


async def join(admin: Any, company: Company, caller: Caller, role: str) -> None:
    await admin.execute(
        "insert into memberships (tenant_id, person_id, role) values ($1, $2, $3)",
        *(company.tenant_id, caller.person_id, role),
    )


async def sign_in(http: httpx.AsyncClient, company: Company, caller: Caller, device: str = "") -> dict[str, Any]:
    credentials = {"email": company.emails[caller.person_id], "password": PASSWORD, "device": device}
    return (await http.post("/v1/sessions", json=credentials)).json()


def bearer(answer: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {answer['access_token']}"}


async def test_one_person_works_in_two_tenants_with_another_role_in_each(http, admin, company, found_company) -> None:
    other = await found_company()
    caller = await company.hire("residente")
    await join(admin, other, caller, "manager")
    signed_in = await sign_in(http, company, caller)
    for place, role, projects in ((company, "residente", 1), (other, "manager", 2), (company, "residente", 1)):
        wish = {"tenant_id": str(place.tenant_id)}
        entered = await http.post("/v1/sessions/current/tenant", json=wish, headers=bearer(signed_in))
        assert entered.status_code == 200
        assert entered.json()["tenant"]["role"] == role
        me = (await http.get("/v1/me", headers=bearer(entered.json()))).json()
        assert me["tenant"] == {"tenant_id": str(place.tenant_id), "name": "Obra", "role": role}
        assert me["permissions"] == entered.json()["permissions"]
        assert {t["tenant_id"] for t in me["tenants"]} == {str(company.tenant_id), str(other.tenant_id)}
        items = (await http.get("/v1/projects", headers=bearer(entered.json()))).json()["items"]
        assert len(items) == projects
        # the tenant stays with the session
        renewed = await http.post("/v1/tokens", json={"refresh_token": signed_in["refresh_token"]})
        signed_in = renewed.json()
        assert signed_in["tenant"]["tenant_id"] == str(place.tenant_id)


async def test_a_tenant_one_does_not_belong_to_is_not_there(http, company, found_company) -> None:
    signed_in = await sign_in(http, company, await company.hire())
    for tenant_id in ((await found_company()).tenant_id, company.tower):
        answer = await http.post(
            "/v1/sessions/current/tenant", json={"tenant_id": str(tenant_id)}, headers=bearer(signed_in)
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_who_loses_one_tenant_goes_on_in_the_other(http, admin, company, found_company) -> None:
    other = await found_company()
    caller = await company.hire("manager")
    signed_in = await sign_in(http, company, caller)
    await join(admin, other, caller, "manager")
    await admin.execute("delete from memberships where tenant_id = $1", company.tenant_id)
    renewed = await http.post("/v1/tokens", json={"refresh_token": signed_in["refresh_token"]})
    assert renewed.json()["tenant"]["tenant_id"] == str(other.tenant_id)


async def test_a_role_changes_in_place_and_counts_at_once(http, admin, company) -> None:
    owner, worker = await company.hire("owner"), await company.hire("empleado_obra")
    path, as_owner, as_worker = f"/v1/members/{worker.person_id}", company.bearer(owner), company.bearer(worker)
    assert (await http.get("/v1/members", headers=as_worker)).status_code == 404
    changed = await http.patch(path, json={"role": "manager"}, headers=as_owner)
    assert (changed.status_code, changed.json()["role"]) == (200, "manager")
    listed = await http.get("/v1/members", headers=as_worker)
    assert {m["person_id"] for m in listed.json()["items"]} == {str(owner.person_id), str(worker.person_id)}
    entry = await admin.fetchrow(
        "select person_id, changes from audit.entries where tenant_id = $1 and action = 'update'", company.tenant_id
    )
    assert entry["person_id"] == owner.person_id
    assert entry["changes"] == '{"role": ["empleado_obra", "manager"]}'


@pytest.mark.parametrize(
    ("who", "whom", "role", "expected"),
    [
        ("manager", "residente", "empleado_obra", 200),
        ("manager", "owner", "residente", 403),
        ("manager", "residente", "owner", 403),
        ("residente", "empleado_obra", "manager", 403),
        ("empleado_obra", "residente", "manager", 404),
        ("inversionista", "residente", "manager", 404),
        ("owner", "manager", "owner", 200),
    ],
)
async def test_who_may_make_whom_what(http, company, who: str, whom: str, role: str, expected: int) -> None:
    actor, other = await company.hire(who), await company.hire(whom)
    path, headers = f"/v1/members/{other.person_id}", company.bearer(actor)
    assert (await http.patch(path, json={"role": role}, headers=headers)).status_code == expected
    if expected != 200:
        assert (await http.delete(path, headers=headers)).status_code in (expected, 204 if whom == "residente" else 0)


async def test_the_last_owner_stays_even_when_two_go_at_once(http, company) -> None:
    owners = [await company.hire("owner"), await company.hire("owner")]
    answers = await asyncio.gather(
        *(http.delete(f"/v1/members/{o.person_id}", headers=company.bearer(o)) for o in owners)
    )
    assert sorted(a.status_code for a in answers) == [204, 409]
    assert next(a for a in answers if a.status_code == 409).json()["code"] == "last_owner"


async def test_a_removed_members_streams_end_at_once_and_open_uploads_are_cancelled(
    http, company, worker_db, worker_clients, wakeups
) -> None:
    owner, worker = await company.hire("owner"), await company.hire()
    item = declare(b"abc")
    opened = await http.post(
        f"/v1/projects/{company.tower}/uploads", json={"uploads": [item]}, headers=company.bearer(worker)
    )
    assert opened.json()["results"][0]["verdict"] == "opened"
    reader = Reader(http, company, worker)
    async with reader.open() as events:
        first = await started(reader, events)
        removed = await http.delete(f"/v1/members/{worker.person_id}", headers=company.bearer(owner))
        assert removed.status_code == 204
        async with asyncio.timeout(3):
            with pytest.raises(StopAsyncIteration):
                await first
    await sweep(worker_db, worker_clients.storage)

    async def cancelled() -> bool:
        seen = (await http.get(f"/v1/uploads/{item['upload_id']}", headers=company.bearer(owner))).json()
        return (seen["state"], seen["reason"]) == ("cancelled", "sender_left")

    await eventually(cancelled)


async def test_who_leaves_the_project_or_may_send_no_more_loses_open_uploads_too(
    http, admin, company, worker_db, worker_clients
) -> None:
    owner, demoted, moved, stays = [await company.hire(r) for r in ("owner", "residente", "residente", "residente")]
    ids = {}
    for sender in (demoted, moved, stays):
        item = declare(b"abc")
        ids[sender] = item["upload_id"]
        await http.post(
            f"/v1/projects/{company.tower}/uploads", json={"uploads": [item]}, headers=company.bearer(sender)
        )
    await http.patch(f"/v1/members/{demoted.person_id}", json={"role": "inversionista"}, headers=company.bearer(owner))
    await admin.execute("delete from project_members where person_id = $1", moved.person_id)
    await sweep(worker_db, worker_clients.storage)
    states = {
        s: (await http.get(f"/v1/uploads/{i}", headers=company.bearer(owner))).json()["state"] for s, i in ids.items()
    }
    assert states == {demoted: "cancelled", moved: "cancelled", stays: "requested"}


async def test_devices_are_listed_and_one_that_is_signed_out_is_out_at_once(http, admin, company) -> None:
    caller = await company.hire()
    phone, tablet = [await sign_in(http, company, caller, device) for device in ("Moto G, João", "Tablet de obra")]
    listed = (await http.get("/v1/sessions", headers=bearer(phone))).json()["items"]
    assert [(d["device"], d["current"]) for d in listed] == [("Tablet de obra", False), ("Moto G, João", True)]
    lost = listed[0]["session_id"]
    reader = Reader(http, company, caller)
    reader._company = type("Signed", (), {"bearer": staticmethod(lambda _caller: bearer(tablet))})
    async with reader.open() as events:
        first = await started(reader, events)
        assert (await http.delete(f"/v1/sessions/{lost}", headers=bearer(phone))).status_code == 204
        async with asyncio.timeout(3):
            with pytest.raises(StopAsyncIteration):
                await first
    for answer in (
        await http.get("/v1/projects", headers=bearer(tablet)),
        await http.post("/v1/tokens", json={"refresh_token": tablet["refresh_token"]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")
    assert (await http.get("/v1/projects", headers=bearer(phone))).status_code == 200
    assert (await http.delete(f"/v1/sessions/{lost}", headers=bearer(phone))).status_code == 204
    stranger = await sign_in(http, company, await company.hire())
    assert (await http.delete(f"/v1/sessions/{lost}", headers=bearer(stranger))).status_code == 404
    revoked = await admin.fetch(
        "select object_id from audit.entries where tenant_id = $1 and action = 'session_revoked'", company.tenant_id
    )
    assert {row["object_id"] for row in revoked} == {lost}


async def test_a_session_that_ends_is_told_in_the_trail_of_the_company_where_it_was(
    http, admin, company, found_company
) -> None:
    other = await found_company()
    caller = await company.hire("residente")
    here, there = [await sign_in(http, company, caller) for _ in range(2)]
    await join(admin, other, caller, "residente")
    wish = {"tenant_id": str(other.tenant_id)}
    assert (await http.post("/v1/sessions/current/tenant", json=wish, headers=bearer(there))).status_code == 200
    listed = (await http.get("/v1/sessions", headers=bearer(here))).json()["items"]
    lost = next(d["session_id"] for d in listed if d["tenant_id"] == str(other.tenant_id))
    assert (await http.delete(f"/v1/sessions/{lost}", headers=bearer(here))).status_code == 204
    told = await admin.fetch(
        "select tenant_id from audit.entries where action = 'session_revoked' and object_id = $1", lost
    )
    assert [row["tenant_id"] for row in told] == [other.tenant_id]
