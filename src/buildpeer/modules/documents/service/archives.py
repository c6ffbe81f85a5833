"""Many documents as one ZIP file: a job."""

import asyncio
import zipfile
from collections.abc import Sequence
from datetime import UTC
from uuid import UUID

import msgspec

from buildpeer.modules.documents import rules
from buildpeer.modules.documents.store import archives as store
from buildpeer.modules.documents.store import folders
from buildpeer.modules.documents.store.archives import Entry
from buildpeer.modules.documents.store.documents import Document
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.jobs.facade import JobStarted, Outcome, Work, start
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads import facade as uploads
from buildpeer.platform import messages
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.storage import PartWriter, Storage

ARCHIVE = "documents.archive"
_AT_ONCE = 50  # documents looked up together
_NAMED = 100  # in the job's answer


class NewArchive(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a ZIP file: a folder with all that lies in it, or documents of one's choice."""

    job_id: UUID
    folder_id: UUID | None = None
    document_ids: list[UUID] = []


class _Wanted(msgspec.Struct, frozen=True):
    name: str
    entries: list[Entry]


async def order_archive(
    db: Database, *, caller: Caller, project_id: UUID, wanted: NewArchive, language: str
) -> JobStarted:
    """Order a ZIP file of what the caller may see now; what is still being checked is left out, and named in it.

    Raises Problem not_found, invalid, archive_too_large, id_invalid, id_taken or too_many_jobs.
    """
    if (wanted.folder_id is None) == (not wanted.document_ids) or len(wanted.document_ids) > rules.MOST_AT_ONCE:
        raise Problem("invalid", f"either folder_id or 1 to {rules.MOST_AT_ONCE} document_ids")
    async with db.transaction(caller.scope) as tx:
        project = await projects.find_project(tx, project_id)
        identity.permit(tx, "files", "read")
        if wanted.folder_id is None:
            entries = await store.of_documents(tx, project_id, wanted.document_ids)
            missing = set(wanted.document_ids) - {entry.document_id for entry in entries}
            sent = await uploads.sent_to(tx, project_id, list(missing))
            if missing - {file.upload_id for file in sent}:
                raise Problem("not_found")
            entries += [Entry(file.upload_id, file.name) for file in sent]
            name = project.name
        else:
            folder = await folders.by_id(tx, wanted.folder_id)
            if folder is None or folder.project_id != project_id:
                raise Problem("not_found")
            entries = await store.of_folder(tx, wanted.folder_id, limit=rules.MOST_ZIPPED + 1)
            name = folder.name
        if len(entries) > rules.MOST_ZIPPED or sum(e.size_bytes for e in entries) > rules.MOST_ZIPPED_BYTES:
            raise Problem("archive_too_large", most=rules.MOST_ZIPPED, most_gb=rules.MOST_ZIPPED_BYTES // 1024**3)
        job = _Wanted(name, entries)
        return await start(tx, job_id=wanted.job_id, kind=ARCHIVE, wanted=job, language=language, project_id=project_id)


async def write_archive(work: Work) -> Outcome:
    """Do the job: read each original from S3 and write it on into the ZIP file there, one part in memory at most.

    Whoever ordered it may see less by now: what was locked away, erased or hidden meanwhile is left out, and named in a
    list at the end.
    """
    wanted = msgspec.convert(work.wanted, _Wanted)
    paths = rules.distinct_paths([entry.path for entry in wanted.entries])
    named = list(zip(wanted.entries, paths, strict=True))
    left_out: list[str] = []
    out = await work.storage.write_parts(bucket=work.bucket, key=work.key, content_type="application/zip")
    try:
        archive = zipfile.ZipFile(out, "w")
        for begin in range(0, len(named), _AT_ONCE):
            batch = named[begin : begin + _AT_ONCE]
            async with work.transaction() as tx:
                identity.permit(tx, "files", "read")
                found = await store.by_ids(tx, [entry.document_id for entry, _ in batch])
                await store.audit(tx, list(found), job_id=work.job_id)
            for place, (entry, path) in enumerate(batch, begin + 1):
                document = found.get(entry.document_id)
                if document is None:
                    left_out.append(path)
                else:
                    await asyncio.to_thread(_add, work.storage, archive, document, path)
                await work.tell(place, len(named))
        await asyncio.to_thread(_end, archive, out, left_out, work.language)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(out.abort))
        raise
    return Outcome(
        written_bytes=out.written,
        filename=f"{wanted.name}.zip",
        content_type="application/zip",
        summary={"files": len(named) - len(left_out), "left_out": len(left_out), "left_out_names": left_out[:_NAMED]},
    )


def _add(storage: Storage, archive: zipfile.ZipFile, document: Document, path: str) -> None:
    member = zipfile.ZipInfo(path, document.created_at.astimezone(UTC).timetuple()[:6])
    with archive.open(member, "w", force_zip64=True) as file:  # stored as it is: photos and PDFs don't get smaller
        for piece in storage.pieces(bucket=document.bucket, key=document.key, version_id=document.version_id):
            file.write(piece)


def _end(archive: zipfile.ZipFile, out: PartWriter, left_out: Sequence[str], language: str) -> None:
    if left_out:
        name, text = messages.left_out(left_out, language)
        archive.writestr(name, text)
    archive.close()
    out.complete()
