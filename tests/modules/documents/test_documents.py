import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from tests.conftest import Company

from buildpeer.facts import Media, PageMade, PagePicture, Rendition, Tiles, page_key
from buildpeer.modules.documents import events, handlers
from buildpeer.modules.documents.store import documents as store
from buildpeer.modules.uploads.facade import ReadyFile
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.ids import new_id
from buildpeer.platform.storage import Storage

CONTENT = b"the plan"
NAME = "Plano Ñuñoa – “São João” 3ª fase 🏗.pdf"


async def make_document(
    http: httpx.AsyncClient, storage: Storage, worker_db: Database, company: Company, caller: Caller, **changes: Any
) -> ReadyFile:
    upload_id = new_id()
    key = f"live/{company.tenant_id}/{upload_id}"
    digest = hashlib.sha256(CONTENT).digest()
    signed = storage.sign_write(
        bucket="buildpeer-uploads", key=key, size=len(CONTENT), content_type="application/pdf", sha256=digest
    )
    answer = await http.put(signed.url, content=CONTENT, headers=signed.headers)
    given = {
        "upload_id": upload_id,
        "project_id": company.tower,
        "created_by": caller.person_id,
        "kind": "plan",
        "name": NAME,
        "size_bytes": len(CONTENT),
        "content_type": "application/pdf",
        "sha256": digest,
        "bucket": "buildpeer-uploads",
        "key": key,
        "version_id": answer.headers["x-amz-version-id"],
        "media": Media(width=10),
        "thumbnail": Rendition("buildpeer-derived", f"{key}/thumbnail.webp", 4, 3, 9),
        "preview": None,
        "preview_reason": "image_damaged",
        "created_at": clock.now(),
    }
    file = ReadyFile(**({"settled_at": clock.now()} | given | changes))
    async with worker_db.transaction(Scope(company.tenant_id, None)) as tx:
        await handlers.on_upload_ready(tx, file)
    return file


async def test_a_download_has_the_bytes_and_the_name_and_is_audited(
    http, storage, worker_db, company, admin: asyncpg.Connection
) -> None:
    caller = await company.hire()
    file = await make_document(http, storage, worker_db, company, caller)
    path = f"/v1/documents/{file.upload_id}"
    shown = (await http.get(path, headers=company.bearer(caller) | {"accept-language": "en"})).json()
    assert shown["name"] == NAME
    assert shown["renditions"] == ["original", "thumbnail"]
    assert shown["preview_reason_text"] == "The image is damaged; the original is kept, without a preview."
    answer = await http.post(f"{path}/downloads", json={"rendition": "original"}, headers=company.bearer(caller))
    got = await http.get(answer.json()["url"])
    assert got.content == CONTENT
    kind, _, encoded = got.headers["content-disposition"].partition("; ")
    assert kind == "attachment"
    assert httpx.URL(f"http://x/{encoded.split(chr(39) * 2)[1]}").path == f"/{NAME}"
    entry = await admin.fetchrow(
        "select person_id, object_id, changes from audit.entries where tenant_id = $1 and action = 'download'",
        company.tenant_id,
    )
    assert (entry["person_id"], entry["object_id"]) == (caller.person_id, str(file.upload_id))


async def test_a_picture_that_was_not_made_is_not_found(http, storage, worker_db, company) -> None:
    caller = await company.hire()
    file = await make_document(http, storage, worker_db, company, caller)
    for rendition, status in (("preview", 404), ("thumbnail", 201), ("poster", 422)):
        answer = await http.post(
            f"/v1/documents/{file.upload_id}/downloads", json={"rendition": rendition}, headers=company.bearer(caller)
        )
        assert answer.status_code == status


async def test_a_read_url_ends_after_five_minutes_and_reads_nothing_else(
    http, storage: Storage, worker_db, company, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await company.hire()
    file = await make_document(http, storage, worker_db, company, caller)
    answer = await http.post(f"/v1/documents/{file.upload_id}/downloads", json={}, headers=company.bearer(caller))
    url = answer.json()["url"]
    assert "X-Amz-Expires=300" in url
    assert (await http.get(url.replace(str(file.upload_id), str(new_id())))).status_code == 403
    assert (await http.get(url.replace("X-Amz-Expires=300", "X-Amz-Expires=900"))).status_code == 403
    assert (await http.get(url.split("?")[0])).status_code == 403


async def test_what_a_transaction_sees_follows_whom_it_serves(
    http, storage, worker_db, db: Database, company: Company
) -> None:
    owner, worker = await company.hire("owner"), await company.hire()
    tower, school = [
        (await make_document(http, storage, worker_db, company, owner, project_id=project)).upload_id
        for project in (company.tower, company.school)
    ]

    async def seen(tx: Transaction) -> set[UUID]:
        return {document.document_id for document in await store.page(tx, store.Selection(), after=None, limit=50)}

    async with db.transaction(owner.scope) as tx:
        assert await seen(tx) == {tower, school}
        await tx.serve(worker.scope)
        assert await seen(tx) == {tower}
        await tx.serve(Scope(company.tenant_id, new_id()))
        assert await seen(tx) == set()
    bound = "select set_config('app.role', '', true), set_config('app.person_id', $1, true)"
    async with db.transaction(worker.scope) as tx:  # nobody has asked for the role: the list of projects decides
        await tx.run(bound, str(worker.person_id))
        assert await seen(tx) == {tower}
        await tx.run(bound, str(owner.person_id))
        assert await seen(tx) == {tower, school}


async def test_a_page_is_made_when_somebody_first_asks_for_it(
    http, storage: Storage, worker_db, company, admin: asyncpg.Connection, stack: Any
) -> None:
    caller, s3 = await company.hire(), stack.ministack.client("s3")
    bearer = company.bearer(caller)
    shown = Rendition("buildpeer-derived", "k", 4, 3, 9)
    media = Media(pages=2, page_labels=["A-101", ""], sheet_sizes_mm=[(841, 594), (420, 297)])
    file = await make_document(http, storage, worker_db, company, caller, preview=shown, media=media)
    path = f"/v1/documents/{file.upload_id}/pages"
    for missing in (0, 3):
        assert (await http.get(f"{path}/{missing}", headers=bearer)).status_code == 404

    answers = await asyncio.gather(*(http.get(f"{path}/1", headers=bearer) for _ in range(12)))  # many, but one order
    first = answers[-1].json()
    assert all(answer.json() == first for answer in answers)
    assert (first["state"], first["label"], first["sheet_size_mm"]) == ("making", "A-101", [841, 594])
    assert first["picture"] is first["tiles"] is None
    (order,) = await admin.fetch(
        "select destination, body from outbox where tenant_id = $1 and type = 'page'", company.tenant_id
    )
    assert order["destination"] == "buildpeer-derive-live"
    event = msgspec.json.decode(order["body"]) if isinstance(order["body"], str) else order["body"]
    assert event["detail"]["page"] == 1
    assert event["detail"]["object"]["key"] == file.key
    assert event["detail"]["object"]["version-id"] == file.version_id

    made = PageMade(PagePicture(1600, 1131, 4), Tiles(8192, 5790, 7))
    for ending, body in (("webp", b"RIFF"), ("pmtiles", b"PMTiles"), ("json", msgspec.json.encode(made))):
        s3.put_object(Bucket="buildpeer-derived", Key=page_key(file.key, file.version_id, 1, ending), Body=body)
    ready = (await http.get(f"{path}/1", headers=bearer)).json()
    assert (ready["state"], ready["width"], ready["tiles_width"]) == ("ready", 1600, 8192)
    assert (await http.get(ready["picture"]["url"])).content == b"RIFF"
    part = await http.get(ready["tiles"]["url"], headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PMTi")
    looked = await admin.fetchval(
        "select changes ->> 'rendition' from audit.entries where tenant_id = $1 and action = 'download'",
        company.tenant_id,
    )
    assert looked == "page 1"

    failed = msgspec.json.encode(PageMade(reason="pdf_damaged"))
    s3.put_object(Bucket="buildpeer-derived", Key=page_key(file.key, file.version_id, 2, "json"), Body=failed)
    second = (await http.get(f"{path}/2", headers=bearer | {"accept-language": "en"})).json()
    assert (second["state"], second["reason"], second["label"]) == ("failed", "pdf_damaged", None)
    assert second["reason_text"].startswith("The PDF is damaged")


async def test_what_has_no_preview_has_no_pages(http, storage: Storage, worker_db, company) -> None:
    caller = await company.hire()
    file = await make_document(http, storage, worker_db, company, caller)
    answer = await http.get(f"/v1/documents/{file.upload_id}/pages/1", headers=company.bearer(caller))
    assert answer.status_code == 404


async def test_documents_are_found_by_their_words_with_or_without_accents(
    http, storage: Storage, worker_db, company
) -> None:
    caller = await company.hire()
    text = "Cimentación del EJE B, São Paulo"
    file = await make_document(http, storage, worker_db, company, caller, text=text)
    await make_document(http, storage, worker_db, company, caller, text="otra cosa")
    for words in ("cimentacion eje", "CIMENTACIÓN", "sao paulo", "nunoa eje"):
        found = (await http.get("/v1/documents", params={"q": words}, headers=company.bearer(caller))).json()["items"]
        assert [each["document_id"] for each in found] == [str(file.upload_id)], words
    found = (await http.get("/v1/documents", params={"q": "nada"}, headers=company.bearer(caller))).json()["items"]
    assert found == []


async def test_the_words_of_a_file_are_not_repeated_in_the_trail(
    http, storage: Storage, worker_db, company, admin: asyncpg.Connection
) -> None:
    caller = await company.hire()
    await make_document(http, storage, worker_db, company, caller, text="confidencial")
    trail = await admin.fetch("select changes::text from audit.entries where tenant_id = $1", company.tenant_id)
    assert trail and not any("confidencial" in row["changes"] for row in trail)


async def test_a_photo_has_the_senders_word_where_it_says_nothing_itself(
    http, storage: Storage, worker_db, company
) -> None:
    caller = await company.hire()
    said = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    file = await make_document(
        http,
        storage,
        worker_db,
        company,
        caller,
        said_captured_at=said,
        said_latitude=-33.4,
        said_longitude=-70.6,
        icon="photo",
    )
    shown = (await http.get(f"/v1/documents/{file.upload_id}", headers=company.bearer(caller))).json()
    assert datetime.fromisoformat(shown["captured_at"]) == said
    assert (shown["captured_from"], shown["located_from"], shown["icon"]) == ("client", "client", "photo")
    assert (shown["latitude"], shown["longitude"]) == (-33.4, -70.6)


async def test_the_api_can_order_no_page_but_of_a_document_that_its_caller_sees(
    http, storage: Storage, db: Database, worker_db, company
) -> None:
    caller = await company.hire()
    preview = Rendition("buildpeer-derived", "k", 4, 3, 9)
    seen = await make_document(http, storage, worker_db, company, caller, preview=preview)
    unseen = await make_document(http, storage, worker_db, company, caller, preview=preview, project_id=company.school)
    place = (seen.bucket, seen.key, seen.version_id, seen.size_bytes)
    async with db.transaction(caller.scope) as tx:
        await tx.announce([events.page_wanted(*place, 1)])
    lies = [
        events.page_wanted(*place, 2),
        events.page_wanted("buildpeer-chunks", *place[1:], 1),
        events.page_wanted(seen.bucket, seen.key, "another", 1, 1),
        events.page_wanted(unseen.bucket, unseen.key, unseen.version_id, 1, 1),
        msgspec.structs.replace(events.page_wanted(*place, 1), destination="buildpeer-scan-live"),
        msgspec.structs.replace(events.page_wanted(*place, 1), destination="buildpeer-status-live"),
    ]
    for lie in lies:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with db.transaction(caller.scope) as tx:
                await tx.announce([lie])
