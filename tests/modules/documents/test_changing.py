"""What people say of documents: one and many, tags, archive, privacy, and where files go."""

import hashlib
from typing import Any
from uuid import UUID

from tests.conftest import declare
from tests.modules.uploads.arriving import open_files, put, tell

from buildpeer.platform.ids import new_id


async def test_a_document_is_renamed_described_and_found_by_its_new_words(desk) -> None:
    ana = await desk()
    document = await ana.file("scan0001.pdf", text="hormigón armado")
    path = f"/documents/{document}"
    changes = {"name": "Memoria  de cálculo.pdf", "description": "Losa nivel 3", "add_tags": ["Estructura"]}
    changed = await ana.ask("PATCH", path, match='"1"', json=changes)
    assert (changed["name"], changed["version"]) == ("Memoria de cálculo.pdf", 2)
    for words in ("memorias calculos", "losa", "hormigones", "estructura"):
        assert await ana.names("/documents", q=words) == ["Memoria de cálculo.pdf"], words
    assert await ana.names("/documents", q="scan0001") == []
    assert (await ana.ask("PATCH", path, 412, match='"1"', json={"name": "x"}))["code"] == "changed_meanwhile"
    await ana.ask("PATCH", path, 422, json={"name": "a/b"})


async def test_many_documents_are_changed_at_once_or_none_of_them(desk) -> None:
    ana = await desk()
    ids = [await ana.file(f"{n}.pdf") for n in range(3)]
    folder = (await ana.folder("Planos"))["folder_id"]
    await ana.change(ids, folder_id=folder, add_tags=["Eje B", "losa"])
    await ana.change(ids[:1], add_tags=["LOSA"], remove_tags=["eje  b", "Ninguno"])
    shown = await ana.ask("GET", "/documents", params={"project_id": str(ana.company.tower), "folder_id": folder})
    assert [(d["name"], d["tags"]) for d in shown["items"]] == [
        ("0.pdf", ["losa", "LOSA"]),
        ("1.pdf", ["Eje B", "losa"]),
        ("2.pdf", ["Eje B", "losa"]),
    ]
    strange = str(new_id())
    refused = await ana.change([ids[0], strange], 404, starred=True)
    assert refused["documents"] == [strange]
    assert not (await ana.ask("GET", f"/documents/{ids[0]}"))["starred"]
    assert await ana.names(f"/projects/{ana.company.tower}/unfiled-documents") == []
    assert await ana.names("/documents", tag="EJE B") == ["2.pdf", "1.pdf"]
    assert await ana.names("/documents", tag=["eje b", "losa"], q="2.pdf") == ["2.pdf"]
    await ana.change([], 422, starred=True)


async def test_what_is_archived_is_out_of_the_way_and_comes_back(desk) -> None:
    ana, beto, jefa = await desk(), await desk(), await desk("manager")
    document, project = await ana.file("viejo.pdf"), {"project_id": str(ana.company.tower)}
    assert (await beto.change([document], 403, archived=True))["code"] == "not_allowed"
    await jefa.change([document], archived=True)
    assert await ana.names("/documents", **project) == await ana.names("/documents", q="viejo") == []
    assert await ana.names("/documents", **project, archived=True) == ["viejo.pdf"]
    assert await ana.names("/documents", **project, archived=True, q="viejos") == ["viejo.pdf"]
    await ana.change([document], archived=False)
    assert await ana.names("/documents", **project) == ["viejo.pdf"]


async def test_a_private_document_is_for_its_sender_and_the_managers_whatever_way_one_looks(desk) -> None:
    ana, beto, jefa = await desk(), await desk(), await desk("manager")
    content = b"secret of one"
    document = await ana.file("nómina.pdf", text="salarios", sha256=hashlib.sha256(content).digest(), kind="photo")
    assert (await beto.change([document], 403, private=True))["code"] == "not_allowed"
    await ana.change([document], private=True)
    tower = beto.company.tower
    for who, there in ((ana, ["nómina.pdf"]), (jefa, ["nómina.pdf"]), (beto, [])):
        for path, params in (
            ("/documents", {}),
            ("/documents", {"q": "salario"}),
            ("/documents", {"q": "nomima"}),
            (f"/projects/{tower}/photos", {}),
            (f"/projects/{tower}/unfiled-documents", {}),
        ):
            assert await who.names(path, **params) == there, (path, params)
    await beto.ask("GET", f"/documents/{document}", 404)
    await beto.ask("POST", f"/documents/{document}/downloads", 404, json={})
    await beto.change([document], 404, starred=True)
    item = declare(content) | {"size_bytes": 8}  # as make_document says
    [verdict] = await open_files(beto.http, beto.company, beto.caller, item)
    assert verdict["verdict"] == "opened"  # known content of others stays unknown


async def test_a_file_goes_where_its_sender_said_before_it_was_ready(desk, worker_db) -> None:
    ana, beto = await desk(), await desk()
    folder, content = (await ana.folder("Planos"))["folder_id"], b"the file that is placed"
    [opened] = await open_files(ana.http, ana.company, ana.caller, declare(content, name="nuevo.jpg"))
    upload_id = opened["upload"]["upload_id"]
    placed = {"placements": [{"upload_id": upload_id, "folder_id": folder, "tags": ["losa"], "private": True}]}
    assert (await beto.ask("POST", "/documents/placements", 404, json=placed))["uploads"] == [upload_id]
    await ana.ask("POST", "/documents/placements", 204, json=placed)
    version = await put(ana.http, opened, content)
    await tell(worker_db, ana.company, opened["upload"], version, "created", "scanned", "derived")
    shown = await ana.ask("GET", f"/documents/{upload_id}")
    assert (shown["folder_id"], shown["tags"], shown["private"]) == (folder, ["losa"], True)
    await beto.ask("GET", f"/documents/{upload_id}", 404)
    # What is ready goes there at once, and a duplicate becomes a document of its own.
    await ana.ask("POST", "/documents/placements", 204, json={"placements": [{"upload_id": upload_id}]})
    assert (await ana.ask("GET", f"/documents/{upload_id}"))["folder_id"] is None
    [again] = await open_files(ana.http, ana.company, ana.caller, declare(content, name="otra vez.jpg"))
    assert again["verdict"] == "duplicate"
    copy = again["upload"]["upload_id"]
    placed = {"placements": [{"upload_id": copy, "folder_id": folder}]}
    for _ in range(2):
        await ana.ask("POST", "/documents/placements", 204, json=placed)
    shown = await ana.ask("GET", f"/documents/{copy}")
    assert (shown["folder_id"], shown["sha256"]) == (folder, hashlib.sha256(content).hexdigest())


async def test_a_change_is_told_once_for_all_documents(desk, admin: Any) -> None:
    ana = await desk()
    ids = [await ana.file(f"{n}.pdf") for n in range(3)]
    await ana.change(ids, starred=True)
    told = await admin.fetch(
        "select body -> 'documents' -> 'document_ids' as ids from outbox where tenant_id = $1 and type = $2",
        *(ana.company.tenant_id, "documents.changed"),
    )
    assert len(told) == 1 and all(each in told[0]["ids"] for each in ids)
    assert UUID(ids[0])
