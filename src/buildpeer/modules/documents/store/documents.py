"""SQL of the documents themselves: one function, one statement."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from buildpeer.facts import Icon, Media, Rendition
from buildpeer.modules.documents.events import DocumentNews
from buildpeer.modules.documents.rules import Capture, CapturedFrom, LocatedFrom, Location, folded
from buildpeer.modules.uploads.facade import ReadyFile
from buildpeer.platform.db import FIRST_PAGE, Transaction, record, records

T = TypeVar("T")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document as the database has it."""

    document_id: UUID
    project_id: UUID
    created_by: UUID
    kind: str
    name: str
    size_bytes: int
    content_type: str
    sha256: bytes
    bucket: str
    key: str
    version_id: str
    media: Media
    thumbnail: Rendition | None
    preview: Rendition | None
    preview_reason: str
    icon: Icon
    captured_at: datetime | None
    captured_from: CapturedFrom | None
    latitude: float | None
    longitude: float | None
    located_from: LocatedFrom | None
    created_at: datetime


_COLUMNS = """
document_id, project_id, created_by, kind, name, size_bytes, content_type, sha256, bucket, key, version_id, media,
thumbnail, preview, preview_reason, icon, captured_at, captured_from, latitude, longitude, located_from, created_at
"""
INSERT = """
insert into documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type, sha256,
  bucket, key, version_id, media, thumbnail, preview, preview_reason, created_at, icon, captured_at, captured_from,
  latitude, longitude, located_from, words)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
  to_tsvector('simple', $24))
on conflict do nothing returning true
"""
BY_ID = f"select {_COLUMNS} from documents where tenant_id = $1 and document_id = $2"  # noqa: S608
# Two, and without `is null or`, so that each reads its index from where the page begins and no further than it ends.
PAGE = f"""
select {_COLUMNS} from documents where tenant_id = $1 and (created_at, document_id) < ($2, $3)
order by created_at desc, document_id desc limit $4
"""  # noqa: S608
PAGE_OF_PROJECT = f"""
select {_COLUMNS} from documents where tenant_id = $1 and project_id = $5 and (created_at, document_id) < ($2, $3)
order by created_at desc, document_id desc limit $4
"""  # noqa: S608
FOUND = f"""
select {_COLUMNS} from documents where tenant_id = $1 and (created_at, document_id) < ($2, $3)
  and words @@ websearch_to_tsquery('simple', $5)
order by created_at desc, document_id desc limit $4
"""  # noqa: S608
FOUND_IN_PROJECT = f"""
select {_COLUMNS} from documents where tenant_id = $1 and project_id = $6 and (created_at, document_id) < ($2, $3)
  and words @@ websearch_to_tsquery('simple', $5)
order by created_at desc, document_id desc limit $4
"""  # noqa: S608
LOCK_BY_BYTES = f"""
select {_COLUMNS} from documents where tenant_id = $1 and key = $2 and version_id = $3 and withdrawn_at is null
order by document_id for update
"""  # noqa: S608
RENEW = """
update documents set content_type = $3, media = $4, thumbnail = $5, preview = $6, preview_reason = $7, icon = $8,
  captured_at = $9, captured_from = $10, latitude = $11, longitude = $12, located_from = $13,
  words = coalesce(to_tsvector('simple', $14), words)
where tenant_id = $1 and document_id = $2
  and (content_type, media, thumbnail, preview, preview_reason, icon, captured_at, captured_from, latitude, longitude,
    located_from, words) is distinct from
    ($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, coalesce(to_tsvector('simple', $14), words))
returning true
"""
WITHDRAW = "select document_id, project_id, kind, name from app.withdraw_documents($1, $2, $3)"
RETURN = "select document_id, project_id, kind, name from app.return_documents($1, $2)"
ERASE = "delete from documents where tenant_id = $1 and document_id = $2 returning true"
MISSING = """
select exists (select from unnest($3::uuid[]) as w (id) where not exists (
  select from documents d where d.tenant_id = $1 and d.project_id = $2 and d.document_id = w.id))
"""
DESCRIBED = """
select document_id, name, sha256, captured_at, thumbnail, preview from documents
where tenant_id = $1 and document_id = any ($2)
"""
AUDIT = "select audit.record($1, $2, $3, $4, $5)"


async def insert(tx: Transaction, file: ReadyFile, capture: Capture, location: Location) -> bool:
    """Make the document of a ready file; False if it is there already."""
    return bool(
        await tx.value(
            INSERT,
            tx.tenant_id,
            file.upload_id,
            file.project_id,
            file.created_by,
            file.kind,
            file.name,
            file.size_bytes,
            file.content_type,
            file.sha256,
            file.bucket,
            file.key,
            file.version_id,
            file.media,
            file.thumbnail,
            file.preview,
            file.preview_reason,
            file.created_at,
            file.icon,
            capture.at,
            capture.source,
            location.latitude,
            location.longitude,
            location.source,
            folded(f"{file.name} {file.text}"),
        )
    )


async def lock_by_bytes(tx: Transaction, key: str, version_id: str) -> list[Document]:
    """Every document with these bytes that isn't withdrawn, locked until the transaction ends."""
    return records(await tx.all(LOCK_BY_BYTES, tx.tenant_id, key, version_id), Document)


async def renew(tx: Transaction, document: Document, *, words: str | None) -> bool:
    """Write what is derived of a document, and what it is found by unless that is None; False if nothing changes."""
    return bool(
        await tx.value(
            RENEW,
            tx.tenant_id,
            document.document_id,
            document.content_type,
            document.media,
            document.thumbnail,
            document.preview,
            document.preview_reason,
            document.icon,
            document.captured_at,
            document.captured_from,
            document.latitude,
            document.longitude,
            document.located_from,
            words,
        )
    )


async def withdraw(tx: Transaction, file: ReadyFile, *, at: datetime) -> list[DocumentNews]:
    """Take every document with these bytes away; returns those that were there."""
    return records(await tx.all(WITHDRAW, file.key, file.version_id, at), DocumentNews)


async def give_back(tx: Transaction, file: ReadyFile) -> list[DocumentNews]:
    """Let every document with these bytes be seen again that was withdrawn; returns those."""
    return records(await tx.all(RETURN, file.key, file.version_id), DocumentNews)


async def by_id(tx: Transaction, document_id: UUID) -> Document | None:
    """A document that the caller may see."""
    row = await tx.one(BY_ID, tx.tenant_id, document_id)
    return None if row is None else record(row, Document)


async def page(
    tx: Transaction,
    *,
    project_id: UUID | None,
    words: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Document]:
    """Documents, newest first, after a time and id; those with all these words, if any."""
    asked = (tx.tenant_id, *(after or FIRST_PAGE), limit)
    if words:
        asked = (*asked, folded(words))
    if project_id:
        rows = await tx.all(FOUND_IN_PROJECT if words else PAGE_OF_PROJECT, *asked, project_id)
    else:
        rows = await tx.all(FOUND if words else PAGE, *asked)
    return records(rows, Document)


async def erase(tx: Transaction, document_id: UUID) -> bool:
    """Take a document away; False if the caller may not, or it is gone. The database leaves word to erase its bytes."""
    return bool(await tx.value(ERASE, tx.tenant_id, document_id))


async def misses(tx: Transaction, project_id: UUID, document_ids: Collection[UUID]) -> bool:
    """Whether one of these isn't a document of the project that the caller may see."""
    return bool(await tx.value(MISSING, tx.tenant_id, project_id, list(document_ids)))


async def described(tx: Transaction, document_ids: Collection[UUID], shape: type[T]) -> list[T]:
    """What another module needs to know of documents that the caller may see."""
    return records(await tx.all(DESCRIBED, tx.tenant_id, list(document_ids)), shape)


async def audit_download(tx: Transaction, document: Document, rendition: str) -> None:
    """Put a download into the audit trail."""
    details = {"rendition": rendition}
    await tx.run(AUDIT, "download", "documents", str(document.document_id), details, document.project_id)
