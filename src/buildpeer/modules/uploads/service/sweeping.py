"""Driving on what was lost on the way: S3's truth against ours."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from buildpeer import facts as f
from buildpeer import wiring
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads import rules, store
from buildpeer.modules.uploads.rules import State, Upload
from buildpeer.modules.uploads.service.joining import Held, advance, give_up, look
from buildpeer.modules.uploads.service.settling import OnReady, become, end
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.messaging import Outgoing
from buildpeer.platform.storage import Storage

SWEEPS_AT_ONCE = 4
Backlog = Callable[[str], Awaitable[int]]
IsIdle = Callable[[str], Awaitable[bool]]

_log = structlog.get_logger()


async def sweep(
    db: Database,
    storage: Storage,
    *,
    queues: frozenset[str],
    backlog: Backlog,
    on_ready: OnReady,
    now: datetime,
    limit: int = 100,
) -> int:
    """Look at uploads that have been silent for too long, and drive on what was lost on the way.

    S3 says whether the bytes are there, Postgres what is known of them; a queue may have lost or repeated anything.
    `queues` are those that there are: with GuardDuty there is none for scans, and nothing to drive there. `backlog`
    gives a queue's waiting messages and is asked once per queue: what merely waits in line is not driven again.
    Returns how many uploads it looked at.
    """
    async with db.across_tenants() as tx:
        due = await store.due(tx, limit)
    places = asyncio.Semaphore(SWEEPS_AT_ONCE)
    lines: dict[str, asyncio.Future[int]] = {}

    async def is_idle(queue: str) -> bool:
        if queue not in queues:
            return False
        if queue not in lines:
            lines[queue] = asyncio.ensure_future(backlog(queue))
        return await lines[queue] == 0

    async def one(tenant_id: UUID, upload_id: UUID) -> None:
        async with places:
            try:
                await _sweep_one(db, storage, tenant_id, upload_id, is_idle=is_idle, on_ready=on_ready, now=now)
            except Exception:  # S3 or the queues are away, say; one must not hold the others up
                _log.exception("upload_not_swept", upload_id=str(upload_id))
                with contextlib.suppress(Exception):  # Postgres too: then it is due again in a minute
                    await _let_wait(db, tenant_id, upload_id, now=now)

    await asyncio.gather(*(one(tenant_id, upload_id) for tenant_id, upload_id in due))
    return len(due)


async def _sweep_one(
    db: Database,
    storage: Storage,
    tenant_id: UUID,
    upload_id: UUID,
    *,
    is_idle: IsIdle,
    on_ready: OnReady,
    now: datetime,
) -> None:
    scope = _scope(tenant_id, upload_id)
    async with db.transaction(scope) as tx:
        seen = (await store.by_ids(tx, [upload_id]))[0]
    idle = await is_idle(wiring.queue_name(_step(seen), seen.lane))
    if seen.version_id is not None and not idle:  # it waits in line, and S3 could say nothing new
        await _let_wait(db, tenant_id, upload_id, now=now)
        return
    held = await look(storage, seen)
    if held.whole is None:
        held = await _await_bytes(db, storage, scope, seen, held, is_idle=is_idle, now=now)
    if (whole := held.whole) is None:
        return
    async with db.transaction(scope) as tx:
        upload = await store.lock(tx, upload_id)
        if upload is None or upload.state in rules.ENDS:
            return
        if upload.version_id is None:
            upload = await become(tx, upload, {"version_id": whole.version_id}, on_ready=on_ready, now=now)
        if upload.redrives >= rules.MAX_REDRIVES:
            await end(tx, upload, "failed", "processing_failed", now=now)
            return
        if idle:
            _log.info("upload_redriven", upload_id=str(upload_id), state=upload.state, redrives=upload.redrives)
            await tx.announce([_redrive(upload, size=whole.size, etag=whole.etag)])
        upload = msgspec.structs.replace(upload, redrives=upload.redrives + idle)
        check_at = rules.next_check(upload.state, redrives=upload.redrives, now=now)
        await store.save(tx, upload, now=upload.updated_at, check_at=check_at)


async def _await_bytes(
    db: Database,
    storage: Storage,
    scope: Scope,
    seen: Upload,
    held: Held,
    *,
    is_idle: IsIdle,
    now: datetime,
) -> Held:
    """Finish an upload whose bytes are all there in pieces, wait for the others', and end what is waited for in vain.

    Returns what S3 holds then.
    """
    active_at = max(seen.updated_at, held.newest or seen.updated_at)
    over = await _in_vain(db, scope, seen, active_at, now=now) if held.missing else None
    if over is None:
        idle = await is_idle(wiring.queue_name(wiring.ASSEMBLE, seen.lane))
        held = await advance(db, storage, scope=scope, upload=seen, held=held, now=now, ask=idle)
    if held.whole is not None:
        return held
    async with db.transaction(scope) as tx:
        upload = await store.lock(tx, seen.upload_id)
        if upload is None or upload.state in rules.ENDS:
            return held
        if over is not None and upload == seen:
            await end(tx, upload, *over, now=now)
        else:
            over = None
            await store.save(tx, upload, now=upload.updated_at, check_at=rules.next_look(active_at, now=now))
    if over is not None:
        await give_up(storage, seen)
    return held


async def _in_vain(
    db: Database, scope: Scope, upload: Upload, active_at: datetime, *, now: datetime
) -> tuple[State, str] | None:
    """How an upload ends, and why, that lacks bytes which nobody may or will send any more."""
    async with db.transaction(scope) as tx:
        if not await projects.may_send(tx, upload.project_id, upload.created_by):
            return "cancelled", "sender_left"
    return ("expired", "never_arrived") if rules.is_over(upload, active_at, now=now) else None


def _step(upload: Upload) -> wiring.Step:
    return wiring.DERIVE if upload.verdict == "clean" else wiring.SCAN


def _redrive(upload: Upload, *, size: int, etag: str) -> Outgoing:
    bucket = f.Bucket(upload.bucket)
    stored = f.Object(upload.key, size, etag, upload.version_id or "")
    if upload.verdict == "clean":
        scanned = f.FileScanned(bucket, stored, "clean", upload.scanner or "")
        body = f.event(f.SOURCE_SCAN, f.FILE_SCANNED, scanned)
    else:
        body = f.event(f.SOURCE_S3, f.OBJECT_CREATED, f.ObjectCreated(bucket, stored))
    return Outgoing(wiring.queue_name(_step(upload), upload.lane), "redrive", body)


async def _let_wait(db: Database, tenant_id: UUID, upload_id: UUID, *, now: datetime) -> None:
    """Look again before long: it waits in line, or there was nobody to ask."""
    async with db.transaction(_scope(tenant_id, upload_id)) as tx:
        upload = await store.lock(tx, upload_id)
        if upload is not None and upload.state not in rules.ENDS:
            check_at = rules.next_check_in_line(since=upload.updated_at, now=now)
            await store.save(tx, upload, now=upload.updated_at, check_at=check_at)


def _scope(tenant_id: UUID, upload_id: UUID) -> Scope:
    return Scope(tenant_id, None, f"sweep:{upload_id}")
