"""SQL of the trail: one function, one statement. Reading is fenced by row-level security, sealing by its functions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.audit.rules import Entry, Header, Wanted
from buildpeer.platform.db import Database, Transaction, record, records


class Found(msgspec.Struct, frozen=True):
    """An entry, and the clock at its project, if it has one."""

    entry: Entry
    timezone: str | None
    local: datetime | None


class Batch(Header, frozen=True, kw_only=True):
    """A sealed batch: which entries, and the hash of each, one behind the other."""

    entry_ids: list[int]
    entry_times: list[datetime]
    leaves: bytes


class Head(msgspec.Struct, frozen=True):
    """The newest seal of a tenant."""

    tenant_id: UUID
    number: int
    hash: bytes
    sealed_at: datetime


_ENTRY = """
e.tenant_id, e.occurred_at, e.entry_id, e.person_id, e.key_id, e.database_role, e.request_id, e.action, e.object_type,
e.object_id, e.project_id, e.changes::text as changes
"""
_HEADER = "tenant_id, number, entries, root, previous, sealed_at, hash"
_BATCH = f"{_HEADER}, entry_ids, entry_times, leaves"
_WANTED = """
e.tenant_id = $1 and ($2::uuid is null or e.person_id = $2) and ($3::uuid is null or e.project_id = $3)
  and ($4::text is null or e.object_type = $4) and ($5::text is null or e.object_id = $5)
  and ($6::text is null or e.action = $6)
  and e.occurred_at >= coalesce($7::timestamptz, '-infinity') and e.occurred_at < coalesce($8::timestamptz, 'infinity')
  and ($9::uuid is null or e.key_id = $9)
"""
PAGE = f"""
select {_ENTRY}, p.timezone, e.occurred_at at time zone p.timezone as local
from audit.entries e left join projects p on p.tenant_id = e.tenant_id and p.project_id = e.project_id
where {_WANTED} and (e.occurred_at, e.entry_id) < (coalesce($10::timestamptz, 'infinity'), $11::bigint)
order by e.occurred_at desc, e.entry_id desc limit $12
"""  # noqa: S608 - built from constants of this file
ONWARDS = f"""
select {_ENTRY}, p.timezone, e.occurred_at at time zone p.timezone as local
from audit.entries e left join projects p on p.tenant_id = e.tenant_id and p.project_id = e.project_id
where {_WANTED} and (e.occurred_at, e.entry_id) > (coalesce($10::timestamptz, '-infinity'), $11::bigint)
order by e.occurred_at, e.entry_id limit $12
"""  # noqa: S608
PEOPLE = "select person_id, name from app.audited_people($1)"
KEYS = "select key_id, name from app.audited_keys($1)"
LAST = f"select {_HEADER} from audit.batches where tenant_id = $1 order by number desc limit 1"  # noqa: S608
HOLDING = f"""
select {_BATCH} from audit.batches where tenant_id = $1 and entry_ids && $2::bigint[] and number <= $3
"""  # noqa: S608
HEADERS = f"""
select {_HEADER} from audit.batches where tenant_id = $1 and number between $2 and $3 order by number limit $4
"""  # noqa: S608
RECORD = "select audit.record('export', 'audit', $1, $2)"
UNSEALED = "select unsealed as tenant_id from audit.unsealed($1)"
SEAL = "select audit.seal($1)"
BEHIND = "select audit.behind($1)"
UNPUBLISHED = "select tenant_id, number, hash, sealed_at from audit.unpublished($1)"
PUBLISHED = "select audit.published($1, $2)"
ENSURE_PARTITIONS = "select audit.ensure_partitions($1)"
SETTLE_REST = "select audit.settle_rest($1)"
# What the verifier asks, as the role that owns the trail.
SNAPSHOT = "set transaction isolation level repeatable read, read only"
COUNTS = """
select (select count(*) from audit.entries where tenant_id = $1) as entries,
  (select coalesce(sum(entries), 0)::bigint from audit.batches where tenant_id = $1) as sealed
"""
HEAD = "select tenant_id, number, hash, sealed_at from audit.heads where tenant_id = $1 and number > 0"
BATCHES = f"select {_BATCH} from audit.batches where tenant_id = $1 and number > $2 order by number limit $3"  # noqa: S608
LISTED = f"""
select {_ENTRY} from unnest($2::bigint[], $3::timestamptz[]) as u (id, at)
  join audit.entries e on e.tenant_id = $1 and e.occurred_at = u.at and e.entry_id = u.id
"""  # noqa: S608
ERASED = "select began_at from tenant_erasures where tenant_id = $1"
STRAY = """
select e.occurred_at, e.entry_id, e.action, e.object_type, e.object_id, not (
  exists (select from audit.batches b where b.tenant_id = $1 and b.entry_ids @> array[e.entry_id]
    and b.entry_times[array_position(b.entry_ids, e.entry_id)] = e.occurred_at)
  or exists (select from audit.pending p where p.tenant_id = $1 and p.occurred_at = e.occurred_at
    and e.entry_id = any (p.entry_ids))) as stray
from audit.entries e
where e.tenant_id = $1 and (e.occurred_at, e.entry_id) > (coalesce($2::timestamptz, '-infinity'), $3::bigint)
order by e.occurred_at, e.entry_id limit $4
"""
WAITING = """
select p.occurred_at, u.id as entry_id, e.entry_id is not null as present
from audit.pending p cross join unnest(p.entry_ids) u (id)
  left join audit.entries e on e.tenant_id = $1 and e.occurred_at = p.occurred_at and e.entry_id = u.id
where p.tenant_id = $1 and (e.entry_id is null or p.occurred_at < $2) order by u.id limit $3
"""


async def page(tx: Transaction, wanted: Wanted, after: tuple[datetime, int] | None, limit: int) -> list[Found]:
    """Entries, the newest first, after a time and id."""
    return _found(await tx.all(PAGE, tx.tenant_id, *_where(wanted), *(after or (None, 2**63 - 1)), limit))


async def onwards(tx: Transaction, wanted: Wanted, after: tuple[datetime, int] | None, limit: int) -> list[Found]:
    """Entries, the oldest first, after a time and id."""
    return _found(await tx.all(ONWARDS, tx.tenant_id, *_where(wanted), *(after or (None, 0)), limit))


async def people(tx: Transaction, ids: set[UUID]) -> dict[UUID, str]:
    """Names of people in the trail, also of those who have left."""
    return {row["person_id"]: row["name"] for row in await tx.all(PEOPLE, list(ids))} if ids else {}


async def keys(tx: Transaction, ids: set[UUID]) -> dict[UUID, str]:
    """Names of keys in the trail, also of those that are revoked."""
    return {row["key_id"]: row["name"] for row in await tx.all(KEYS, list(ids))} if ids else {}


async def last(tx: Transaction) -> Header | None:
    """The newest batch of the tenant."""
    row = await tx.one(LAST, tx.tenant_id)
    return None if row is None else record(row, Header)


async def holding(tx: Transaction, entry_ids: Sequence[int], up_to: int) -> list[Batch]:
    """The batches, up to a number, that hold any of these entries."""
    return records(await tx.all(HOLDING, tx.tenant_id, list(entry_ids), up_to), Batch)


async def headers(tx: Transaction, first: int, last: int, limit: int) -> list[Header]:
    """Headers of batches, by number."""
    return records(await tx.all(HEADERS, tx.tenant_id, first, last, limit), Header)


async def record_export(tx: Transaction, form: str, details: dict[str, Any]) -> None:
    """Put an export of the trail into the trail."""
    await tx.run(RECORD, form, details)


async def unsealed(db: Database, limit: int) -> list[UUID]:
    """Tenants with entries in no batch yet."""
    return [row["tenant_id"] for row in await db.call(UNSEALED, limit)]


async def seal(db: Database, tenant_id: UUID) -> int:
    """Close one batch; returns how many entries are in it."""
    return (await db.call(SEAL, tenant_id))[0][0]


async def behind(db: Database, since: datetime) -> int:
    """How many tenants have entries that wait for their seal since before then."""
    return (await db.call(BEHIND, since))[0][0]


async def unpublished(db: Database, limit: int) -> list[Head]:
    """Newest seals that the second place lacks."""
    return records(await db.call(UNPUBLISHED, limit), Head)


async def published(db: Database, head: Head) -> None:
    """Note that the second place has a seal."""
    await db.call(PUBLISHED, head.tenant_id, head.number)


async def ensure_partitions(db: Database, months_ahead: int) -> int:
    """Make the months that are missing; returns how many."""
    return (await db.call(ENSURE_PARTITIONS, months_ahead))[0][0]


async def settle_rest(db: Database, limit: int) -> int:
    """Move entries of the default partition towards their own month; returns how many."""
    return (await db.call(SETTLE_REST, limit))[0][0]


async def snapshot(tx: Transaction) -> None:
    """See the database as it is now until the transaction ends; must come first in it."""
    await tx.run(SNAPSHOT)


async def counts(tx: Transaction, tenant_id: UUID) -> tuple[int, int]:
    """How many entries there are, and how many the batches say there are."""
    row = await tx.one(COUNTS, tenant_id)
    return (row["entries"], row["sealed"]) if row else (0, 0)


async def head(tx: Transaction, tenant_id: UUID) -> Head | None:
    """The newest seal as the sealer remembers it."""
    row = await tx.one(HEAD, tenant_id)
    return None if row is None else record(row, Head)


async def erased(tx: Transaction, tenant_id: UUID) -> datetime | None:
    """When the erasing of the tenant began, if it has."""
    row = await tx.one(ERASED, tenant_id)
    return None if row is None else row["began_at"]


async def batches(tx: Transaction, tenant_id: UUID, after: int, limit: int) -> list[Batch]:
    """Batches, by number."""
    return records(await tx.all(BATCHES, tenant_id, after, limit), Batch)


async def listed(tx: Transaction, batch: Batch) -> dict[int, Entry]:
    """Those of the entries that a batch lists which are there."""
    rows = await tx.all(LISTED, batch.tenant_id, batch.entry_ids, batch.entry_times)
    return {entry.entry_id: entry for entry in records(rows, Entry)}


async def stray(tx: Transaction, tenant_id: UUID, after: tuple[datetime, int] | None, limit: int) -> list[Any]:
    """All entries in order; those that no batch lists, nor the queue of the sealer, are `stray`."""
    return await tx.all(STRAY, tenant_id, *(after or (None, 0)), limit)


async def waiting(tx: Transaction, tenant_id: UUID, before: datetime, limit: int) -> list[Any]:
    """Entries that await sealing since before a time, or that are gone although they await it."""
    return await tx.all(WAITING, tenant_id, before, limit)


def _where(wanted: Wanted) -> tuple[Any, ...]:
    return (
        wanted.person_id,
        wanted.project_id,
        wanted.object_type,
        wanted.object_id,
        wanted.action,
        wanted.since,
        wanted.until,
        wanted.key_id,
    )


def _found(rows: Sequence[Any]) -> list[Found]:
    return [Found(record(row, Entry), row["timezone"], row["local"]) for row in rows]
