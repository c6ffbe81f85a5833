"""SQL of the documents themselves: one function, one statement."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from buildpeer.facts import Icon, Media, Rendition
from buildpeer.modules.documents.events import DocumentNews
from buildpeer.modules.documents.rules import Capture, CapturedFrom, LocatedFrom, Location
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
    folder_id: UUID | None
    description: str
    tags: list[str]
    album_id: UUID | None
    location_id: UUID | None
    trade_id: UUID | None
    private: bool
    starred: bool
    archived_at: datetime | None
    version: int
    series_id: UUID
    version_number: int
    superseded_at: datetime | None
    ordered_name: str
    shown_at: datetime


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which documents a list has: with all these words and tags, in a folder, of a kind; archived ones or others."""

    project_id: UUID | None = None
    words: str = ""
    tags: Sequence[str] = ()
    folder_id: UUID | None = None
    kind: str | None = None
    archived: bool = False


COLUMNS = """
document_id, project_id, created_by, kind, name, size_bytes, content_type, sha256, bucket, key, version_id, media,
thumbnail, preview, preview_reason, icon, captured_at, captured_from, latitude, longitude, located_from, created_at,
folder_id, description, tags, album_id, location_id, trade_id, private, starred, archived_at, version, series_id,
version_number, superseded_at, ordered_name, shown_at
"""
INSERT = """
insert into documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type, sha256,
  bucket, key, version_id, media, thumbnail, preview, preview_reason, created_at, icon, captured_at, captured_from,
  latitude, longitude, located_from, words)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
  app.words($24))
on conflict do nothing returning true
"""
BY_ID = f"select {COLUMNS} from documents where tenant_id = $1 and document_id = $2"  # noqa: S608
_IN_USE = "superseded_at is null and archived_at is null"
_NEWEST = "(created_at, document_id) < ($2, $3) order by created_at desc, document_id desc limit $4"
# Several, and without `is null or`, so that each reads its index from where the page begins to where it ends.
PAGE = f"select {COLUMNS} from documents where tenant_id = $1 and {_IN_USE} and {_NEWEST}"  # noqa: S608
PAGE_OF_PROJECT = f"""
select {COLUMNS} from documents where tenant_id = $1 and project_id = $5 and {_IN_USE} and {_NEWEST}
"""  # noqa: S608
PAGE_OF_KIND = f"""
select {COLUMNS} from documents where tenant_id = $1 and project_id = $5 and kind = $6 and {_IN_USE} and {_NEWEST}
"""  # noqa: S608
ARCHIVED = f"""
select {COLUMNS} from documents where tenant_id = $1 and project_id = $5 and ($6::text is null or kind = $6)
  and superseded_at is null and archived_at is not null and {_NEWEST}
"""  # noqa: S608
PAGE_OF_FOLDER = f"""
select {COLUMNS} from documents where tenant_id = $1 and project_id = $2 and folder_id = $3 and {_IN_USE}
  and ($7::text is null or kind = $7) and (ordered_name, document_id) > ($4, $5)
order by ordered_name, document_id limit $6
"""  # noqa: S608
PAGE_OF_NO_FOLDER = f"""
select {COLUMNS} from documents where tenant_id = $1 and project_id = $2 and $3::uuid is null and folder_id is null
  and {_IN_USE} and ($7::text is null or kind = $7) and (ordered_name, document_id) > ($4, $5)
order by ordered_name, document_id limit $6
"""  # noqa: S608
FOUND = f"""
select {COLUMNS} from documents where tenant_id = $1
  and document_id = any (array(select app.find_documents($5, $6, $7, $8, $9, null, $10, $2, $3, $4)))
order by created_at desc, document_id desc
"""  # noqa: S608
LOCK_BY_BYTES = f"""
select {COLUMNS} from documents where tenant_id = $1 and key = $2 and version_id = $3 and withdrawn_at is null
order by document_id for update
"""  # noqa: S608
RENEW = """
update documents d set content_type = $3, media = $4, thumbnail = $5, preview = $6, preview_reason = $7, icon = $8,
  captured_at = $9, captured_from = $10, latitude = $11, longitude = $12, located_from = $13, words = n.words
from (select document_id, case when $14::text is null then words
    else app.index_words(app.words($14), name, description, tags) end as words
  from documents where tenant_id = $1 and document_id = $2) n
where d.tenant_id = $1 and d.document_id = n.document_id
  and (d.content_type, d.media, d.thumbnail, d.preview, d.preview_reason, d.icon, d.captured_at, d.captured_from,
    d.latitude, d.longitude, d.located_from, d.words) is distinct from
    ($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, n.words)
returning true
"""
WITHDRAW = "select document_id, project_id, kind, name from app.withdraw_documents($1, $2, $3)"
RETURN = "select document_id, project_id, kind, name from app.return_documents($1, $2)"
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
            file.text,
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
    tx: Transaction, wanted: Selection, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Document]:
    """Documents, newest first, after a time and id."""
    asked = (tx.tenant_id, *(after or FIRST_PAGE), limit)
    if wanted.words or wanted.tags:
        found = (wanted.project_id, wanted.words, list(wanted.tags), wanted.folder_id, wanted.kind, wanted.archived)
        rows = await tx.all(FOUND, *asked, *found)
    elif wanted.project_id is None:
        rows = await tx.all(PAGE, *asked)
    elif wanted.archived:
        rows = await tx.all(ARCHIVED, *asked, wanted.project_id, wanted.kind)
    elif wanted.kind:
        rows = await tx.all(PAGE_OF_KIND, *asked, wanted.project_id, wanted.kind)
    else:
        rows = await tx.all(PAGE_OF_PROJECT, *asked, wanted.project_id)
    return records(rows, Document)


async def page_of_folder(
    tx: Transaction, wanted: Selection, *, after: tuple[str, UUID] | None, limit: int
) -> Sequence[Document]:
    """What lies in a folder, or in none, by name, after a name in order and id."""
    name, document_id = after or ("", UUID(int=0))
    sql = PAGE_OF_NO_FOLDER if wanted.folder_id is None else PAGE_OF_FOLDER
    rows = await tx.all(sql, tx.tenant_id, wanted.project_id, wanted.folder_id, name, document_id, limit, wanted.kind)
    return records(rows, Document)


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
