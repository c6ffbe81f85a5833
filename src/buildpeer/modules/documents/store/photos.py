"""SQL of photos: lists, the map, albums, pairs. One function, one statement."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec

from buildpeer.modules.documents.rules import Grid
from buildpeer.modules.documents.store.documents import COLUMNS, Document
from buildpeer.platform.db import FIRST_PAGE, Transaction, record, records

_EVER = datetime.min.replace(tzinfo=UTC)
MOST_COUNTED = 100  # photos of one cluster


class PhotoSelection(msgspec.Struct, frozen=True, kw_only=True):
    """Which photos of a project a list has: taken `since`, of an album, at one of these places, and so on."""

    since: datetime | None = None
    album_id: UUID | None = None
    locations: Sequence[UUID] | None = None
    trade_id: UUID | None = None
    starred: bool | None = None
    created_by: UUID | None = None


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Photos that lie together on the map, about here; no more than 100 are counted, and one is shown."""

    latitude: float
    longitude: float
    photos: int
    document_id: UUID


class Album(msgspec.Struct, frozen=True, kw_only=True):
    """An album; the smallest `position` comes first. `cover_id` null: the newest photo of it."""

    album_id: UUID
    project_id: UUID
    name: str
    private: bool
    cover_id: UUID | None
    position: float
    version: int
    created_by: UUID
    created_at: datetime


class PhotoPair(msgspec.Struct, frozen=True, kw_only=True):
    """Before and after."""

    pair_id: UUID
    project_id: UUID
    before_id: UUID
    after_id: UUID
    title: str
    created_by: UUID
    created_at: datetime


_PHOTOS = f"""
select {COLUMNS} from documents where tenant_id = $1 and project_id = $2 and kind = 'photo'
  and superseded_at is null and archived_at is null and (shown_at, document_id) < ($3, $4) and shown_at >= $6
  and ($7::uuid is null or album_id = $7) and ($8::uuid[] is null or location_id = any ($8))
  and ($9::uuid is null or trade_id = $9) and ($10::boolean is null or starred = $10)
  and ($11::uuid is null or created_by = $11)
"""  # noqa: S608
_LATEST = "order by shown_at desc, document_id desc limit $5"
PHOTOS = f"{_PHOTOS} {_LATEST}"
PHOTOS_OF_ALBUM = f"{_PHOTOS} and album_id = $7 {_LATEST}"
PHOTOS_OF_LOCATION = f"{_PHOTOS} and location_id = ($8::uuid[])[1] {_LATEST}"  # which its index has in order
PHOTOS_OF_LOCATIONS = f"{_PHOTOS} and location_id = any ($8) {_LATEST}"
PHOTOS_OF_TRADE = f"{_PHOTOS} and trade_id = $9 {_LATEST}"
PHOTOS_STARRED = f"{_PHOTOS} and starred {_LATEST}"
PHOTOS_OF_SENDER = f"{_PHOTOS} and created_by = $11 {_LATEST}"
CLUSTERS = """
select f.latitude, f.longitude, f.photos, f.document_id from unnest($3::bigint[]) as c (cell) cross join lateral (
  select avg(p.latitude) as latitude, avg(p.longitude) as longitude, count(*) as photos,
    (array_agg(p.document_id order by p.shown_at desc))[1] as document_id
  from (
    select d.latitude, d.longitude, d.document_id, d.shown_at from documents d
    where d.tenant_id = $1 and d.project_id = $2 and d.kind = 'photo' and d.superseded_at is null
      and d.archived_at is null and d.cell >= c.cell << $4 and d.cell < (c.cell + 1) << $4 limit $5) p
) f where f.photos > 0
"""
_ALBUM = "album_id, project_id, name, private, cover_id, position, version, created_by, created_at"
ALBUM = f"select {_ALBUM} from albums where tenant_id = $1 and album_id = $2 for key share"  # noqa: S608
ALBUMS = f"""
select {_ALBUM} from albums where tenant_id = $1 and project_id = $2 and (position, album_id) > ($3, $4)
order by position, album_id limit $5
"""  # noqa: S608
ADD_ALBUM = f"""
insert into albums (tenant_id, album_id, project_id, name, private, position, created_by, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (tenant_id, album_id) do nothing returning {_ALBUM}
"""  # noqa: S608
CHANGE_ALBUM = f"""
update albums set version = version + 1, name = coalesce($4, name), private = coalesce($5, private),
  cover_id = case when $6 then $7 else cover_id end, position = coalesce($8, position)
where tenant_id = $1 and album_id = $2 and ($3::bigint is null or version = $3) returning {_ALBUM}
"""  # noqa: S608
REMOVE_ALBUM = "delete from albums where tenant_id = $1 and album_id = $2"
_PAIR = "pair_id, project_id, before_id, after_id, title, created_by, created_at"
# A pair is seen by who sees both photos.
PAIRS = f"""
select {_PAIR} from photo_pairs p where tenant_id = $1 and project_id = $2 and (created_at, pair_id) < ($3, $4)
  and exists (select from documents d where d.tenant_id = $1 and d.document_id = p.before_id)
  and exists (select from documents d where d.tenant_id = $1 and d.document_id = p.after_id)
order by created_at desc, pair_id desc limit $5
"""  # noqa: S608
PAIR = f"""
select {_PAIR} from photo_pairs p where tenant_id = $1 and pair_id = $2
  and exists (select from documents d where d.tenant_id = $1 and d.document_id = p.before_id)
  and exists (select from documents d where d.tenant_id = $1 and d.document_id = p.after_id)
"""  # noqa: S608
ADD_PAIR = f"""
insert into photo_pairs (tenant_id, pair_id, project_id, before_id, after_id, title, created_by, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning {_PAIR}
"""  # noqa: S608
REMOVE_PAIR = "delete from photo_pairs where tenant_id = $1 and pair_id = $2"


class AlbumTakenError(Exception):
    """Another album of the project has this name; the transaction is over."""


async def page(
    tx: Transaction, project_id: UUID, wanted: PhotoSelection, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Document]:
    """Photos by when they were taken, the latest first, after a time and id: by the index of what few photos have."""
    w = wanted
    ways = (
        (w.album_id, PHOTOS_OF_ALBUM),
        (w.locations and len(w.locations) == 1, PHOTOS_OF_LOCATION),
        (w.locations, PHOTOS_OF_LOCATIONS),
        (w.starred, PHOTOS_STARRED),
        (w.trade_id, PHOTOS_OF_TRADE),
        (w.created_by, PHOTOS_OF_SENDER),
    )
    sql = next((sql for asked, sql in ways if asked), PHOTOS)
    rows = await tx.all(
        sql,
        tx.tenant_id,
        project_id,
        *(after or FIRST_PAGE),
        limit,
        w.since or _EVER,
        w.album_id,
        w.locations,
        w.trade_id,
        w.starred,
        w.created_by,
    )
    return records(rows, Document)


async def clusters(tx: Transaction, project_id: UUID, grid: Grid) -> Sequence[Cluster]:
    """What lies in each cell that isn't empty."""
    rows = await tx.all(CLUSTERS, tx.tenant_id, project_id, grid.cells, grid.shift, MOST_COUNTED)
    return records(rows, Cluster)


async def album(tx: Transaction, album_id: UUID) -> Album | None:
    """An album that the caller may see, which nobody removes until the transaction is over."""
    row = await tx.one(ALBUM, tx.tenant_id, album_id)
    return None if row is None else record(row, Album)


async def albums(tx: Transaction, project_id: UUID, *, after: tuple[float, UUID] | None, limit: int) -> Sequence[Album]:
    """Albums in order, after a position and id."""
    position, album_id = after or (float("-inf"), UUID(int=0))
    return records(await tx.all(ALBUMS, tx.tenant_id, project_id, position, album_id, limit), Album)


async def add_album(
    tx: Transaction, album_id: UUID, *, project_id: UUID, name: str, private: bool, position: float, at: datetime
) -> Album | None:
    """Make an album; None where the id is taken. Raises AlbumTakenError."""
    try:
        row = await tx.one(ADD_ALBUM, tx.tenant_id, album_id, project_id, name, private, position, tx.person_id, at)
    except asyncpg.UniqueViolationError as exc:
        raise AlbumTakenError from exc
    return None if row is None else record(row, Album)


async def change_album(
    tx: Transaction,
    album_id: UUID,
    *,
    version: int | None,
    name: str | None,
    private: bool | None,
    covered: bool,
    cover_id: UUID | None,
    position: float | None,
) -> Album | None:
    """Change an album; None where it has another version by now. Raises AlbumTakenError."""
    try:
        row = await tx.one(CHANGE_ALBUM, tx.tenant_id, album_id, version, name, private, covered, cover_id, position)
    except asyncpg.UniqueViolationError as exc:
        raise AlbumTakenError from exc
    return None if row is None else record(row, Album)


async def remove_album(tx: Transaction, album_id: UUID) -> None:
    """Remove an album; its photos stay, in none, and those of a private one stay private."""
    await tx.run(REMOVE_ALBUM, tx.tenant_id, album_id)


async def pairs(
    tx: Transaction, project_id: UUID, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[PhotoPair]:
    """Pairs, the newest first, after a time and id."""
    return records(await tx.all(PAIRS, tx.tenant_id, project_id, *(after or FIRST_PAGE), limit), PhotoPair)


async def pair(tx: Transaction, pair_id: UUID) -> PhotoPair | None:
    """A pair whose photos the caller may see."""
    row = await tx.one(PAIR, tx.tenant_id, pair_id)
    return None if row is None else record(row, PhotoPair)


async def add_pair(
    tx: Transaction, pair_id: UUID, *, project_id: UUID, before_id: UUID, after_id: UUID, title: str, at: datetime
) -> PhotoPair | None:
    """Make a pair; None where its id is taken, or the two are one already."""
    row = await tx.one(ADD_PAIR, tx.tenant_id, pair_id, project_id, before_id, after_id, title, tx.person_id, at)
    return None if row is None else record(row, PhotoPair)


async def remove_pair(tx: Transaction, pair_id: UUID) -> None:
    """Undo a pair; its photos stay."""
    await tx.run(REMOVE_PAIR, tx.tenant_id, pair_id)
