"""Many documents as one ZIP file, written straight into S3."""

import io
import zipfile
from typing import Any

import msgspec
import pytest
from tests.conftest import declare
from tests.modules.documents.test_documents import CONTENT
from tests.modules.uploads.arriving import open_files

from buildpeer.modules.documents import handlers
from buildpeer.modules.documents import service as documents
from buildpeer.modules.jobs import service as jobs
from buildpeer.platform import clock, storage
from buildpeer.platform.db import Scope
from buildpeer.platform.ids import new_id


@pytest.fixture
def work(db, worker_db, worker_clients) -> Any:
    async def until_done() -> None:
        done = {documents.ARCHIVE: documents.write_archive}
        bucket = worker_clients.settings.derived_bucket
        while await jobs.work(worker_db, db, worker_clients.storage, done, bucket=bucket, now=clock.now):
            pass

    return until_done


async def order(who: Any, status: int = 201, **wanted: Any) -> str:
    body = {"job_id": str(new_id())} | wanted
    await who.ask("POST", f"/projects/{who.company.tower}/archives", status, json=body)
    return body["job_id"]


async def unzipped(who: Any, job_id: str) -> dict[str, bytes]:
    job = await who.ask("GET", f"/jobs/{job_id}")
    assert job["state"] == "done", job
    got = (await who.http.get(job["result"]["url"])).content
    assert len(got) == job["size_bytes"]
    with zipfile.ZipFile(io.BytesIO(got)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_a_folder_is_zipped_with_all_that_lies_in_it(desk, work) -> None:
    ana = await desk()
    folder = await ana.folder("Planos")
    inner = await ana.folder("Año 2026", folder["folder_id"])
    for place, names in ((folder, ["Losa.pdf", "losa.pdf"]), (inner, ["ñ.pdf"])):
        await ana.change([await ana.file(name) for name in names], folder_id=place["folder_id"])
    await ana.file("fuera.pdf")
    job = await order(ana, folder_id=folder["folder_id"])
    await work()
    found = await unzipped(ana, job)
    assert set(found.values()) == {CONTENT}
    assert {name.casefold() for name in found} == {"planos/losa.pdf", "planos/losa (2).pdf", "planos/año 2026/ñ.pdf"}


async def test_what_was_locked_away_hidden_or_not_checked_yet_is_left_out_and_named(desk, work, worker_db) -> None:
    ana, beto = await desk(), await desk()
    bad = await ana._make(ana.caller, name="virus.pdf", sha256=b"v" * 32)
    kept, hidden = await ana.file("bien.pdf"), await ana.file("oculto.pdf")
    [opened] = await open_files(ana.http, ana.company, ana.caller, declare(b"not scanned yet", name="nuevo.jpg"))
    ids = [str(bad.upload_id), kept, hidden, opened["upload"]["upload_id"]]
    job = await order(beto, document_ids=ids)
    async with worker_db.transaction(Scope(ana.company.tenant_id, None)) as tx:
        await handlers.on_upload_ready(tx, msgspec.structs.replace(bad, infected=True))
    await ana.change([hidden], private=True)
    await work()
    found = await unzipped(beto, job)
    assert set(found) == {"bien.pdf", "LEFT OUT.txt"}
    told = found["LEFT OUT.txt"].decode()
    assert all(name in told for name in ("virus.pdf", "oculto.pdf", "nuevo.jpg")) and "bien.pdf" not in told
    summary = (await beto.ask("GET", f"/jobs/{job}"))["summary"]
    assert (summary["files"], summary["left_out"]) == (1, 3)


async def test_what_cant_be_zipped_is_refused_at_once(desk) -> None:
    ana = await desk()
    document, folder = await ana.file("p.pdf"), (await ana.folder("Planos"))["folder_id"]
    await order(ana, 422)
    await order(ana, 422, document_ids=[document], folder_id=folder)
    await order(ana, 404, document_ids=[document, str(new_id())])
    await order(ana, 404, folder_id=str(new_id()))


async def test_no_more_than_one_part_is_ever_in_memory(worker_clients, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []

    class S3:
        def create_multipart_upload(self, **_: Any) -> dict[str, str]:
            return {"UploadId": "u"}

        def upload_part(self, *, Body: bytes, PartNumber: int, **_: Any) -> dict[str, str]:  # noqa: N803 - boto3's names
            sent.append(len(Body))
            return {"ETag": str(PartNumber)}

        def complete_multipart_upload(self, **_: Any) -> None:
            sent.append(0)

    monkeypatch.setattr(storage, "_WRITTEN_PART", 10)
    out = storage.PartWriter(S3(), bucket="b", key="k", content_type="a/b")
    for size in (3, 25, 0, 10, 1):
        assert out.write(b"x" * size) == size
        assert len(out._part) < 10
    out.complete()
    assert sent == [10, 10, 10, 9, 0] and out.written == 39
