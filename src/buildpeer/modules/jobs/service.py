"""Doing jobs, and telling how they fare."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import structlog

from buildpeer import layout
from buildpeer.modules.jobs import facade, rules, store
from buildpeer.modules.jobs.facade import Handlers, JobLost, Outcome, Work
from buildpeer.modules.jobs.store import Job, Lent
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.errors import Problem
from buildpeer.platform.storage import SignedUrl, Storage

_EXPIRED_AT_ONCE = 200
_log = structlog.get_logger()


class Shown(msgspec.Struct, frozen=True):
    """A job, and a URL that reads its file for five minutes, if it has one."""

    job: Job
    result: SignedUrl | None


async def list_jobs(db: Database, *, caller: Caller, after: tuple[datetime, UUID] | None, limit: int) -> list[Job]:
    """The caller's own jobs, newest first."""
    async with db.transaction(caller.scope) as tx:
        return await store.page(tx, after=after, limit=limit)


async def get_job(db: Database, storage: Storage, *, caller: Caller, job_id: UUID) -> Shown:
    """How a job of the caller's fares, and where its file is; that they had it is put into the audit trail.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        job = await store.by_id(tx, job_id)
        if job is None:
            raise Problem("not_found")
        result = _sign(storage, job)
        if result is not None:
            await store.audit_download(tx, job)
    return Shown(job, result)


async def cancel(db: Database, *, caller: Caller, job_id: UUID, now: datetime) -> Job:
    """Call a job of the caller's off, which stops within seconds; again, or once it has ended, changes nothing.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        cancelled = await store.cancel(tx, job_id, now=now)
        job = await store.by_id(tx, job_id)
        if job is None:
            raise Problem("not_found")
        if cancelled:
            await tx.announce([facade.news(job, "cancelled", done=job.done, total=job.total)])
    return job


async def work(
    db: Database,
    people_db: Database,
    storage: Storage,
    handlers: Handlers,
    *,
    bucket: str,
    now: Callable[[], datetime],
) -> int:
    """Do the next job, if there is one for these handlers; returns how many that was.

    No company has more than a few at work while others wait. A job whose worker died is taken on again once it has said
    nothing for a while, and given up after some tries.
    """
    job = await store.lend(db, list(handlers), lease=rules.LEASE, most_at_once=rules.AT_ONCE_PER_TENANT)
    if job is None:
        return 0
    log = _log.bind(job=str(job.job_id), kind=job.kind, tries=job.tries)
    if job.tries > rules.MOST_TRIES:
        await _fail(db, job, "job_broken", now())
        return 1
    try:
        async with _kept(db, job), _folder() as folder:
            handle = handlers[job.kind]
            outcome = await handle(Work(job, db=db, people_db=people_db, storage=storage, folder=folder, bucket=bucket))
            await _finish(db, storage, job, outcome, bucket=bucket, now=now)
        log.info("job_done")
    except JobLost:
        log.info("job_lost")
    except Problem as problem:
        log.info("job_refused", code=problem.code)
        await _fail(db, job, problem.code, now())
    except asyncio.CancelledError:  # the worker is about to stop: somebody else may begin at once
        with contextlib.suppress(Exception):
            await _give_back(db, job, pause=timedelta(0), tries=job.tries - 1)
        raise
    except Exception:
        log.exception("job_failed")
        await _give_back(db, job, pause=rules.pause(job.tries), tries=job.tries)
    return 1


async def expire(db: Database, storage: Storage, *, now: datetime) -> int:
    """Remove files that nobody may download any more, and forget jobs that ended long ago; returns how many files."""
    gone = await store.expired(db, now=now, limit=_EXPIRED_AT_ONCE)
    for each in gone:
        await storage.delete(bucket=each.bucket, key=each.key, version_id=None)
        async with db.transaction(Scope(each.tenant_id, None)) as tx:
            await store.expire(tx, each.job_id)
    await store.prune(db, before=now - rules.MEMORY)
    return len(gone)


def _sign(storage: Storage, job: Job) -> SignedUrl | None:
    if job.bucket is None or job.key is None:
        return None
    return storage.sign_read(
        bucket=job.bucket,
        key=job.key,
        version_id=None,
        filename=job.filename or job.kind,
        content_type=job.content_type or "application/octet-stream",
    )


@contextlib.asynccontextmanager
async def _kept(db: Database, job: Lent) -> AsyncGenerator[None, None]:
    """Keeps the job while the block runs; raises JobLost in it once the job was called off or taken by another."""
    working = asyncio.current_task()
    lost = False

    async def beat() -> None:
        nonlocal lost
        while not lost:
            await asyncio.sleep(rules.BEAT_S)
            with contextlib.suppress(Exception):  # the lease outlives a database that is away for a moment
                async with db.transaction(Scope(job.tenant_id, None)) as tx:
                    lost = not await store.beat(tx, job, lease=rules.LEASE)
        if working is not None:
            working.cancel()

    beating = asyncio.create_task(beat())
    try:
        yield
    except asyncio.CancelledError:
        if lost and working is not None and working.uncancel() == 0:
            raise JobLost from None
        raise
    finally:
        beating.cancel()


@contextlib.asynccontextmanager
async def _folder() -> AsyncGenerator[Path, None]:
    with tempfile.TemporaryDirectory(prefix="buildpeer-job-") as folder:
        yield Path(folder)


async def _finish(
    db: Database, storage: Storage, job: Lent, outcome: Outcome, *, bucket: str, now: Callable[[], datetime]
) -> None:
    place: tuple[str, str, str, str, int] | None = None
    key = layout.job_key(job.tenant_id, job.job_id, job.tries)
    size_bytes = outcome.written_bytes
    if outcome.file is not None:
        await storage.put_file(bucket=bucket, key=key, file=outcome.file, content_type=outcome.content_type)
        size_bytes = outcome.file.stat().st_size
    if size_bytes is not None:
        place = (bucket, key, outcome.filename, outcome.content_type, size_bytes)
    ended = now()
    async with db.transaction(Scope(job.tenant_id, None)) as tx:
        expires_at = ended + rules.RESULT_LIFE if place else None
        told = await store.finish(tx, job, now=ended, summary=dict(outcome.summary), place=place, expires_at=expires_at)
        if told is None:
            raise JobLost
        await tx.announce([facade.news(job, "done", done=told["done"], total=told["total"])])


async def _fail(db: Database, job: Lent, reason: str, now: datetime) -> None:
    async with db.transaction(Scope(job.tenant_id, None)) as tx:
        told = await store.fail(tx, job, now=now, reason=reason)
        if told is not None:
            await tx.announce([facade.news(job, "failed", done=told["done"], total=told["total"], reason=reason)])


async def _give_back(db: Database, job: Lent, *, pause: timedelta, tries: int) -> None:
    async with db.transaction(Scope(job.tenant_id, None)) as tx:
        await store.rest(tx, job, pause=pause, tries=tries)
