"""SQL of daily logs: one function, one statement."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.reports.rules.daily_logs import Change, Edit, Entry, Lost, State
from buildpeer.platform.db import Transaction, record, records


class DailyLog(msgspec.Struct, frozen=True, kw_only=True):
    """A project's day; `version` 0 while nobody has written anything. `entries`: how many of each kind;
    `last_change_at`: of any of them.
    """

    project_id: UUID
    log_date: date
    state: State = "open"
    version: int = 0
    completed_by: UUID | None = None
    completed_at: datetime | None = None
    distributed_by: UUID | None = None
    distributed_at: datetime | None = None
    recipients: list[UUID] = []
    entries: dict[str, int] = {}
    late_entries: int = 0
    conflicts: int = 0
    last_change_at: datetime | None = None


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """A value that isn't in force, and what a person has decided about it."""

    conflict_id: UUID
    entry_id: UUID
    project_id: UUID
    log_date: date
    field: str
    value: Any
    written_by: UUID
    reason: str
    created_at: datetime
    resolution: str | None
    resolved_by: UUID | None
    resolved_at: datetime | None


class FreshEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry to insert; `fields` as JSON holds them."""

    entry_id: UUID
    kind: str
    fields: dict[str, Any]
    attachments: list[UUID]
    digest: bytes
    noted_at: datetime
    clock_off_s: int
    late: bool
    copied_from: UUID | None = None


_LOG = """
select l.project_id, l.log_date, l.state, l.version, l.completed_by, l.completed_at, l.distributed_by, l.distributed_at,
  l.recipients, coalesce(e.entries, '{}') as entries, coalesce(e.late, 0) as late_entries,
  (select count(*) from daily_log_conflicts c where c.tenant_id = l.tenant_id and c.project_id = l.project_id
    and c.log_date = l.log_date and c.resolution is null) as conflicts, e.changed_at as last_change_at
from daily_logs l left join lateral (
  select jsonb_object_agg(k.kind, k.live) filter (where k.live > 0) as entries, sum(k.late)::bigint as late,
    max(k.changed_at) as changed_at
  from (select d.kind, count(*) filter (where d.deleted_at is null) as live,
      count(*) filter (where d.late and d.deleted_at is null) as late, max(d.updated_at) as changed_at
    from daily_log_entries d
    where d.tenant_id = l.tenant_id and d.project_id = l.project_id and d.log_date = l.log_date group by d.kind) k) e
  on true
"""
_ENTRY = """
entry_id, project_id, log_date, kind, fields, attachments, written, version, digest, created_by, created_at, updated_at,
noted_at, clock_off_s, late, copied_from, deleted_at, deleted_by
"""
_CONFLICT = """
conflict_id, entry_id, project_id, log_date, field, value, written_by, reason, created_at, resolution, resolved_by,
resolved_at
"""
LOG = f"{_LOG} where l.tenant_id = $1 and l.project_id = $2 and l.log_date = $3"
LOGS = f"""
{_LOG} where l.tenant_id = $1 and l.project_id = $2 and l.log_date < coalesce($3::date, 'infinity')
  and ($4::text is null or l.state = $4) and l.log_date >= coalesce($5::date, '-infinity')
order by l.log_date desc limit $6
"""
BEGIN = "insert into daily_logs (tenant_id, project_id, log_date) values ($1, $2, $3) on conflict do nothing"
# Whoever writes waits for whoever completes the day, and the other way round.
STATE = "select state from daily_logs where tenant_id = $1 and project_id = $2 and log_date = $3 for share"
COMPLETE = """
update daily_logs set state = 'completed', version = version + 1, completed_by = $4, completed_at = $5
where tenant_id = $1 and project_id = $2 and log_date = $3 and state = 'open' returning true
"""
DISTRIBUTE = """
update daily_logs set state = 'distributed', version = version + 1, distributed_by = $4, distributed_at = $5,
  recipients = $6
where tenant_id = $1 and project_id = $2 and log_date = $3 and state <> 'open' returning true
"""
REOPEN = """
update daily_logs set state = 'open', version = version + 1, completed_by = null, completed_at = null,
  distributed_by = null, distributed_at = null
where tenant_id = $1 and project_id = $2 and log_date = $3 and state <> 'open' returning true
"""
AUDIT = "select audit.record($1, $2, $3, $4, $5)"
ADD = """
insert into daily_log_entries (tenant_id, entry_id, project_id, log_date, kind, fields, attachments, digest, created_by,
  created_at, updated_at, noted_at, clock_off_s, late, copied_from)
select $1, u.entry_id, $2, $3, u.kind, u.fields, u.attachments::uuid[], u.digest,
  $4, $5, $5, u.noted_at, u.clock_off_s, u.late, u.copied_from
from unnest($6::uuid[], $7::text[], $8::jsonb[], $9::text[], $10::bytea[], $11::timestamptz[], $12::bigint[],
  $13::boolean[], $14::uuid[])
  as u (entry_id, kind, fields, attachments, digest, noted_at, clock_off_s, late, copied_from)
on conflict do nothing returning entry_id
"""
ENTRIES = f"select {_ENTRY} from daily_log_entries where tenant_id = $1 and entry_id = any ($2)"  # noqa: S608
PAGE = f"""
select {_ENTRY} from daily_log_entries where tenant_id = $1 and project_id = $2 and log_date = $3
  and entry_id > coalesce($4::uuid, '00000000-0000-0000-0000-000000000000') and ($5::text is null or kind = $5)
  and ($6 or deleted_at is null)
order by entry_id limit $7
"""  # noqa: S608
HOLD = f"""
select {_ENTRY} from daily_log_entries where tenant_id = $1 and entry_id = $2 for no key update
"""  # noqa: S608
WRITE = """
update daily_log_entries set fields = $3, attachments = $4, written = $5, version = $6, updated_at = $7,
  deleted_at = $8, deleted_by = $9
where tenant_id = $1 and entry_id = $2
"""
KEEP_EDIT = """
insert into daily_log_edits (tenant_id, installation_id, sequence, entry_id, project_id, created_by, noted_at,
  base_version, change)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing returning true
"""
KEPT_EDIT = """
select entry_id, created_by, base_version, change from daily_log_edits
where tenant_id = $1 and installation_id = $2 and sequence = $3
"""
LATER = """
select change from daily_log_edits
where tenant_id = $1 and entry_id = $2 and installation_id = $3 and sequence > $4 order by sequence
"""
LOSE = """
insert into daily_log_conflicts (tenant_id, conflict_id, entry_id, project_id, log_date, field, value, written_by,
  reason)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
CONFLICTS = f"""
select {_CONFLICT} from daily_log_conflicts where tenant_id = $1 and project_id = $2 and log_date = $3
  and ($4 or resolution is null) order by conflict_id
"""  # noqa: S608
CONFLICTS_OF = f"""
select {_CONFLICT} from daily_log_conflicts where tenant_id = $1 and entry_id = any ($2) and resolution is null
order by conflict_id
"""  # noqa: S608
CONFLICT = f"select {_CONFLICT} from daily_log_conflicts where tenant_id = $1 and conflict_id = $2"  # noqa: S608
RESOLVE = f"""
update daily_log_conflicts set resolution = $3, resolved_by = $4, resolved_at = $5
where tenant_id = $1 and conflict_id = $2 and resolution is null returning {_CONFLICT}
"""  # noqa: S608
BEFORE = """
select l.log_date from daily_logs l where l.tenant_id = $1 and l.project_id = $2 and l.log_date < $3
  and exists (select from daily_log_entries e where e.tenant_id = l.tenant_id and e.project_id = l.project_id
    and e.log_date = l.log_date and e.deleted_at is null and e.kind = any ($4))
order by l.log_date desc limit 1
"""
COMPANY = "select name from tenants where tenant_id = $1"
PEOPLE = "select person_id, name from people where person_id = any ($1)"


async def log(tx: Transaction, project_id: UUID, log_date: date) -> DailyLog | None:
    """A day on which somebody has written something."""
    row = await tx.one(LOG, tx.tenant_id, project_id, log_date)
    return None if row is None else record(row, DailyLog)


async def logs(
    tx: Transaction, project_id: UUID, *, before: date | None, since: date | None, state: str | None, limit: int
) -> list[DailyLog]:
    """Days of a project, the newest first."""
    return records(await tx.all(LOGS, tx.tenant_id, project_id, before, state, since, limit), DailyLog)


async def begin(tx: Transaction, project_id: UUID, log_date: date) -> None:
    """Make the day's log, if it isn't there."""
    await tx.run(BEGIN, tx.tenant_id, project_id, log_date)


async def state(tx: Transaction, project_id: UUID, log_date: date) -> State:
    """The day's state, which stays so until the transaction ends."""
    return await tx.value(STATE, tx.tenant_id, project_id, log_date) or "open"


async def complete(tx: Transaction, project_id: UUID, log_date: date, *, now: datetime) -> bool:
    """Complete an open day; False for one that isn't."""
    return bool(await tx.value(COMPLETE, tx.tenant_id, project_id, log_date, tx.person_id, now))


async def distribute(
    tx: Transaction, project_id: UUID, log_date: date, *, people: Sequence[UUID], now: datetime
) -> bool:
    """Note to whom a completed day was sent; False for one that is open."""
    return bool(await tx.value(DISTRIBUTE, tx.tenant_id, project_id, log_date, tx.person_id, now, list(people)))


async def reopen(tx: Transaction, project_id: UUID, log_date: date) -> bool:
    """Open a day again; False for one that is open."""
    return bool(await tx.value(REOPEN, tx.tenant_id, project_id, log_date))


async def audit(tx: Transaction, action: str, project_id: UUID, log_date: date, details: dict[str, Any]) -> None:
    """Put into the trail what the row doesn't show."""
    await tx.run(AUDIT, action, "daily_logs", f"{project_id}/{log_date}", details, project_id)


async def add(
    tx: Transaction, project_id: UUID, log_date: date, fresh: Sequence[FreshEntry], *, now: datetime
) -> set[UUID]:
    """Insert entries in the caller's name; gives the ids of those that weren't there."""
    rows = await tx.all(
        ADD,
        tx.tenant_id,
        project_id,
        log_date,
        tx.person_id,
        now,
        [f.entry_id for f in fresh],
        [f.kind for f in fresh],
        [f.fields for f in fresh],
        ["{" + ",".join(str(document) for document in f.attachments) + "}" for f in fresh],
        [f.digest for f in fresh],
        [f.noted_at for f in fresh],
        [f.clock_off_s for f in fresh],
        [f.late for f in fresh],
        [f.copied_from for f in fresh],
    )
    return {row["entry_id"] for row in rows}


async def entries(tx: Transaction, entry_ids: Sequence[UUID]) -> dict[UUID, Entry]:
    """Those of these entries that the caller may see, the deleted ones, too."""
    rows = await tx.all(ENTRIES, tx.tenant_id, list(entry_ids))
    return {entry.entry_id: entry for entry in records(rows, Entry)}


async def page(
    tx: Transaction,
    project_id: UUID,
    log_date: date,
    *,
    after: UUID | None,
    kind: str | None,
    deleted: bool,
    limit: int,
) -> list[Entry]:
    """A day's entries by id, after one; `deleted`: those as well that are gone."""
    return records(await tx.all(PAGE, tx.tenant_id, project_id, log_date, after, kind, deleted, limit), Entry)


async def hold(tx: Transaction, entry_id: UUID) -> Entry | None:
    """An entry that the caller may change, which nobody else does until the transaction ends."""
    row = await tx.one(HOLD, tx.tenant_id, entry_id)
    return None if row is None else record(row, Entry)


async def write(tx: Transaction, entry: Entry) -> None:
    """Write an entry's next version."""
    await tx.run(
        WRITE,
        tx.tenant_id,
        entry.entry_id,
        entry.fields,
        entry.attachments,
        msgspec.to_builtins(entry.written),
        entry.version,
        entry.updated_at,
        entry.deleted_at,
        entry.deleted_by,
    )


async def keep_edit(tx: Transaction, entry: Entry, edit: Edit, *, noted_at: datetime) -> bool:
    """Keep an edit as it was sent; False for one that has come before."""
    change = msgspec.to_builtins(edit.change)
    return bool(
        await tx.value(
            KEEP_EDIT,
            tx.tenant_id,
            edit.installation_id,
            edit.sequence,
            entry.entry_id,
            entry.project_id,
            edit.person_id,
            noted_at,
            edit.base_version,
            change,
        )
    )


async def is_kept(tx: Transaction, entry_id: UUID, edit: Edit) -> bool:
    """Whether the edit that has come before by this number is the same one."""
    row = await tx.one(KEPT_EDIT, tx.tenant_id, edit.installation_id, edit.sequence)
    change = msgspec.to_builtins(edit.change)
    same = (entry_id, edit.person_id, edit.base_version, change)
    return row is not None and (row["entry_id"], row["created_by"], row["base_version"], row["change"]) == same


async def later(tx: Transaction, entry_id: UUID, edit: Edit) -> list[Change]:
    """What the same phone did to the entry after this edit, and has come before it."""
    rows = await tx.all(LATER, tx.tenant_id, entry_id, edit.installation_id, edit.sequence)
    return [msgspec.convert(row["change"], Change) for row in rows]


async def lose(tx: Transaction, conflict_id: UUID, entry: Entry, lost: Lost) -> None:
    """Keep a value that isn't in force."""
    await tx.run(
        LOSE,
        tx.tenant_id,
        conflict_id,
        entry.entry_id,
        entry.project_id,
        entry.log_date,
        lost.field,
        lost.value,
        lost.written_by,
        lost.reason,
    )


async def conflicts(tx: Transaction, project_id: UUID, log_date: date, *, resolved: bool) -> list[Conflict]:
    """A day's conflicts, in the order in which they arose; `resolved`: those as well that are decided."""
    return records(await tx.all(CONFLICTS, tx.tenant_id, project_id, log_date, resolved), Conflict)


async def conflicts_of(tx: Transaction, entry_ids: Sequence[UUID]) -> dict[UUID, list[Conflict]]:
    """Open conflicts of entries."""
    found: dict[UUID, list[Conflict]] = {}
    for conflict in records(await tx.all(CONFLICTS_OF, tx.tenant_id, list(entry_ids)), Conflict):
        found.setdefault(conflict.entry_id, []).append(conflict)
    return found


async def conflict(tx: Transaction, conflict_id: UUID) -> Conflict | None:
    """One conflict."""
    row = await tx.one(CONFLICT, tx.tenant_id, conflict_id)
    return None if row is None else record(row, Conflict)


async def resolve(tx: Transaction, conflict_id: UUID, resolution: str, *, now: datetime) -> Conflict | None:
    """Decide an open conflict; None for one that is decided."""
    row = await tx.one(RESOLVE, tx.tenant_id, conflict_id, resolution, tx.person_id, now)
    return None if row is None else record(row, Conflict)


async def day_before(tx: Transaction, project_id: UUID, log_date: date, kinds: Sequence[str]) -> date | None:
    """The last day before that has entries of these kinds."""
    return await tx.value(BEFORE, tx.tenant_id, project_id, log_date, list(kinds))


async def names(tx: Transaction, people: set[UUID]) -> dict[UUID, str]:
    """Names of people of the company."""
    return {row["person_id"]: row["name"] for row in await tx.all(PEOPLE, list(people))} if people else {}


async def company(tx: Transaction) -> str:
    """What the company is called."""
    return await tx.value(COMPANY, tx.tenant_id)
