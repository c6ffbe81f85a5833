"""Driving on what was lost on the way: S3's truth against ours."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from buildpeer import facts as f
from buildpeer import wiring
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads import rules, store
from buildpeer.modules.uploads.rules import Upload
from buildpeer.modules.uploads.service.receiving import give_up_parts, join
from buildpeer.modules.uploads.service.settling import OnReady, become, end
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.messaging import Outgoing
from buildpeer.platform.storage import Storage

SWEEPS_AT_ONCE = 4
Backlog = Callable[[str], Awaitable[int]]

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
    gives a queue's waiting messages: what merely waits in line is not driven again. Returns how many uploads it
    looked at.
    """
    async with db.across_tenants() as tx:
        due = await store.due(tx, limit)
    places = asyncio.Semaphore(SWEEPS_AT_ONCE)

    async def one(tenant_id: UUID, upload_id: UUID) -> None:
        async with places:
            try:
                await _sweep_one(
                    db, storage, tenant_id, upload_id, queues=queues, backlog=backlog, on_ready=on_ready, now=now
                )
            except Exception:  # it is due again in a minute, and must not hold the others up
                _log.exception("upload_not_swept", upload_id=str(upload_id))

    await asyncio.gather(*(one(tenant_id, upload_id) for tenant_id, upload_id in due))
    return len(due)


async def _sweep_one(
    db: Database,
    storage: Storage,
    tenant_id: UUID,
    upload_id: UUID,
    *,
    queues: frozenset[str],
    backlog: Backlog,
    on_ready: OnReady,
    now: datetime,
) -> None:
    scope = Scope(tenant_id, None, f"sweep:{upload_id}")
    async with db.transaction(scope) as tx:
        seen = (await store.by_ids(tx, [upload_id]))[0]
    held = await storage.head(bucket=seen.bucket, key=seen.key)
    if held is None and seen.multipart_id and await join(storage, seen) is None:
        held = await storage.head(bucket=seen.bucket, key=seen.key)  # all there, and the phone was gone
    queue = wiring.queue_name(_step(seen), seen.lane)
    idle = queue in queues and await backlog(queue) == 0
    async with db.transaction(scope) as tx:
        upload = await store.lock(tx, upload_id)
        if upload is None or upload.state in rules.ENDS:
            return
        if held is None:
            if not await projects.may_send(tx, upload.project_id, upload.created_by):
                await end(tx, upload, "cancelled", "sender_left", now=now)
                await give_up_parts(storage, upload)
            elif now - upload.created_at > rules.IDLE_LIFE:
                await end(tx, upload, "expired", "never_arrived", now=now)
                await give_up_parts(storage, upload)
            else:
                await _look_later(tx, upload, now=now)
            return
        if upload.version_id is None:
            upload = await become(tx, upload, {"version_id": held.version_id}, on_ready=on_ready, now=now)
        if upload.redrives >= rules.MAX_REDRIVES:
            await end(tx, upload, "failed", "processing_failed", now=now)
            return
        if idle:
            _log.info("upload_redriven", upload_id=str(upload_id), state=upload.state, redrives=upload.redrives)
            await tx.announce([_redrive(upload, size=held.size, etag=held.etag)])
        await _look_later(tx, upload, now=now, counts=idle)


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


async def _look_later(tx: Transaction, upload: Upload, *, now: datetime, counts: bool = True) -> None:
    upload = msgspec.structs.replace(upload, redrives=upload.redrives + counts)
    check_at = rules.next_check(upload.state, redrives=upload.redrives, now=now)
    await store.save(tx, upload, now=upload.updated_at, check_at=check_at)
