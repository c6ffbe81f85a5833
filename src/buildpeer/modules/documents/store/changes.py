"""SQL of what people say of documents, and of where files go: one function, one statement."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from buildpeer.modules.documents.store.documents import COLUMNS, Document
from buildpeer.platform.db import Transaction, record, records


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes different. Left out: nothing; null: it lies in no folder, album or place, and has no trade."""

    folder_id: UUID | UnsetType | None = UNSET
    album_id: UUID | UnsetType | None = UNSET
    location_id: UUID | UnsetType | None = UNSET
    trade_id: UUID | UnsetType | None = UNSET
    add_tags: list[str] = []
    remove_tags: list[str] = []
    private: bool | None = None
    starred: bool | None = None
    archived: bool | None = None


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a file goes once it is ready; `version_of`: it becomes the next version of that document."""

    upload_id: UUID
    folder_id: UUID | None = None
    version_of: UUID | None = None
    album_id: UUID | None = None
    location_id: UUID | None = None
    trade_id: UUID | None = None
    tags: list[str] = []
    private: bool = False


CHANGE = f"""
update documents d set version = version + 1, name = coalesce($4, name), description = coalesce($5, description),
  tags = array(select t from unnest(tags || $6::text[]) with ordinality as u (t, place)
    where app.folded(t) <> all (array(select app.folded(gone) from unnest($7::text[]) gone))
    group by t order by min(place)),
  folder_id = case when 'folder_id' = any ($8::text[]) then $9 else folder_id end,
  album_id = case when 'album_id' = any ($8) then $10 else album_id end,
  location_id = case when 'location_id' = any ($8) then $11 else location_id end,
  trade_id = case when 'trade_id' = any ($8) then $12 else trade_id end,
  private = coalesce($13, private), starred = coalesce($14, starred),
  archived_at = case when $15 then coalesce(archived_at, $16) when not $15 then null else archived_at end
where tenant_id = $1 and document_id = any ($2) and superseded_at is null and ($3::bigint is null or version = $3)
returning {COLUMNS}
"""  # noqa: S608
SEEN = f"""
select {COLUMNS} from documents where tenant_id = $1 and document_id = any ($2) and superseded_at is null
order by document_id for update
"""  # noqa: S608
PLACE = """
insert into placements (tenant_id, upload_id, project_id, created_by, folder_id, version_of, album_id, location_id,
  trade_id, tags, private)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (tenant_id, upload_id) do update set folder_id = excluded.folder_id, version_of = excluded.version_of,
  album_id = excluded.album_id, location_id = excluded.location_id, trade_id = excluded.trade_id, tags = excluded.tags,
  private = excluded.private
"""
TAKE_PLACEMENT = """
delete from placements where tenant_id = $1 and upload_id = $2
returning upload_id, folder_id, version_of, album_id, location_id, trade_id, tags, private
"""
PUT = """
update documents set folder_id = $3, album_id = $4, location_id = $5, trade_id = $6, tags = $7, private = $8
where tenant_id = $1 and document_id = $2
"""


async def lock(tx: Transaction, document_ids: Collection[UUID]) -> list[Document]:
    """Those of these documents that the caller may see, locked in one order; superseded versions are left out."""
    return records(await tx.all(SEEN, tx.tenant_id, list(document_ids)), Document)


async def change(
    tx: Transaction,
    document_ids: Collection[UUID],
    changes: Changes,
    *,
    version: int | None = None,
    name: str | None = None,
    description: str | None = None,
    at: datetime,
) -> Sequence[Document]:
    """Change these documents; those of another `version` stay as they are."""
    places: dict[str, Any] = {
        field: getattr(changes, field)
        for field in ("folder_id", "album_id", "location_id", "trade_id")
        if getattr(changes, field) is not UNSET
    }
    rows = await tx.all(
        CHANGE,
        tx.tenant_id,
        list(document_ids),
        version,
        name,
        description,
        changes.add_tags,
        changes.remove_tags,
        list(places),
        places.get("folder_id"),
        places.get("album_id"),
        places.get("location_id"),
        places.get("trade_id"),
        changes.private,
        changes.starred,
        changes.archived,
        at,
    )
    return records(rows, Document)


async def place(tx: Transaction, project_id: UUID, placement: Placement) -> None:
    """Note where a file of the caller's goes once it is ready; said again, the later word counts."""
    p = placement
    await tx.run(
        PLACE,
        tx.tenant_id,
        p.upload_id,
        project_id,
        tx.person_id,
        p.folder_id,
        p.version_of,
        p.album_id,
        p.location_id,
        p.trade_id,
        p.tags,
        p.private,
    )


async def take_placement(tx: Transaction, upload_id: UUID) -> Placement | None:
    """Where a file goes that is ready now, if anybody said; it is said once."""
    row = await tx.one(TAKE_PLACEMENT, tx.tenant_id, upload_id)
    return None if row is None else record(row, Placement)


async def put(tx: Transaction, document_id: UUID, placement: Placement) -> None:
    """Put a document where its sender said."""
    p = placement
    await tx.run(PUT, tx.tenant_id, document_id, p.folder_id, p.album_id, p.location_id, p.trade_id, p.tags, p.private)
