"""Where, for whom and for how much: places, companies, trades, budgets, covers, and the end of a project."""

import asyncio
from typing import Any

import pytest
from tests.architecture.test_isolation import fill
from tests.conftest import Company, declare

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.projects import facade
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id

ANY = {"if-match": "*"}


class Tree:
    """The places of a company's tower, changed by one of its managers."""

    def __init__(self, http: Any, company: Company, headers: dict[str, str]) -> None:
        self._http, self._headers = http, headers
        self.path = f"/v1/projects/{company.tower}/locations"

    async def make(self, name: str, parent: str | None = None, **wanted: Any) -> Any:
        body = {"location_id": str(new_id()), "name": name, "parent_id": parent} | wanted
        return await self._http.post(self.path, json=body, headers=self._headers)

    async def made(self, name: str, parent: str | None = None) -> str:
        answer = await self.make(name, parent)
        assert answer.status_code == 201, answer.text
        return answer.json()["location_id"]

    async def change(self, place: str, version: str = "*", **changes: Any) -> Any:
        headers = self._headers | {"if-match": version}
        return await self._http.patch(f"{self.path}/{place}", json=changes, headers=headers)

    async def paths(self, query: str = "") -> list[str]:
        answer = await self._http.get(f"{self.path}?limit=200{query}", headers=self._headers)
        return [" / ".join(place["path"]) for place in answer.json()["items"]]


@pytest.fixture
async def tree(http, company) -> Tree:
    return Tree(http, company, company.bearer(await company.hire("manager")))


async def test_places_are_a_tree_whose_branches_move_and_are_put_away_and_brought_back(tree) -> None:
    a, b = await tree.made("Torre A"), await tree.made("Torre B")
    floor = await tree.made("Piso 3", a)
    await tree.made("301", floor)
    assert await tree.paths() == ["Torre A", "Torre B", "Torre A / Piso 3", "Torre A / Piso 3 / 301"]
    assert (await tree.change(floor, parent_id=b, name="Piso 03")).json()["path"] == ["Torre B", "Piso 03"]
    assert await tree.paths(f"&parent_id={floor}") == ["Torre B / Piso 03 / 301"]
    assert (await tree.change(b, archived=True)).json()["archived_at"] is not None
    assert await tree.paths() == ["Torre A"]
    assert len(await tree.paths("&archived=true")) == 4
    refused = await tree.make("302", floor)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (
        422,
        "reference_unknown",
        "parent_id",
    )
    assert (await tree.change(floor, archived=False)).json()["code"] == "reference_unknown"  # its tower is away
    assert (await tree.change(b, archived=False)).status_code == 200
    assert len(await tree.paths()) == 4
    assert (await tree.change(floor, parent_id=None)).json()["path"] == ["Piso 03"]


async def test_a_place_is_made_once_however_often_it_is_sent_and_names_differ_within_a_place(tree, company) -> None:
    body = {"location_id": str(new_id())}
    first, again = await tree.make("Azotea", **body), await tree.make("Azotea", **body)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    for answer, code in (
        (await tree.make("Sótano", **body), "id_taken"),
        (await tree.make("AZOTEA"), "name_taken"),
        (await tree.make("Otra", location_id="7f0e2a9e-1111-4111-8111-111111111111"), "id_invalid"),
        (await tree.make("Otra", str(company.school)), "reference_unknown"),
    ):
        assert answer.json()["code"] == code
    assert (await tree.make("Azotea", first.json()["location_id"])).status_code == 201
    await tree.change(first.json()["location_id"], archived=True)
    assert (await tree.make("azotea")).status_code == 201  # the name is free again


async def test_a_place_never_lies_in_itself_though_two_move_at_once(tree, admin) -> None:
    """Each move is right by itself; together they would close a circle."""
    for number in range(6):
        a, b = await tree.made(f"A{number}"), await tree.made(f"B{number}")
        answers = await asyncio.gather(tree.change(a, parent_id=b), tree.change(b, parent_id=a))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert {answer.json().get("code") for answer in answers} == {None, "location_cycle"}
    assert (await tree.change(a, parent_id=a)).json()["code"] == "location_cycle"
    top = deepest = await tree.made("1")
    for number in range(2, 11):
        deepest = await tree.made(str(number), deepest)
    assert (await tree.make("11", deepest)).json()["code"] == "location_too_deep"
    assert (await tree.change(top, parent_id=a)).json()["code"] == "location_too_deep"


async def test_who_changes_what_somebody_else_has_changed_is_told_and_changes_nothing(tree, http, company) -> None:
    place = await tree.made("Bodega")
    assert (await tree.change(place, '"1"', name="Almacén")).headers["etag"] == '"2"'
    for version in ('"1"', 'W/"2"', "2"):
        stale = await tree.change(place, version, name="Bodega 2")
        assert (stale.status_code, stale.json()["code"]) == (412, "changed_meanwhile")
    bare = await http.patch(f"{tree.path}/{place}", json={"name": "x"}, headers=tree._headers)
    assert (bare.status_code, bare.json()["code"]) == (428, "if_match_needed")
    answers = await asyncio.gather(*(tree.change(place, '"2"', name=f"Bodega {n}") for n in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    path = f"/v1/projects/{company.tower}"
    answers = await asyncio.gather(
        *(http.patch(path, json={"name": f"Torre {n}"}, headers=tree._headers | {"if-match": '"1"'}) for n in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


async def test_companies_work_on_projects_and_are_seen_by_those_who_work_there(http, company) -> None:
    manager, inside = company.bearer(await company.hire("manager")), await company.hire()
    outside = await company.hire("residente", company.school)
    trade, firm = str(new_id()), str(new_id())
    for path, body in (
        ("/v1/trades", {"trade_id": trade, "name": "Instalación eléctrica"}),
        ("/v1/companies", {"company_id": firm, "name": "Eléctrica del Sur", "tax_id": "ESU010203AB1"}),
    ):
        answers = [await http.post(path, json=body, headers=manager) for _ in range(2)]
        assert [a.status_code for a in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        assert (await http.post(path, json=body | {"name": "Otra"}, headers=manager)).json()["code"] == "id_taken"
    path = f"/v1/projects/{company.tower}"
    duty = {"duty": "subcontractor", "trade_id": trade}
    assert (await http.put(f"{path}/companies/{firm}", json=duty, headers=manager)).json()["duty"] == "subcontractor"
    seen = [(await http.get("/v1/companies", headers=company.bearer(who))).json()["items"] for who in (inside, outside)]
    assert [len(items) for items in seen] == [1, 0]
    worker = f"{path}/members/{inside.person_id}"
    assert (await http.patch(worker, json={"company_id": firm}, headers=manager)).json()["company_id"] == firm
    members = (await http.get(f"{path}/members?company_id={firm}&role=empleado_obra", headers=manager)).json()["items"]
    assert [m["person_id"] for m in members] == [str(inside.person_id)]
    assert (await http.delete(f"{path}/companies/{firm}", headers=manager)).status_code == 204
    assert (await http.patch(worker, json={"company_id": firm}, headers=manager)).json()["field"] == "company_id"
    [left] = (await http.get(f"{path}/companies", headers=manager)).json()["items"]
    assert left["ended_at"] is not None
    archived = await http.patch(f"/v1/trades/{trade}", json={"archived": True}, headers=manager | {"if-match": '"1"'})
    assert archived.json()["archived_at"] is not None
    assert (await http.put(f"{path}/companies/{firm}", json=duty, headers=manager)).json()["field"] == "trade_id"


async def test_a_budget_is_told_to_whoever_has_the_tool_and_to_nobody_else(http, db, admin, company) -> None:
    manager, residente = await company.hire("manager"), await company.hire("residente")
    path = f"/v1/projects/{company.tower}/budget"
    assert (await http.get(path, headers=company.bearer(manager))).headers["etag"] == '"0"'
    amount = {"amount": "1250000.50"}
    said = await http.put(path, json=amount, headers=company.bearer(manager) | {"if-match": '"0"'})
    assert said.json() == {"amount": "1250000.50", "currency": "USD", "version": 1}
    assert (await http.get(path, headers=company.bearer(residente))).json() == said.json()
    for version, status in (('"0"', 412), ('"1"', 200), ('"1"', 412)):
        answer = await http.put(path, json=amount, headers=company.bearer(manager) | {"if-match": version})
        assert answer.status_code == status
    for wrong in ("-1", "1.005", "NaN", "1e30"):
        answer = await http.put(path, json={"amount": wrong}, headers=company.bearer(manager) | ANY)
        assert answer.status_code == 422
    refused = await http.put(path, json=amount, headers=company.bearer(residente) | ANY)
    assert refused.status_code == 403
    for role in ("empleado_obra", "inversionista"):
        hidden = await company.hire(role)
        assert (await http.get(path, headers=company.bearer(hidden))).status_code == 404
        for answer in (
            await http.get(f"/v1/projects/{company.tower}", headers=company.bearer(hidden)),
            await http.get("/v1/projects", headers=company.bearer(hidden)),
        ):
            assert "1250000" not in answer.text
        async with db.transaction(hidden.scope) as tx:  # nor by any other statement
            assert await tx.all("select * from project_budgets") == []


async def test_a_cover_is_a_photo_of_the_project_and_goes_with_it(http, admin, worker_db, company) -> None:
    manager, worker = company.bearer(await company.hire("manager")), await company.hire()
    path = f"/v1/projects/{company.tower}"
    photo = await fill(admin, worker_db, company, company.tower, worker.person_id, name="fachada")
    other = await fill(admin, worker_db, company, company.school, worker.person_id, name="patio")
    refused = await http.put(f"{path}/cover", json={"document_id": str(other)}, headers=manager)
    assert (refused.status_code, refused.json()["field"]) == (422, "document_id")
    chosen = await http.put(f"{path}/cover", json={"document_id": str(photo)}, headers=manager)
    assert chosen.json()["cover_document_id"] == str(photo)
    investor = company.bearer(await company.hire("inversionista"))
    assert (await http.get(path, headers=investor)).json()["cover_document_id"] is None
    assert (await http.delete(f"/v1/documents/{photo}", headers=manager)).status_code == 204
    assert (await http.get(path, headers=manager)).json()["cover_document_id"] is None


async def test_an_archived_project_is_read_and_not_written_until_it_is_opened_again(
    http, admin, db, worker_db, company
) -> None:
    manager, worker = company.bearer(await company.hire("manager")), await company.hire()
    path = f"/v1/projects/{company.tower}"
    open_upload = declare(b"before")
    uploads = {"uploads": [open_upload]}
    assert (await http.post(f"{path}/uploads", json=uploads, headers=company.bearer(worker))).status_code == 200
    document = await fill(admin, worker_db, company, company.tower, worker.person_id, name="plano")
    [place] = (await http.get(f"{path}/locations", headers=manager)).json()["items"]
    archived = await http.patch(path, json={"archived": True}, headers=manager | ANY)
    assert archived.json()["archived_at"] is not None
    listed = [p["project_id"] for p in (await http.get("/v1/projects", headers=manager)).json()["items"]]
    assert listed == [str(company.school)]
    assert len((await http.get("/v1/projects?archived=true", headers=manager)).json()["items"]) == 1
    day = f"{path}/calendar/2026-12-24"
    refused = [
        await http.post(f"{path}/uploads", json={"uploads": [declare(b"after")]}, headers=company.bearer(worker)),
        await http.post(f"{path}/locations", json={"location_id": str(new_id()), "name": "x"}, headers=manager),
        await http.patch(f"{path}/locations/{place['location_id']}", json={"name": "x"}, headers=manager | ANY),
        await http.patch(path, json={"name": "x"}, headers=manager | ANY),
        await http.put(day, json={"works": True}, headers=manager),
        await http.delete(day, headers=manager),
        await http.put(f"{path}/budget", json={"amount": 1}, headers=manager | ANY),
        await http.delete(f"{path}/cover", headers=manager),
        await http.delete(f"/v1/documents/{document}", headers=manager),
        await http.post(
            f"{path}/locations/imports",
            json={"job_id": str(new_id()), "csv": "Lugar\nA", "mode": "all"},
            headers=manager,
        ),
    ]
    assert [(a.status_code, a.json()["code"]) for a in refused] == [(403, "project_archived")] * len(refused)
    for reading in (path, f"{path}/locations", f"/v1/documents/{document}", f"{path}/budget"):
        assert (await http.get(reading, headers=manager)).status_code == 200
    again = await http.post(f"{path}/uploads", json=uploads, headers=company.bearer(worker))
    assert again.json()["results"][0]["verdict"] != "conflict"  # what was being sent goes on
    opened = await http.patch(path, json={"archived": False, "phase": "warranty"}, headers=manager | ANY)
    assert (opened.json()["archived_at"], opened.json()["phase"]) == (None, "warranty")
    assert (await http.put(day, json={"works": True}, headers=manager)).status_code == 200


async def test_others_may_only_refer_to_what_the_project_has_and_the_caller_may_see(
    db, admin, worker_db, company
) -> None:
    worker, outsider = await company.hire(), await company.hire("residente", company.school)
    document = await fill(admin, worker_db, company, company.tower, worker.person_id, name="n")
    [place] = await admin.fetch("select location_id from locations where project_id = $1", company.tower)
    [firm] = await admin.fetch("select company_id from project_companies where project_id = $1", company.tower)
    async with db.transaction(worker.scope) as tx:
        await documents.check_attachable(tx, company.tower, [document])
        await facade.check_references(
            tx,
            company.tower,
            locations=[place["location_id"]],
            companies=[firm["company_id"]],
            people=[worker.person_id],
        )
        for field, wrong in (
            ("location_id", {"locations": [place["location_id"], new_id()]}),
            ("trade_id", {"trades": [new_id()]}),
            ("company_id", {"companies": [new_id()]}),
            ("person_id", {"people": [outsider.person_id]}),
        ):
            with pytest.raises(Problem) as caught:
                await facade.check_references(tx, company.tower, **wrong)
            assert (caught.value.code, caught.value.facts) == ("reference_unknown", {"field": field})
        for project, asked in ((company.school, document), (company.tower, new_id())):
            with pytest.raises(Problem, match="reference_unknown"):
                await documents.check_attachable(tx, project, [asked])
    async with db.transaction(outsider.scope) as tx:
        with pytest.raises(Problem, match="reference_unknown"):
            await documents.check_attachable(tx, company.tower, [document])
