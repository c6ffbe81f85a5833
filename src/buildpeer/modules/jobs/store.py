"""SQL of jobs: one function, one statement."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.jobs.rules import State
from buildpeer.platform.db import FIRST_PAGE, Database, Transaction, record, records


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the database has it; `key` is where its file lies, `total` is 0 while nobody knows."""

    job_id: UUID
    project_id: UUID | None
    created_by: UUID
    kind: str
    wanted: Any
    language: str
    state: State
    reason: str
    done: int
    total: int
    summary: Any
    bucket: str | None
    key: str | None
    filename: str | None
    content_type: str | None
    size_bytes: int | None
    created_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """A job to work on; `tries` counts this time too."""

    tenant_id: UUID
    job_id: UUID
    project_id: UUID | None
    created_by: UUID
    key_id: UUID | None
    kind: str
    wanted: Any
    language: str
    tries: int


class Expired(msgspec.Struct, frozen=True):
    """A job whose file nobody needs any more."""

    tenant_id: UUID
    job_id: UUID
    bucket: str
    key: str


_COLUMNS = """job_id, project_id, created_by, kind, wanted, language, state, reason, done, total, summary, bucket, key,
filename, content_type, size_bytes, created_at, ended_at, expires_at"""
BY_ID = f"select {_COLUMNS} from jobs where tenant_id = $1 and job_id = $2"  # noqa: S608
PAGE = f"""
select {_COLUMNS} from jobs where tenant_id = $1 and created_by = $2 and (created_at, job_id) < ($3, $4)
order by created_at desc, job_id desc limit $5
"""  # noqa: S608
# Whoever counts must not be overtaken.
LOCK = "select pg_advisory_xact_lock(hashtextextended('jobs ' || $1::uuid::text, 0))"
OPEN = "select own, everybodys from app.open_jobs()"
ADD = """
insert into jobs (tenant_id, job_id, project_id, created_by, key_id, kind, wanted, language)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning job_id
"""
CANCEL = """
update jobs set state = 'cancelled', due_at = null, ended_at = $3
where tenant_id = $1 and job_id = $2 and due_at is not null returning job_id
"""
LEND = """
select tenant_id, job_id, project_id, created_by, key_id, kind, wanted, language, tries
from app.lend_job($1, $2, $3)
"""
# Only the last try of a job that still runs may write: the others were taken for dead.
BEAT = """
update jobs set due_at = now() + $4::interval
where tenant_id = $1 and job_id = $2 and tries = $3 and state = 'running' returning true
"""
TELL = """
update jobs set done = $4, total = $5
where tenant_id = $1 and job_id = $2 and tries = $3 and state = 'running' returning true
"""
REST = """
update jobs set state = 'queued', due_at = now() + $4::interval, tries = $5
where tenant_id = $1 and job_id = $2 and tries = $3 and state = 'running'
"""
FINISH = """
update jobs set state = 'done', due_at = null, ended_at = $4, summary = $5, bucket = $6, key = $7, filename = $8,
  content_type = $9, size_bytes = $10, expires_at = $11, done = greatest(done, total)
where tenant_id = $1 and job_id = $2 and tries = $3 and state = 'running' returning done, total
"""
FAIL = """
update jobs set state = 'failed', due_at = null, ended_at = $4, reason = $5
where tenant_id = $1 and job_id = $2 and tries = $3 and state = 'running' returning done, total
"""
EXPIRED = "select tenant_id, job_id, bucket, key from app.expired_jobs($1, $2)"
EXPIRE = """
update jobs set state = 'expired', bucket = null, key = null, expires_at = null where tenant_id = $1 and job_id = $2
"""
PRUNE = "select app.prune_jobs($1)"
AUDIT = "select audit.record('download', 'jobs', $1, $2, $3)"


async def by_id(tx: Transaction, job_id: UUID) -> Job | None:
    """A job that the caller may see."""
    row = await tx.one(BY_ID, tx.tenant_id, job_id)
    return None if row is None else record(row, Job)


async def page(tx: Transaction, *, after: tuple[datetime, UUID] | None, limit: int) -> list[Job]:
    """The caller's jobs, newest first, after a time and id."""
    return records(await tx.all(PAGE, tx.tenant_id, tx.person_id, *(after or FIRST_PAGE), limit), Job)


async def lock(tx: Transaction) -> None:
    """Let nobody else order a job in this tenant until the transaction ends."""
    await tx.run(LOCK, tx.tenant_id)


async def count_open(tx: Transaction) -> tuple[int, int]:
    """How many jobs wait or run: the caller's, and all of the tenant's."""
    row = await tx.one(OPEN)
    return (row["own"], row["everybodys"]) if row else (0, 0)


async def add(tx: Transaction, job_id: UUID, *, project_id: UUID | None, kind: str, wanted: Any, language: str) -> bool:
    """Order a job; False where the id is taken."""
    key_id = tx.scope.key_id if tx.scope else None
    arguments = (job_id, project_id, tx.person_id, key_id, kind, wanted, language)
    return await tx.value(ADD, tx.tenant_id, *arguments) is not None


async def cancel(tx: Transaction, job_id: UUID, *, now: datetime) -> bool:
    """Call a job off; False where it has ended."""
    return await tx.value(CANCEL, tx.tenant_id, job_id, now) is not None


async def lend(db: Database, kinds: list[str], *, lease: timedelta, most_at_once: int) -> Lent | None:
    """Take a job on, for `lease`."""
    rows = await db.call(LEND, kinds, lease, most_at_once)
    return record(rows[0], Lent) if rows else None


async def beat(tx: Transaction, job: Lent, *, lease: timedelta) -> bool:
    """Keep a job; False where it was called off, or somebody else has it."""
    return bool(await tx.value(BEAT, tx.tenant_id, job.job_id, job.tries, lease))


async def tell(tx: Transaction, job: Lent, *, done: int, total: int) -> bool:
    """Note how far it is; False where it was called off, or somebody else has it."""
    return bool(await tx.value(TELL, tx.tenant_id, job.job_id, job.tries, done, total))


async def rest(tx: Transaction, job: Lent, *, pause: timedelta, tries: int) -> None:
    """Give a job back, to be taken on again after a pause; `tries`: how many there have been, by then."""
    await tx.run(REST, tx.tenant_id, job.job_id, job.tries, pause, tries)


async def finish(
    tx: Transaction,
    job: Lent,
    *,
    now: datetime,
    summary: Any,
    place: tuple[str, str, str, str, int] | None,
    expires_at: datetime | None,
) -> Any | None:
    """End a job well, with its file's bucket, key, name, type and size in bytes; gives its progress, or None where it
    was called off, or somebody else has it.
    """
    file = place or (None, None, None, None, None)
    return await tx.one(FINISH, tx.tenant_id, job.job_id, job.tries, now, summary, *file, expires_at)


async def fail(tx: Transaction, job: Lent, *, now: datetime, reason: str) -> Any | None:
    """End a job badly; gives its progress, or None as `finish` does."""
    return await tx.one(FAIL, tx.tenant_id, job.job_id, job.tries, now, reason)


async def expired(db: Database, *, now: datetime, limit: int) -> list[Expired]:
    """Jobs of all tenants whose files have expired."""
    return records(await db.call(EXPIRED, now, limit), Expired)


async def expire(tx: Transaction, job_id: UUID) -> None:
    """Note that a job's file is gone."""
    await tx.run(EXPIRE, tx.tenant_id, job_id)


async def prune(db: Database, *, before: datetime) -> None:
    """Forget jobs of all tenants that ended before a time and have no file."""
    await db.call(PRUNE, before)


async def audit_download(tx: Transaction, job: Job) -> None:
    """Put the download of a job's file into the audit trail."""
    await tx.run(AUDIT, str(job.job_id), {"kind": job.kind}, job.project_id)
