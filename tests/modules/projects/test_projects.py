"""Making projects, and who works on them."""

import asyncio
from typing import Any

import pytest
from tests.conftest import declare, eventually
from tests.modules.notifications.test_stream import Reader, announce, relay, started
from tests.modules.uploads.test_facts import sweep

SITE = {"code": "HOS", "name": "Hospital Regional", "timezone": "America/Bogota"}
ANY = {"if-match": "*"}


async def test_a_project_is_made_changed_and_seen_by_owners_and_managers_at_once(http, admin, company) -> None:
    owner, manager, field = [company.bearer(await company.hire(r)) for r in ("owner", "manager", "empleado_obra")]
    made = await http.post("/v1/projects", json=SITE, headers=manager)
    assert made.status_code == 201
    path = f"/v1/projects/{made.json()['project_id']}"
    assert (await http.get(path, headers=owner)).json() == made.json()
    assert SITE.items() <= made.json().items()
    assert (await http.get(path, headers=field)).status_code == 404
    changed = await http.patch(path, json={"name": "Hospital"}, headers=owner | {"if-match": made.headers["etag"]})
    assert changed.json() == made.json() | {"name": "Hospital", "version": 2}
    actions = await admin.fetch(
        "select action, person_id is not null as told from audit.entries where tenant_id = $1 and object_id = $2",
        *(company.tenant_id, path[13:]),
    )
    assert [tuple(row) for row in actions] == [("insert", True), ("update", True)]


async def test_a_code_is_one_of_a_kind_in_a_company_and_nothing_in_another(http, company, found_company) -> None:
    owner = company.bearer(await company.hire("owner"))
    answers = await asyncio.gather(*(http.post("/v1/projects", json=SITE, headers=owner) for _ in range(3)))
    assert sorted(a.status_code for a in answers) == [201, 409, 409]
    assert {a.json().get("code") for a in answers} == {"HOS", "code_taken"}
    taken = await http.patch(f"/v1/projects/{company.tower}", json={"code": "HOS"}, headers=owner | ANY)
    assert (taken.status_code, taken.json()["code"]) == (409, "code_taken")
    other = await found_company()
    made = await http.post("/v1/projects", json=SITE, headers=other.bearer(await other.hire("owner")))
    assert made.status_code == 201


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": zone}
        for zone in ("", "PET", "America/Nowhere", "UTC+5", "<+05>-5", "../etc/passwd", "america/lima'; --", "A/B+1")
    ]
    + [{"code": ""}, {"name": ""}, {"code": "x" * 33}, {"name": "x" * 201}],
)
async def test_what_is_no_project_is_refused(http, company, wrong: dict[str, Any]) -> None:
    owner = company.bearer(await company.hire("owner"))
    for answer in (
        await http.post("/v1/projects", json=SITE | wrong, headers=owner),
        await http.patch(f"/v1/projects/{company.tower}", json=wrong, headers=owner | ANY),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert (await http.get("/v1/audit", headers=owner)).status_code == 200  # which computes with every time zone


async def test_who_is_put_into_a_project_sees_it_at_once_and_twice_is_once(http, admin, company) -> None:
    manager, worker = await company.hire("manager"), await company.hire()
    path, headers = f"/v1/projects/{company.school}/members", company.bearer(manager)
    school = f"/v1/projects/{company.school}"
    assert (await http.get(school, headers=company.bearer(worker))).status_code == 404
    answers = [await http.put(f"{path}/{worker.person_id}", headers=headers) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert (await http.get(school, headers=company.bearer(worker))).status_code == 200
    listed = (await http.get(path, headers=headers)).json()["items"]
    assert {(m["person_id"], m["role"], m["by_role"]) for m in listed} == {
        (str(manager.person_id), "manager", True),
        (str(worker.person_id), "empleado_obra", False),
    }
    put_in = await admin.fetch(
        "select person_id from audit.entries where tenant_id = $1 and object_type = 'project_members'"
        " and action = 'insert' and object_id like '%' || $2",
        *(company.tenant_id, str(worker.person_id)),
    )
    assert [row["person_id"] for row in put_in].count(manager.person_id) == 1


async def test_a_project_s_members_are_listed_in_pages(http, company) -> None:
    owner, *crew = [await company.hire(r) for r in ("owner", *["empleado_obra"] * 4)]
    found, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        path = f"/v1/projects/{company.tower}/members"
        page = (await http.get(path, params=query, headers=company.bearer(owner))).json()
        found += [m["person_id"] for m in page["items"]]
        if not (cursor := page["next_cursor"]):
            break
    assert sorted(found) == sorted(str(each.person_id) for each in (owner, *crew))


async def test_who_is_taken_out_hears_no_more_of_the_project_and_loses_what_was_open_there(
    http, worker_db, worker_clients, wakeups, company
) -> None:
    owner = company.bearer(await company.hire("owner"))
    worker = await company.hire("empleado_obra", company.tower, company.school)
    ids = {}
    for project in (company.tower, company.school):
        item = declare(b"abc")
        ids[project] = item["upload_id"]
        opened = await http.post(
            f"/v1/projects/{project}/uploads", json={"uploads": [item]}, headers=company.bearer(worker)
        )
        assert opened.json()["results"][0]["verdict"] == "opened"
    await relay(worker_db, worker_clients, wakeups)
    reader = Reader(http, company, worker)
    async with reader.open() as events:
        first = await started(reader, events)
        path = f"/v1/projects/{company.tower}/members/{worker.person_id}"
        assert (await http.delete(path, headers=owner)).status_code == 204
        await announce(worker_db, company, "of the tower", project=company.tower)
        await announce(worker_db, company, "of the school", project=company.school)
        await relay(worker_db, worker_clients, wakeups)
        async with asyncio.timeout(5):
            assert (await first)["data"]["text"] == "of the school"
    await sweep(worker_db, worker_clients.storage)

    async def seen(project: Any) -> tuple[str, str]:
        upload = (await http.get(f"/v1/uploads/{ids[project]}", headers=owner)).json()
        return upload["state"], upload["reason"]

    async def cancelled() -> bool:
        return await seen(company.tower) == ("cancelled", "sender_left")

    await eventually(cancelled)
    assert await seen(company.school) == ("requested", None)
    for project, status in ((company.tower, 404), (company.school, 200)):
        answer = await http.get(f"/v1/uploads/{ids[project]}", headers=company.bearer(worker))
        assert answer.status_code == status
    assert (await http.delete(path, headers=owner)).status_code == 404


async def test_owners_and_managers_belong_to_every_project_and_stay_when_demoted_if_they_were_put_in(
    http, company
) -> None:
    owner, manager = company.bearer(await company.hire("owner")), await company.hire("manager")
    path = f"/v1/projects/{company.tower}/members/{manager.person_id}"
    assert (await http.delete(path, headers=owner)).status_code == 403
    assert (await http.put(path, headers=owner)).json()["by_role"] is False
    role = {"role": "residente"}
    assert (await http.patch(f"/v1/members/{manager.person_id}", json=role, headers=owner)).status_code == 200
    for project, status in ((company.tower, 200), (company.school, 404)):
        answer = await http.get(f"/v1/projects/{project}", headers=company.bearer(manager))
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("who", "listing", "changing"),
    [("manager", 200, 204), ("residente", 200, 403), ("empleado_obra", 404, 404), ("inversionista", 404, 404)],
)
async def test_who_may_say_who_works_on_a_project(http, company, who: str, listing: int, changing: int) -> None:
    actor, other = company.bearer(await company.hire(who)), await company.hire()
    path = f"/v1/projects/{company.tower}/members"
    assert (await http.get(path, headers=actor)).status_code == listing
    assert (await http.delete(f"{path}/{other.person_id}", headers=actor)).status_code == changing


async def test_who_is_no_member_of_the_company_is_put_into_nothing(http, company, found_company) -> None:
    owner, stranger = company.bearer(await company.hire("owner")), await (await found_company()).hire()
    path = f"/v1/projects/{company.tower}/members/{stranger.person_id}"
    assert (await http.put(path, headers=owner)).status_code == 404
    assert (await http.delete(path, headers=owner)).status_code == 404
