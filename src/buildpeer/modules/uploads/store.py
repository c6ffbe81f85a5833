"""SQL of uploads: one function, one statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.facts import Rendition, Verdict
from buildpeer.modules.uploads.rules import ENDS, NewUpload, Room, Storage, Upload
from buildpeer.platform.db import FIRST_PAGE, Database, Transaction, record, records
from buildpeer.platform.ids import new_id

_FIRST = (UUID(int=0), UUID(int=0))
_COLUMNS = """
upload_id, tenant_id, project_id, created_by, kind, name, size_bytes, content_type, sha256, lane, bucket, key, state,
reason, multipart_id, version_id, verdict, scan_reason, scanner, derived, created_at, updated_at, redrives,
document_id, erased_at, sent_bytes, progressed_at, captured_at, latitude, longitude, text
"""
INSERT = f"""
insert into uploads (tenant_id, project_id, created_by, bucket, lane, upload_id, key, kind, name, size_bytes,
  content_type, sha256, captured_at, latitude, longitude)
select $1, $2, $3, $4, $5, n.* from unnest($6::uuid[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::text[],
  $12::bytea[], $13::timestamptz[], $14::float8[], $15::float8[]) as n
on conflict do nothing
returning {_COLUMNS}
"""  # noqa: S608 - built from constants of this file
BY_IDS = f"select {_COLUMNS} from uploads where tenant_id = $1 and upload_id = any ($2)"  # noqa: S608
LOCK = f"select {_COLUMNS} from uploads where tenant_id = $1 and upload_id = $2 for update"  # noqa: S608
LOCK_ALL = f"""
select {_COLUMNS} from uploads where tenant_id = $1 and upload_id = any ($2) order by upload_id for update
"""  # noqa: S608
# Two, so that each reads its index from where the page begins.
PAGE = f"""
select {_COLUMNS} from uploads
where tenant_id = $1 and (created_at, upload_id) < ($2, $3) and ($4::text is null or state = $4)
order by created_at desc, upload_id desc limit $5
"""  # noqa: S608
PAGE_OF_PROJECT = f"""
select {_COLUMNS} from uploads
where tenant_id = $1 and project_id = $6 and (created_at, upload_id) < ($2, $3) and ($4::text is null or state = $4)
order by created_at desc, upload_id desc limit $5
"""  # noqa: S608
TOUCH = f"""
update uploads set state = case when $3 then 'receiving' else state end, updated_at = $4, check_at = $5
where tenant_id = $1 and upload_id = $2 and state in ('requested', 'receiving')
returning {_COLUMNS}
"""  # noqa: S608
BEGIN_PARTS = f"""
update uploads set multipart_id = $3
where tenant_id = $1 and upload_id = $2 and multipart_id is not distinct from $4
  and state in ('requested', 'receiving', 'stored')
returning {_COLUMNS}
"""  # noqa: S608
REOPEN = f"""
update uploads set multipart_id = $4, state = 'receiving', updated_at = $5, check_at = $6
where tenant_id = $1 and upload_id = $2 and multipart_id is not distinct from $3
  and state in ('requested', 'receiving', 'stored') and version_id is null
returning {_COLUMNS}
"""  # noqa: S608
STORED = f"""
update uploads set state = 'stored', updated_at = $3, check_at = $4
where tenant_id = $1 and upload_id = $2 and state in ('requested', 'receiving')
returning {_COLUMNS}
"""  # noqa: S608
SAVE = """
update uploads set state = $3, reason = $4, version_id = $5, verdict = $6, scan_reason = $7, scanner = $8,
  derived = $9, updated_at = $10, check_at = $11, redrives = $12, text = $13
where tenant_id = $1 and upload_id = $2
"""
CANCEL = f"""
update uploads set state = 'cancelled', reason = 'cancelled_by_sender', updated_at = $3, check_at = null
where tenant_id = $1 and upload_id = $2 and state in ('requested', 'receiving')
returning {_COLUMNS}
"""  # noqa: S608
ROOM_LEFT = "select bytes, uploads, day_ends_s from app.room_left()"
STORAGE = """
select coalesce(s.bytes, 0) as used_bytes, t.storage_limit_bytes as limit_bytes
from tenants t left join storage_totals s using (tenant_id) where t.tenant_id = $1
"""
IS_BUSY = "select app.has_more_open_uploads_than($1)"
DUE = "select tenant_id, upload_id from app.due_uploads($1)"
LINK_KNOWN = "select upload_id, document_id, added from app.link_known($1)"
OWN = f"select {_COLUMNS} from uploads where tenant_id = $1 and created_by = $2 and upload_id = any ($3)"  # noqa: S608
SENT_BY = """
select upload_id, project_id, state, case when erased_at is null then document_id end as document_id from uploads
where tenant_id = $1 and created_by = $2 and upload_id = any ($3)
"""
SENT_TO = "select upload_id, name from uploads where tenant_id = $1 and project_id = $2 and upload_id = any ($3)"
PROGRESS = f"""
update uploads set sent_bytes = n.sent, progressed_at = $5, state = 'receiving',
  updated_at = case when n.begun then $5 else updated_at end,
  progress_told_at = case when n.telling then $5 else progress_told_at end
from (
  select u.upload_id as id, least(u.size_bytes, s.sent) as sent, u.state = 'requested' as begun,
    u.progress_told_at is null or u.progress_told_at <= $6 as telling
  from uploads u
  join (select id, max(sent) as sent from unnest($3::uuid[], $4::bigint[]) as a (id, sent) group by id) s
    on s.id = u.upload_id
  where u.tenant_id = $1 and u.created_by = $2 and u.state in ('requested', 'receiving')
    and least(u.size_bytes, s.sent) > u.sent_bytes
  order by u.upload_id for update of u
) n
where tenant_id = $1 and upload_id = n.id
returning {_COLUMNS}, n.begun, n.telling
"""  # noqa: S608
DOOM = """
insert into erasures (tenant_id, bucket, key, version_id, thumbnail, preview) values ($1, $2, $3, $4, $5, $6)
"""
DUE_ERASURES = "select erasure_id, bucket, key, version_id, thumbnail, preview, linked from app.due_erasures($1)"
ERASED = "select app.erased($1)"
NEEDLESS = "select place - 1 as place, state from app.needless_bytes($1, $2, $3, $4, $5, $6) order by place"
READY_AFTER = """
select tenant_id, upload_id, bucket, key, version_id, size_bytes from app.ready_uploads($1, $2, $3, $4, $5)
"""
QUARANTINED = """
select tenant_id, upload_id, kind, size_bytes, signature, scanner, since, release_id, wanted_by, wanted_at, verdict,
  ended_at
from app.quarantined($1, $2, $3, $4, $5)
"""
ORDER_RELEASE = "select app.order_release($1, $2, $3, $4)"
DUE_RELEASES = "select tenant_id, release_id, bucket, key, version_id, size_bytes from app.due_releases($1)"
ANSWER_RELEASE = """
update releases set verdict = $4, scanner = $5, reason = $6, ended_at = $7
where tenant_id = $1 and release_id = $2 and upload_id = $3 and ended_at is null
returning true
"""
DOCUMENTS_AFTER = """
select tenant_id, document_id, bucket, key, version_id, size_bytes from app.documents_after($1, $2, $3)
"""


class Link(msgspec.Struct, frozen=True):
    """A duplicate upload and the document that has its content; `added`: the document was made for it."""

    upload_id: UUID
    document_id: UUID
    added: bool


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that lost a document, and their pictures; `linked`: another document has them still."""

    erasure_id: int
    bucket: str
    key: str
    version_id: str
    thumbnail: Rendition | None
    preview: Rendition | None
    linked: bool


class ReadyBytes(msgspec.Struct, frozen=True):
    """The bytes of a file that is ready."""

    tenant_id: UUID
    upload_id: UUID
    bucket: str
    key: str
    version_id: str
    size_bytes: int


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is locked away, by ids only; `signature` is what was found in it.

    From `release_id` on it is about the newest order to release it: who gave it, and how the scanner answered. One that
    ended without a verdict never got an answer.
    """

    tenant_id: UUID
    upload_id: UUID
    kind: str
    size_bytes: int
    signature: str
    scanner: str | None
    since: datetime
    release_id: UUID | None
    wanted_by: str | None
    wanted_at: datetime | None
    verdict: Verdict | None
    ended_at: datetime | None


class Suspect(msgspec.Struct, frozen=True):
    """Bytes that a scanner is to look at again, for an order to release them."""

    tenant_id: UUID
    release_id: UUID
    bucket: str
    key: str
    version_id: str
    size_bytes: int


class HeldBytes(msgspec.Struct, frozen=True):
    """The bytes that a document claims."""

    tenant_id: UUID
    document_id: UUID
    bucket: str
    key: str
    version_id: str
    size_bytes: int


async def insert(
    tx: Transaction,
    new: Sequence[NewUpload],
    *,
    project_id: UUID,
    bucket: str,
    lane: str,
    keys: Sequence[str],
) -> list[Upload]:
    """Insert those whose id is free; returns them, in no order."""
    rows = await tx.all(
        INSERT,
        tx.tenant_id,
        project_id,
        tx.person_id,
        bucket,
        lane,
        [n.upload_id for n in new],
        list(keys),
        [n.kind for n in new],
        [n.name for n in new],
        [n.size_bytes for n in new],
        [n.content_type for n in new],
        [n.digest for n in new],
        [n.captured_at for n in new],
        [n.latitude for n in new],
        [n.longitude for n in new],
    )
    return records(rows, Upload)


async def by_ids(tx: Transaction, ids: Sequence[UUID]) -> list[Upload]:
    """Those of these uploads that the caller may see."""
    return records(await tx.all(BY_IDS, tx.tenant_id, list(ids)), Upload)


async def sent_by(tx: Transaction, ids: Sequence[UUID]) -> list[Any]:
    """Those of these uploads that are the caller's own."""
    return await tx.all(SENT_BY, tx.tenant_id, tx.person_id, list(ids))


async def sent_to(tx: Transaction, project_id: UUID, ids: Sequence[UUID]) -> list[Any]:
    """The names of those of these uploads that are the project's, if the caller may see them."""
    return await tx.all(SENT_TO, tx.tenant_id, project_id, list(ids))


async def lock(tx: Transaction, upload_id: UUID) -> Upload | None:
    """One upload, locked until the transaction ends."""
    row = await tx.one(LOCK, tx.tenant_id, upload_id)
    return None if row is None else record(row, Upload)


async def lock_all(tx: Transaction, upload_ids: Sequence[UUID]) -> list[Upload]:
    """Those of these uploads that there are, locked until the transaction ends: in one order, whoever locks them."""
    return records(await tx.all(LOCK_ALL, tx.tenant_id, list(upload_ids)), Upload)


async def page(
    tx: Transaction,
    *,
    project_id: UUID | None,
    state: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Upload]:
    """Uploads, newest first, after a time and id."""
    asked = (tx.tenant_id, *(after or FIRST_PAGE), state, limit)
    rows = await (tx.all(PAGE_OF_PROJECT, *asked, project_id) if project_id else tx.all(PAGE, *asked))
    return records(rows, Upload)


async def touch(
    tx: Transaction, upload_id: UUID, *, receiving: bool, now: datetime, check_at: datetime
) -> Upload | None:
    """Note that its sender is alive, and whether pieces are on their way; None if it takes no more bytes."""
    row = await tx.one(TOUCH, tx.tenant_id, upload_id, receiving, now, check_at)
    return None if row is None else record(row, Upload)


async def begin_parts(tx: Transaction, upload_id: UUID, multipart_id: str, *, instead_of: str | None) -> Upload | None:
    """Bind an upload to a multipart upload of S3; None if it has another one than before, or needs none any more."""
    row = await tx.one(BEGIN_PARTS, tx.tenant_id, upload_id, multipart_id, instead_of)
    return None if row is None else record(row, Upload)


async def reopen(
    tx: Transaction, upload: Upload, *, multipart_id: str | None, now: datetime, check_at: datetime
) -> Upload | None:
    """Let an upload take bytes again that S3 has lost; None if it isn't any more as `upload` says."""
    row = await tx.one(REOPEN, tx.tenant_id, upload.upload_id, upload.multipart_id, multipart_id, now, check_at)
    return None if row is None else record(row, Upload)


async def stored(tx: Transaction, upload_id: UUID, *, now: datetime, check_at: datetime | None) -> Upload | None:
    """Note that every byte is in S3; None if that, or more, is known already."""
    row = await tx.one(STORED, tx.tenant_id, upload_id, now, check_at)
    return None if row is None else record(row, Upload)


async def save(tx: Transaction, upload: Upload, *, now: datetime, check_at: datetime | None) -> None:
    """Write what an upload has become; its row is locked by this transaction.

    The words of its file go on to the document; an upload that has ended keeps none.
    """
    await tx.run(
        SAVE,
        upload.tenant_id,
        upload.upload_id,
        upload.state,
        upload.reason,
        upload.version_id,
        upload.verdict,
        upload.scan_reason,
        upload.scanner,
        upload.derived,
        now,
        check_at,
        upload.redrives,
        "" if upload.state in ENDS else upload.text,
    )


async def cancel(tx: Transaction, upload_id: UUID, *, now: datetime) -> Upload | None:
    """Cancel an upload that still awaits bytes; None if it doesn't."""
    row = await tx.one(CANCEL, tx.tenant_id, upload_id, now)
    return None if row is None else record(row, Upload)


async def room_left(tx: Transaction) -> Room:
    """What the tenant may still open uploads for; where there is a limit, nobody else until this transaction ends."""
    return record(await tx.one(ROOM_LEFT), Room)


async def storage(tx: Transaction) -> Storage:
    """What the tenant's files weigh."""
    return record(await tx.one(STORAGE, tx.tenant_id), Storage)


async def is_busy(tx: Transaction, most: int) -> bool:
    """Whether the whole tenant has more than `most` open uploads."""
    return bool(await tx.value(IS_BUSY, most))


async def due(tx: Transaction, limit: int) -> list[tuple[UUID, UUID]]:
    """Uploads of any tenant that the sweeper should look at, as (tenant_id, upload_id), lent for a minute."""
    return [(row["tenant_id"], row["upload_id"]) for row in await tx.all(DUE, limit)]


async def link_known(tx: Transaction, upload_ids: Sequence[UUID]) -> list[Link]:
    """End those of these new uploads, the caller's own, whose content is in a document that the caller may read."""
    return records(await tx.all(LINK_KNOWN, list(upload_ids)), Link)


async def own(tx: Transaction, upload_ids: Sequence[UUID]) -> list[Upload]:
    """Those of these uploads that the caller has opened and may still see."""
    return records(await tx.all(OWN, tx.tenant_id, tx.person_id, list(upload_ids)), Upload)


async def progress(
    tx: Transaction, sent: Sequence[tuple[UUID, int]], *, now: datetime, told_before: datetime
) -> tuple[list[Upload], list[Upload]]:
    """Note how far the caller's own uploads are, only ever forward; gives those that have begun with it, and those of
    which nothing was told since `told_before`.
    """
    ids, counts = [upload_id for upload_id, _ in sent], [count for _, count in sent]
    rows = await tx.all(PROGRESS, tx.tenant_id, tx.person_id, ids, counts, now, told_before)
    moved = list(zip(rows, records(rows, Upload), strict=True))
    return [u for row, u in moved if row["begun"]], [u for row, u in moved if row["telling"]]


async def doom(
    tx: Transaction,
    *,
    bucket: str,
    key: str,
    version_id: str,
    thumbnail: Rendition | None,
    preview: Rendition | None,
) -> None:
    """Have a version and its pictures deleted, unless a document links it."""
    await tx.run(DOOM, tx.tenant_id, bucket, key, version_id, thumbnail, preview)


async def due_erasures(db: Database, limit: int) -> list[Erasure]:
    """Bytes of any tenant that lost a document, lent for a minute."""
    return records(await db.call(DUE_ERASURES, limit), Erasure)


async def erased(db: Database, erasure_ids: Sequence[int]) -> None:
    """Note that nothing is left to do for these."""
    await db.call(ERASED, list(erasure_ids))


async def needless(
    db: Database,
    places: Sequence[tuple[str, UUID, UUID, str, str]],
    *,
    ended_before: datetime,
) -> dict[int, str | None]:
    """Which of these (kind, tenant, upload, key, version) no row needs, by index, with the state of their upload."""
    columns = zip(*places, strict=True) if places else [()] * 5
    rows = await db.call(NEEDLESS, *(list(column) for column in columns), ended_before)
    return {row["place"]: row["state"] for row in rows}


async def quarantined(
    db: Database, one: tuple[UUID, UUID] | None, *, after: tuple[UUID, UUID] | None, limit: int
) -> list[Quarantined]:
    """Files of all tenants that are locked away, after (tenant, upload), or one of them."""
    return records(await db.call(QUARANTINED, *(one or (None, None)), *(after or _FIRST), limit), Quarantined)


async def order_release(db: Database, tenant_id: UUID, upload_id: UUID, *, by: str) -> None:
    """Note that an operator wants a file released; nothing for one that isn't locked away, or is wanted already."""
    async with db.across_tenants(f"operator:{by}") as tx:
        await tx.run(ORDER_RELEASE, tenant_id, upload_id, new_id(), by)


async def due_releases(db: Database, limit: int) -> list[Suspect]:
    """Orders of which the scanner is to be asked, each lent for ten minutes."""
    return records(await db.call(DUE_RELEASES, limit), Suspect)


async def answer_release(
    tx: Transaction, order: UUID, upload_id: UUID, *, verdict: str, scanner: str, reason: str, now: datetime
) -> bool:
    """End an order with the scanner's answer; False if it isn't open, or is about another file."""
    return bool(await tx.value(ANSWER_RELEASE, tx.tenant_id, order, upload_id, verdict, scanner, reason, now))


async def documents_after(db: Database, last: tuple[UUID, UUID], limit: int) -> list[HeldBytes]:
    """What the documents of all tenants claim to hold, after (tenant, document)."""
    return records(await db.call(DOCUMENTS_AFTER, *last, limit), HeldBytes)


async def ready_after(
    db: Database, last: tuple[UUID, UUID], limit: int, *, kind: str | None, since: datetime
) -> list[ReadyBytes]:
    """Files of all tenants that have been ready since then at the earliest, after (tenant, upload)."""
    return records(await db.call(READY_AFTER, kind, since, *last, limit), ReadyBytes)
