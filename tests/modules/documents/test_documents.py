import hashlib
from typing import Any

import asyncpg
import httpx
import pytest
from tests.conftest import Company

from buildpeer.facts import Media, Rendition
from buildpeer.modules.documents import handlers
from buildpeer.modules.uploads.facade import ReadyFile
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database, Scope
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
