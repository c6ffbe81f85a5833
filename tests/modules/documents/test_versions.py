"""Versions: history, restoring, withdrawing, erasing."""

import asyncio
import hashlib
from typing import Any

import msgspec
from tests.conftest import declare
from tests.modules.uploads.arriving import arrive, open_files, put, tell

from buildpeer.modules.documents import handlers
from buildpeer.platform.db import Scope
from buildpeer.platform.ids import new_id


async def version(who: Any, document: str, content_of: str, status: int = 201, **other: str) -> Any:
    body = {"version_id": str(new_id()), "document_id": content_of} | other
    return await who.ask("POST", f"/documents/{document}/versions", status, json=body)


async def history(who: Any, document: str) -> list[tuple[int, str, bool]]:
    found = await who.ask("GET", f"/documents/{document}/versions")
    return [(each["version_number"], each["document_id"], each["current"]) for each in found]


async def test_an_upload_becomes_the_next_version_and_lies_where_the_one_before_lay(desk, worker_db) -> None:
    ana = await desk()
    first = (await arrive(ana.http, worker_db, ana.company, ana.caller, b"first content"))["upload_id"]
    folder, content = (await ana.folder("Planos"))["folder_id"], b"second content"
    await ana.change([first], folder_id=folder, add_tags=["losa"])
    [opened] = await open_files(ana.http, ana.company, ana.caller, declare(content, name="v2.jpg"))
    second = opened["upload"]["upload_id"]
    placed = {"placements": [{"upload_id": second, "version_of": first}]}
    await ana.ask("POST", "/documents/placements", 204, json=placed)
    at = await put(ana.http, opened, content)
    await tell(worker_db, ana.company, opened["upload"], at, "created", "scanned", "derived")
    assert await history(ana, first) == await history(ana, second) == [(2, second, True), (1, first, False)]
    shown = await ana.ask("GET", "/documents", params={"project_id": str(ana.company.tower), "folder_id": folder})
    assert [(d["document_id"], d["tags"], d["name"]) for d in shown["items"]] == [(second, ["losa"], "v2.jpg")]
    assert (await ana.change([first], 404, starred=True))["documents"] == [first]  # what is past isn't changed

    restored = await version(ana, second, first)
    assert (restored["version_number"], restored["current"]) == (3, True)
    assert restored["sha256"] == hashlib.sha256(b"first content").hexdigest()
    again = await version(ana, second, first, version_id=restored["document_id"])
    assert again["version_number"] == 3
    taken = await version(ana, second, second, 409, version_id=restored["document_id"])
    assert taken["code"] == "id_taken"
    read = await ana.ask("POST", f"/documents/{restored['document_id']}/downloads", 201, json={})
    assert (await ana.http.get(read["url"])).content == b"first content"


async def test_versions_made_at_once_are_numbered_without_gap_and_one_counts(desk) -> None:
    ana = await desk()
    document, other = await ana.file("p.pdf"), await ana.file("otro.pdf")
    await asyncio.gather(*(version(ana, document, other) for _ in range(8)))
    found = await history(ana, document)
    assert [number for number, _, _ in found] == list(range(9, 0, -1))
    assert [current for _, _, current in found] == [True] + [False] * 8
    assert await ana.names("/documents", q="otro") == ["otro.pdf", "otro.pdf"]


async def test_content_of_another_project_makes_no_version(desk) -> None:
    ana = await desk("manager")
    document, other = await ana.file("p.pdf"), await ana.file("aula.pdf", project_id=ana.company.school)
    assert (await version(ana, document, other, 422))["field"] == "document_id"
    assert (await version(ana, document, document, 422, version_id="6b0b9a4c-9d0c-4a3e-8f57-3a1e0a1b2c3d"))["code"] == (
        "id_invalid"
    )


async def test_when_the_version_that_counts_is_locked_away_the_one_before_counts_until_it_is_back(
    desk, http, storage, worker_db
) -> None:
    ana = await desk()
    first, second = await ana.file("v1.pdf"), await ana._make(ana.caller, name="v2.pdf", sha256=b"2" * 32)
    folder = (await ana.folder("Planos"))["folder_id"]
    third = (await version(ana, first, str(second.upload_id)))["document_id"]
    await ana.change([third], folder_id=folder, add_tags=["x"])
    async with worker_db.transaction(Scope(ana.company.tenant_id, None)) as tx:
        await handlers.on_upload_ready(tx, msgspec.structs.replace(second, infected=True))
    assert await history(ana, first) == [(1, first, True)]
    shown = await ana.ask("GET", f"/documents/{first}")
    assert (shown["folder_id"], shown["tags"]) == (folder, ["x"])
    await ana.ask("GET", f"/documents/{third}", 404)
    await ana.change([first], remove_tags=["x"])
    async with worker_db.transaction(Scope(ana.company.tenant_id, None)) as tx:  # it was a false alarm
        await handlers.on_upload_ready(tx, msgspec.structs.replace(second, released=True))
    assert await history(ana, first) == [(2, third, True), (1, first, False)]
    shown = await ana.ask("GET", f"/documents/{third}")
    assert (shown["folder_id"], shown["tags"]) == (folder, [])
    assert (await version(ana, third, first))["version_number"] == 3  # no number is given twice


async def test_a_document_is_erased_with_its_history_by_whoever_may_erase_all_of_it(desk, admin: Any) -> None:
    ana, beto, jefa = await desk(), await desk(), await desk("manager")
    document, other = await ana.file("p.pdf"), await ana.file("otro.pdf")
    newest = (await version(beto, document, other))["document_id"]
    for who in (ana, beto):
        await who.ask("DELETE", f"/documents/{newest}", 403)
    await jefa.ask("DELETE", f"/documents/{newest}", 204)
    for gone in (document, newest):
        await ana.ask("GET", f"/documents/{gone}", 404)
    left = await admin.fetchval("select count(*) from documents where tenant_id = $1", ana.company.tenant_id)
    assert left == 1
