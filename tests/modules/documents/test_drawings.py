"""Drawings over HTTP: filed, proposed, reviewed, published, superseded, laid over each other, pinned."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import pytest
from tests.conftest import Company
from tests.modules.documents.test_documents import make_document

from buildpeer.facts import (
    Line,
    Media,
    Object,
    OverlayMade,
    PagePicture,
    Rendition,
    Sheet,
    SheetsRead,
    Tiles,
    overlay_key,
    sheets_key,
)
from buildpeer.modules.documents import events
from buildpeer.modules.documents.store import drawings as store
from buildpeer.modules.uploads.facade import ReadyFile
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id

PDF = {"content_type": "application/pdf", "preview": Rendition("buildpeer-derived", "k", 4, 3, 9)}


class Site:
    """A project with somebody who files drawings, and calls of theirs."""

    def __init__(
        self, http: httpx.AsyncClient, storage: Any, worker_db: Database, company: Company, who: Caller
    ) -> None:
        self.http, self.company, self.who = http, company, who
        self._storage, self._worker_db = storage, worker_db

    async def file(self, pages: int = 1, **changes: Any) -> ReadyFile:
        media = Media(pages=pages)
        return await make_document(
            self.http, self._storage, self._worker_db, self.company, self.who, **PDF, media=media, **changes
        )

    async def call(self, method: str, path: str, *, by: Caller | None = None, status: int = 0, **given: Any) -> Any:
        headers = self.company.bearer(by or self.who) | {"if-match": "*"} | given.pop("headers", {})
        answer = await self.http.request(method, f"/v1{path}", headers=headers, **given)
        assert answer.status_code == (status or answer.status_code), answer.text
        assert status or answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def open(self, document: ReadyFile, **changes: Any) -> str:
        filing_id = str(new_id())
        wanted = {"filing_id": filing_id, "document_id": str(document.upload_id), "received_date": "2026-03-01"}
        await self.call("POST", f"{self.project}/drawing-filings", json=wanted | changes)
        return filing_id

    async def review(self, filing_id: str, *sheets: dict[str, Any], **more: Any) -> Any:
        said = [{"page": n, "title": "Planta"} | sheet for n, sheet in enumerate(sheets, 1)]
        return await self.call("PATCH", f"/drawing-filings/{filing_id}/sheets", json={"sheets": said}, **more)

    async def publish(self, *sheets: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
        """File sheets, review and publish them."""
        filing_id = await self.open(await self.file(len(sheets)), **changes)
        await self.review(filing_id, *sheets)
        return await self.call("POST", f"/drawing-filings/{filing_id}/publication", json={})

    async def drawings(self, **query: Any) -> list[dict[str, Any]]:
        return (await self.call("GET", f"{self.project}/drawings", params=query))["items"]

    async def drawing(self, drawing_id: str) -> dict[str, Any]:
        return await self.call("GET", f"/drawings/{drawing_id}")

    @property
    def project(self) -> str:
        return f"/projects/{self.company.tower}"


@pytest.fixture
async def site(http, storage, worker_db, company: Company) -> Site:
    return Site(http, storage, worker_db, company, await company.hire("residente"))


def sheet(number: str, title: str = "PLANTA BAJA") -> Sheet:
    return Sheet("", [Line(f"PLANO: {number}", 0.9, 0.95, 0.02), Line(f"CONTENIDO: {title}", 0.8, 0.8, 0.01)])


async def news(admin: asyncpg.Connection, company: Company) -> list[dict[str, Any]]:
    """What was announced of drawings."""
    rows = await admin.fetch(
        "select body::text from outbox where tenant_id = $1 and type = $2 order by outbox_id",
        *(company.tenant_id, events.PUBLISHED),
    )
    return [msgspec.json.decode(row["body"])["drawings"] for row in rows]


async def test_sheets_are_read_proposed_reviewed_and_published(site: Site, admin, stack: Any) -> None:
    document = await site.file(3)
    filing_id = await site.open(document, revision_number="rev. 1")
    path = f"/drawing-filings/{filing_id}"
    first = await site.call("GET", path)
    assert (first["state"], first["sheets"], first["revision_number"]) == ("reading", [], "1")
    (order,) = await admin.fetch(
        "select destination, body::text from outbox where tenant_id = $1 and type = 'sheets'", site.company.tenant_id
    )
    assert order["destination"] == "buildpeer-derive-live"
    assert msgspec.json.decode(order["body"])["detail"]["object"]["version-id"] == document.version_id
    said = SheetsRead([sheet("A-101"), sheet("A-101"), Sheet()])
    stack.ministack.client("s3").put_object(
        Bucket="buildpeer-derived", Key=sheets_key(document.key, document.version_id), Body=msgspec.json.encode(said)
    )
    read = await site.call("GET", path)
    assert [(s["page"], s["state"], s["number"], s["title"], s["discipline"]) for s in read["sheets"]] == [
        (1, "proposed", "A-101 (Sheet 1 of 2)", "PLANTA BAJA", "architecture"),
        (2, "proposed", "A-101 (Sheet 2 of 2)", "PLANTA BAJA", "architecture"),
        (3, "proposed", None, None, None),
    ]
    assert {s["revision_number"] for s in read["sheets"]} == {"1"}
    await site.call("POST", f"{path}/publication", json={}, status=409)
    keep = ("page", "number", "title", "discipline", "revision_number", "drawing_date")
    accepted = [{name: s[name] for name in keep} for s in read["sheets"][:2]]
    await site.call("PATCH", f"{path}/sheets", json={"sheets": [*accepted, {"page": 3, "skipped": True}]})
    assert await news(admin, site.company) == []
    assert await site.drawings() == []
    made = await site.call("POST", f"{path}/publication", json={"people": [str(site.who.person_id)]})
    assert [(r["page"], r["current"], r["document_id"]) for r in made] == [
        (n, True, str(document.upload_id)) for n in (1, 2)
    ]
    (told,) = await news(admin, site.company)
    assert [r["number"] for r in told["revisions"]] == ["A-101 (Sheet 1 of 2)", "A-101 (Sheet 2 of 2)"]
    assert told["people"] == [str(site.who.person_id)]
    assert [d["number"] for d in await site.drawings()] == ["A-101 (Sheet 1 of 2)", "A-101 (Sheet 2 of 2)"]
    again = await site.call("POST", f"{path}/publication", json={})
    assert (again, len(await news(admin, site.company))) == (made, 1)
    states = [s["state"] for s in (await site.call("GET", path))["sheets"]]
    assert states == ["published", "published", "skipped"]
    await site.call("PATCH", f"{path}/sheets", json={"sheets": [accepted[0]]}, status=409)
    await site.call("DELETE", path, status=409)


async def test_what_is_not_published_is_seen_by_who_filed_it_and_by_managers_alone(site: Site) -> None:
    others = [await site.company.hire(role) for role in ("residente", "empleado_obra", "inversionista")]
    filing_id = await site.open(await site.file())
    await site.review(filing_id, {"number": "A-1"})
    for path in (f"/drawing-filings/{filing_id}", f"{site.project}/drawings"):
        assert await site.call("GET", path, by=await site.company.hire("manager"))
    for other in others:
        await site.call("GET", f"/drawing-filings/{filing_id}", by=other, status=404)
        await site.call("POST", f"/drawing-filings/{filing_id}/publication", by=other, json={}, status=404)
    assert (await site.call("GET", f"{site.project}/drawing-filings", by=others[0]))["items"] == []
    await site.call("GET", f"{site.project}/drawing-filings", by=others[1], status=403)
    document = str((await site.file()).upload_id)
    wanted = {"filing_id": str(new_id()), "document_id": document}
    await site.call("POST", f"{site.project}/drawing-filings", by=others[1], json=wanted, status=403)
    await site.call("POST", f"/drawing-filings/{filing_id}/publication", json={})
    assert len((await site.call("GET", f"{site.project}/drawings", by=others[1]))["items"]) == 1
    await site.call("GET", f"{site.project}/drawings", by=others[2], status=404)


async def test_a_newer_revision_supersedes_and_an_older_one_filed_late_does_not(site: Site, admin) -> None:
    first = (await site.publish({"number": "A-1", "revision_number": "1", "drawing_date": "2026-02-10"}))[0]
    path = f"/drawings/{first['drawing_id']}"
    assert (await site.call("PATCH", path, json={"obsolete": True}))["obsolete"]
    late = (await site.publish({"number": "a-1", "revision_number": "0", "drawing_date": "2026-01-10", "title": "V"}))[
        0
    ]
    assert (late["drawing_id"], late["current"]) == (first["drawing_id"], False)
    shown = await site.drawing(first["drawing_id"])
    assert (shown["revision_id"], shown["obsolete"], shown["title"]) == (first["revision_id"], True, "Planta")
    newer = (await site.publish({"number": "A-1", "revision_number": "2", "drawing_date": "2026-02-11", "title": "N"}))[
        0
    ]
    shown = await site.drawing(first["drawing_id"])
    assert (shown["revision_id"], shown["obsolete"], shown["title"]) == (newer["revision_id"], False, "N")
    assert [r["revision_number"] for r in shown["revisions"]] == ["2", "1", "0"]
    assert [r["current"] for r in shown["revisions"]] == [True, False, False]
    assert [each["revisions"][0]["current"] for each in await news(admin, site.company)] == [True, False, True]


async def test_a_revision_filed_twice_is_refused_unless_set_or_a_date_differs(site: Site) -> None:
    set_id = str(new_id())
    issued = {"kind": "ifc", "name": "Para construcción", "set_date": "2026-03-01"}
    await site.call("PUT", f"{site.project}/drawing-sets/{set_id}", json=issued)
    one = {"number": "E-1", "revision_number": "0", "drawing_date": "2026-02-10"}
    await site.publish(one, {"number": "E-2"})
    filing_id = await site.open(await site.file(3))
    await site.review(filing_id, {"number": "E-3"}, one, {"number": "E-3"})
    refused = await site.call("POST", f"/drawing-filings/{filing_id}/publication", json={}, status=409)
    assert (refused["code"], refused["pages"]) == ("revision_filed", [2, 3])
    assert [d["number"] for d in await site.drawings()] == ["E-1", "E-2"]  # all or none
    for changes, other in (
        ({"set_id": set_id}, {}),
        ({"received_date": "2026-03-02"}, {}),
        ({}, {"drawing_date": None}),
    ):
        assert await site.publish(one | other, **changes)
    drawing = await site.drawing((await site.drawings(q="e-1"))[0]["drawing_id"])
    assert len(drawing["revisions"]) == 4


async def test_two_people_who_publish_at_once_leave_one_current_revision_the_newest(site: Site, admin) -> None:
    numbers = ["S-1", "S-2", "S-3"]
    filings = []
    for day in range(1, 7):
        filing_id = await site.open(await site.file(len(numbers)))
        order = numbers if day % 2 else numbers[::-1]
        await site.review(filing_id, *({"number": n, "drawing_date": f"2026-02-{day:02}"} for n in order))
        filings.append(filing_id)
    boss = await site.company.hire("manager")
    await asyncio.gather(
        *(
            site.call("POST", f"/drawing-filings/{filing_id}/publication", json={}, by=by)
            for filing_id in (filings[3], filings[5], *filings)
            for by in (site.who, boss)
        )
    )
    found = await site.drawings()
    assert [(d["number"], d["drawing_date"]) for d in found] == [(n, "2026-02-06") for n in numbers]
    counts = await admin.fetchrow(
        "select count(*), count(*) filter (where current) as current from drawing_revisions where tenant_id = $1",
        site.company.tenant_id,
    )
    assert (counts["count"], counts["current"]) == (18, 3)
    assert len(await news(admin, site.company)) == 6


async def test_whoever_publishes_second_sees_what_the_first_has_published(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await site.publish({"number": "S-1", "drawing_date": "2026-02-01"}))[0]
    filings = []
    for day in (3, 2):
        filing_id = await site.open(await site.file())
        await site.review(filing_id, {"number": "S-1", "drawing_date": f"2026-02-{day:02}"})
        filings.append(filing_id)
    read, arrived, both = store.revisions, [0], asyncio.Event()

    async def at_the_same_moment(tx: Any, drawing_ids: Sequence[UUID]) -> Any:
        """Go on once two have read what there is; who has to wait for the other's lock never gets here meanwhile."""
        found = await read(tx, drawing_ids)
        arrived[0] += 1
        if arrived[0] == len(filings):
            both.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(both.wait(), 0.5)
        return found

    monkeypatch.setattr(store, "revisions", at_the_same_moment)
    await asyncio.gather(*(site.call("POST", f"/drawing-filings/{each}/publication", json={}) for each in filings))
    monkeypatch.undo()
    shown = await site.drawing(first["drawing_id"])
    assert [(r["drawing_date"], r["current"]) for r in shown["revisions"]] == [
        ("2026-02-03", True),
        ("2026-02-02", False),
        ("2026-02-01", False),
    ]


async def test_of_one_revision_published_twice_at_once_one_is_refused(site: Site, http: httpx.AsyncClient) -> None:
    filings = []
    for _ in range(4):
        filing_id = await site.open(await site.file())
        await site.review(filing_id, {"number": "S-1", "revision_number": "0"})
        filings.append(filing_id)
    answers = await asyncio.gather(
        *(
            http.post(f"/v1/drawing-filings/{each}/publication", json={}, headers=site.company.bearer(site.who))
            for each in filings
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_two_people_who_review_at_once_are_told_that_it_has_changed(site: Site) -> None:
    filing_id = await site.open(await site.file(2))
    path = f"/drawing-filings/{filing_id}/sheets"
    said = {"sheets": [{"page": 1, "number": "A-1", "title": "Planta"}]}
    await site.call("PATCH", path, json=said, headers={"if-match": '"1"'})
    assert (await site.call("PATCH", path, json=said, headers={"if-match": '"1"'}, status=412))["code"]
    for wrong in ({"page": 3, "number": "A", "title": "B"}, {"page": 1, "number": "A-1"}):
        await site.call("PATCH", path, json={"sheets": [wrong]}, status=422)
    (drawing,) = await site.publish({"number": "A-9"})
    change = f"/drawings/{drawing['drawing_id']}"
    await site.call("PATCH", change, json={"title": "Azotea"}, headers={"if-match": '"7"'}, status=412)
    assert (await site.call("PATCH", change, json={"title": "Azotea"}))["title"] == "Azotea"
    await site.publish({"number": "A-10"})
    await site.call("PATCH", change, json={"number": "a-10"}, status=409)
    await site.call("PATCH", change, json={"area_id": str(uuid4())}, status=422)


async def test_a_filing_made_twice_is_one_and_needs_a_file_with_pages(site: Site, http, storage, worker_db) -> None:
    document = await site.file()
    path, filing_id = f"{site.project}/drawing-filings", str(new_id())
    wanted = {"filing_id": filing_id, "document_id": str(document.upload_id)}
    once = await site.call("POST", path, json=wanted)
    assert await site.call("POST", path, json=wanted) == once
    assert (await site.call("POST", path, json=wanted | {"revision_number": "2"}, status=409))["code"] == "id_taken"
    unshown = await make_document(http, storage, worker_db, site.company, site.who)
    elsewhere = await site.file(project_id=site.company.school)
    for other in (unshown, elsewhere):
        said = {"filing_id": str(new_id()), "document_id": str(other.upload_id)}
        assert (await site.call("POST", path, json=said, status=422))["field"] == "document_id"
    await site.call("POST", path, json=wanted | {"filing_id": str(new_id()), "set_id": str(uuid4())}, status=422)
    await site.call("DELETE", f"/drawing-filings/{filing_id}")
    await site.call("GET", f"/drawing-filings/{filing_id}", status=404)


async def test_drawings_are_filtered_found_and_turned_page_by_page(site: Site) -> None:
    area_id = str(new_id())
    await site.call("PUT", f"{site.project}/drawing-areas/{area_id}", json={"name": "Torre A"})
    await site.call("PUT", f"{site.project}/drawing-areas/{new_id()}", json={"name": "Torre A"}, status=409)
    assert [a["name"] for a in await site.call("GET", f"{site.project}/drawing-areas")] == ["Torre A"]
    first = [
        {"number": "A-2", "discipline": "architecture", "title": "Cimentación"},
        {"number": "A-10", "discipline": "architecture"},
        {"number": "IE-1", "discipline": "electrical"},
    ]
    await site.publish(*first)
    await site.publish({"number": "A-2", "discipline": "architecture"}, area_id=area_id)
    assert [d["number"] for d in await site.drawings(discipline="architecture")] == ["A-2", "A-2", "A-10"]
    assert [d["area_id"] for d in await site.drawings(area_id=area_id)] == [area_id]
    assert [d["number"] for d in await site.drawings(q="CIMENTACION a-2")] == ["A-2"]
    assert await site.drawings(q="a%2") == await site.drawings(obsolete=True) == []
    for sort in ("number", "-published_at"):
        numbers, cursor = list[str](), None
        while True:
            query = {"limit": 1, "sort": sort} | ({"cursor": cursor} if cursor else {})
            part = await site.call("GET", f"{site.project}/drawings", params=query)
            numbers += [d["number"] for d in part["items"]]
            if not (cursor := part["next_cursor"]):
                break
        assert numbers == [d["number"] for d in await site.drawings(sort=sort)]
        assert sorted(numbers) == ["A-10", "A-2", "A-2", "IE-1"]
    assert (await site.drawings(sort="-published_at"))[0]["area_id"] == area_id


async def test_an_overlay_is_made_when_somebody_first_asks_for_it(site: Site, admin, stack: Any) -> None:
    older = (await site.publish({"number": "A-1", "drawing_date": "2026-01-01"}))[0]
    newer = (await site.publish({"number": "A-1", "drawing_date": "2026-02-01"}))[0]
    path = f"/drawing-revisions/{newer['revision_id']}/overlays/{older['revision_id']}"
    assert (await site.call("GET", path))["state"] == "making"
    (order,) = await admin.fetch(
        "select body::text from outbox where tenant_id = $1 and type = 'overlay'", site.company.tenant_id
    )
    detail = msgspec.json.decode(order["body"])["detail"]
    new, old = detail["object"], detail["older"]
    key = {
        ending: overlay_key(new["key"], new["version-id"], 1, older=(old["key"], old["version-id"], 1), ending=ending)
        for ending in ("json", "webp", "pmtiles")
    }
    made = OverlayMade(PagePicture(1600, 1131, 4), Tiles(5000, 3500, 7), "same_size")
    for ending, body in (("webp", b"RIFF"), ("pmtiles", b"PMTiles"), ("json", msgspec.json.encode(made))):
        stack.ministack.client("s3").put_object(Bucket="buildpeer-derived", Key=key[ending], Body=body)
    ready = await site.call("GET", path)
    assert (ready["state"], ready["alignment"], ready["tiles_width"]) == ("ready", "same_size", 5000)
    assert (await site.http.get(ready["picture"]["url"])).content == b"RIFF"
    looked = await admin.fetchval(
        """select changes ->> 'older_id' from audit.entries
        where tenant_id = $1 and object_id = $2 and changes ? 'older_id'""",
        *(site.company.tenant_id, newer["revision_id"]),
    )
    assert looked == older["revision_id"]
    swapped = f"/drawing-revisions/{older['revision_id']}/overlays/{newer['revision_id']}"
    assert (await site.call("GET", swapped))["state"] == "making"
    field_out = await site.company.hire("empleado_obra", site.company.school)
    await site.call("GET", path, by=field_out, status=404)
    await site.call("GET", f"/drawing-revisions/{newer['revision_id']}/overlays/{uuid4()}", status=404)


async def test_the_api_can_order_nothing_but_of_documents_that_its_caller_sees(site: Site, db: Database) -> None:
    seen, unseen = await site.file(2), await site.file(project_id=site.company.school)

    def thing(file: ReadyFile) -> Object:
        return Object(file.key, file.size_bytes, version_id=file.version_id)

    def overlay(newer: ReadyFile, page: int, older: ReadyFile, older_page: int) -> Any:
        return events.overlay_wanted(newer.bucket, thing(newer), page, older=thing(older), older_page=older_page)

    def sheets(file: ReadyFile, **changes: Any) -> Any:
        order = events.sheets_wanted(file.bucket, file.key, file.version_id, file.size_bytes)
        return msgspec.structs.replace(order, **changes)

    async with db.transaction(site.who.scope) as tx:
        await tx.announce([sheets(seen), overlay(seen, 1, seen, 2)])
    lies = [
        sheets(unseen),
        sheets(seen, destination="buildpeer-scan-live"),
        overlay(seen, 3, seen, 1),
        overlay(seen, 1, seen, 3),
        overlay(seen, 1, unseen, 1),
        overlay(unseen, 1, seen, 1),
    ]
    for lie in lies:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with db.transaction(site.who.scope) as tx:
                await tx.announce([lie])


async def test_a_pin_stays_on_its_revision_and_is_carried_over_to_the_next(site: Site) -> None:
    worker = await site.company.hire()
    first = (await site.publish({"number": "A-1", "drawing_date": "2026-01-01"}))[0]
    photo = await site.file(kind="photo")
    pins, drawing = f"/drawing-revisions/{first['revision_id']}/pins", f"/drawings/{first['drawing_id']}"
    rfi = {"pin_id": str(new_id()), "pos_x": 0.25, "pos_y": 1, "kind": "rfi", "target_id": str(uuid4()), "label": "12"}
    stuck = await site.call("POST", pins, by=worker, json=rfi)
    assert (stuck["pos_x"], stuck["pos_y"], stuck["carried_over"]) == (0.25, 1, False)
    assert await site.call("POST", pins, by=worker, json=rfi) == stuck
    await site.call("POST", pins, by=worker, json=rfi | {"pos_x": 0.5}, status=409)
    (newer,) = await site.publish({"number": "A-1", "drawing_date": "2026-02-01"})
    # A phone that was offline sticks its pin on a sheet that was superseded meanwhile.
    taken = {"pin_id": str(new_id()), "pos_x": 0, "pos_y": 0, "kind": "photo", "target_id": str(photo.upload_id)}
    late = await site.call("POST", pins, by=worker, json=taken)
    assert (late["revision_id"], late["carried_over"]) == (first["revision_id"], True)
    fresh = rfi | {"pin_id": str(new_id())}
    await site.call("POST", f"/drawing-revisions/{newer['revision_id']}/pins", by=worker, json=fresh)
    shown = (await site.call("GET", f"{drawing}/pins"))["items"]
    assert [(p["revision_id"], p["carried_over"]) for p in shown] == [
        (first["revision_id"], True),
        (first["revision_id"], True),
        (newer["revision_id"], False),
    ]
    where = await site.call("GET", f"{site.project}/drawing-pins", params={"target_id": rfi["target_id"]})
    assert [p["pin_id"] for p in where["items"]] == [rfi["pin_id"], fresh["pin_id"]]
    for wrong in ({"pos_x": 1.01}, {"pos_y": -0.1}, {"kind": "photo"}, {"pin_id": str(uuid4())}):
        await site.call("POST", pins, by=worker, json=rfi | {"pin_id": str(new_id())} | wrong, status=422)
    await site.call("DELETE", f"/drawing-pins/{rfi['pin_id']}", by=await site.company.hire(), status=403)
    await site.call("DELETE", f"/drawing-pins/{rfi['pin_id']}", by=worker)
    await site.call("DELETE", f"/documents/{photo.upload_id}")  # whose pin goes with it
    assert [p["pin_id"] for p in (await site.call("GET", f"{drawing}/pins"))["items"]] == [fresh["pin_id"]]


async def test_a_document_that_drawings_are_made_of_is_not_erased(site: Site) -> None:
    (made,) = await site.publish({"number": "A-1"})
    path = f"/documents/{made['document_id']}"
    assert (await site.call("DELETE", path, status=409))["code"] == "document_filed"
    assert await site.call("GET", path)
    unpublished = await site.file()
    filing_id = await site.open(unpublished)
    await site.call("DELETE", f"/documents/{unpublished.upload_id}")
    await site.call("GET", f"/drawing-filings/{filing_id}", status=404)


FILL = """
with made as (
  insert into drawings (tenant_id, drawing_id, project_id, number, plain_number, ordered_number, title, discipline,
    found_by)
  select $1, gen_random_uuid(), $2, 'A-' || n, 'a-' || n, 'a-' || lpad(n::text, 8, '0'), 'Plano ' || n,
    case when n % 9 = 0 then 'electrical' else 'architecture' end, 'a-' || n || ' plano ' || n
  from generate_series(1, $4) as n returning drawing_id)
insert into drawing_revisions (tenant_id, revision_id, project_id, drawing_id, revision_number, drawing_date,
  received_date, title, document_id, page, current, published_by, published_at)
select $1, gen_random_uuid(), $2, m.drawing_id, v::text, date '2026-01-01' + v, date '2026-02-01', 'Plano', $3, 1,
  v = 3, gen_random_uuid(), now() from made m, generate_series(1, 3) as v
"""


async def test_the_first_page_of_10_000_drawings_is_read_from_an_index(
    site: Site, admin: asyncpg.Connection, db: Database
) -> None:
    document = await site.file()
    await admin.execute(FILL, site.company.tenant_id, site.company.tower, document.upload_id, 10_000)
    await admin.execute("analyze drawings, drawing_revisions")

    async def rows_read(sql: str, *place: Any, chosen: Sequence[Any] = (None,) * 5) -> int:
        """How many rows of drawings and revisions a page of 51 touches."""
        async with db.transaction(site.who.scope) as tx:
            plan = await tx.value(
                f"explain (analyze, format json, timing off) {sql}",
                *(site.company.tenant_id, site.company.tower, *place, 51, *chosen),
            )
        root = (msgspec.json.decode(plan) if isinstance(plan, str) else plan)[0]["Plan"]
        return sum(
            round(each["Actual Rows"] * each["Actual Loops"]) + each.get("Rows Removed by Filter", 0)
            for each in _nodes(root)
            if each.get("Relation Name") in ("drawings", "drawing_revisions")
        )

    last = UUID(int=2**128 - 1)
    assert await rows_read(store.BY_NUMBER, "", UUID(int=0)) <= 120
    assert await rows_read(store.BY_NUMBER, "a-00005000", UUID(int=0)) <= 120
    assert await rows_read(store.NEWEST, store.FIRST_PAGE[0], last) <= 120
    few = await rows_read(store.BY_NUMBER, "", UUID(int=0), chosen=("electrical", None, None, None, None))
    assert few <= 51 * 10 + 60
    assert [d["number"] for d in await site.drawings(limit=2)] == ["A-1", "A-2"]
    assert [d["number"] for d in await site.drawings(q="a-9999")] == ["A-9999"]


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for each in plan.get("Plans", []) for node in _nodes(each))]
