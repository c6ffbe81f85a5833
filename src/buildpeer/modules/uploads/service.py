"""Opening uploads, and what becomes of them: one verb, one function, one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import structlog

from buildpeer import facts as f
from buildpeer import wiring
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads import events, rules, store
from buildpeer.modules.uploads.facade import ReadyFile, ready_file
from buildpeer.modules.uploads.rules import NewUpload, Place, Upload
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.messaging import Outgoing
from buildpeer.platform.storage import SignedUrl, Storage, StoredPart

_log = structlog.get_logger()

SWEEPS_AT_ONCE = 4

OnReady = Callable[[Transaction, ReadyFile], Awaitable[None]]
Backlog = Callable[[str], Awaitable[int]]


class PartUrl(msgspec.Struct, frozen=True):
    """Where one part of a file goes."""

    part_number: int
    put: SignedUrl


class Opened(msgspec.Struct, frozen=True):
    """What one item of a batch came to."""

    upload_id: UUID
    verdict: Literal["opened", "known", "conflict", "rejected"]
    upload: Upload | None = None
    put: SignedUrl | None = None
    problem: Problem | None = None


async def open_uploads(
    db: Database,
    storage: Storage,
    *,
    caller: Caller,
    project_id: UUID,
    bucket: str,
    wanted: Sequence[NewUpload],
) -> list[Opened]:
    """Open up to MAX_BATCH uploads in one transaction, each with a verdict of its own, in the order asked.

    Idempotent by upload id: the same id, caller and content give the same answer again, anything else `conflict`.
    The first URLS_PER_BATCH that await bytes come with a write URL. Raises Problem not_found, not_allowed.
    """
    refused = [_problem(new) for new in wanted]
    good = [new for new, problem in zip(wanted, refused, strict=True) if problem is None]
    async with db.transaction(_scope(caller)) as tx:
        project = await projects.find_project(tx, project_id)
        rules.check_role(project.role)
        fresh = await _insert(tx, good, project_id=project_id, bucket=bucket)
        await tx.announce(events.news(events.OPENED, upload) for upload in fresh)
        known = {upload.upload_id: upload for upload in await store.by_ids(tx, [n.upload_id for n in good])}
    unanswered = {upload.upload_id for upload in fresh}
    opened: list[Opened] = []
    for new, problem in zip(wanted, refused, strict=True):
        upload = known.get(new.upload_id)
        if problem is not None:
            opened.append(Opened(new.upload_id, "rejected", problem=problem))
        elif upload is None or not rules.same_content(upload, new, project_id=project_id, person_id=caller.person_id):
            opened.append(Opened(new.upload_id, "conflict", problem=Problem("upload_conflict")))
        else:
            verdict = "opened" if new.upload_id in unanswered else "known"
            unanswered.discard(new.upload_id)
            opened.append(Opened(new.upload_id, verdict, upload))
    return _with_urls(storage, opened)


async def sign_whole(db: Database, storage: Storage, *, caller: Caller, upload_id: UUID) -> SignedUrl:
    """A fresh write URL for the whole of a file of one part.

    Raises Problem not_found, not_allowed (only the uploader gets one), upload_closed or invalid.
    """
    upload = await _awaiting_bytes(db, caller=caller, upload_id=upload_id)
    if rules.part_count(upload.size_bytes) > 1:
        raise Problem("invalid", "This file travels in parts; name those that you want to send")
    return _sign(storage, upload)


async def sign_parts(
    db: Database, storage: Storage, *, caller: Caller, upload_id: UUID, numbers: Sequence[int], now: datetime
) -> list[PartUrl]:
    """Write URLs for parts of a file, up to URLS_PER_CALL at a time; the first call begins the multipart upload.

    A part may be sent again until the file is complete. Raises Problem not_found, not_allowed, upload_closed or
    invalid.
    """
    upload = await _awaiting_bytes(db, caller=caller, upload_id=upload_id)
    if not 1 <= len(numbers) <= rules.URLS_PER_CALL or rules.part_count(upload.size_bytes) == 1:
        raise Problem("invalid", f"Name 1 to {rules.URLS_PER_CALL} parts of a file over {rules.PART_SIZE} bytes")
    sizes = [rules.part_length(upload.size_bytes, number) for number in numbers]
    multipart_id = upload.multipart_id or await _begin_parts(db, storage, caller, upload, now=now)
    return [
        PartUrl(
            number,
            storage.sign_part(
                bucket=upload.bucket, key=upload.key, multipart_id=multipart_id, number=number, size=size
            ),
        )
        for number, size in zip(numbers, sizes, strict=True)
    ]


async def received(storage: Storage, upload: Upload) -> list[int]:
    """The parts of an upload that have arrived and are never sent again."""
    count = rules.part_count(upload.size_bytes)
    if count == 1:
        return []
    if upload.state not in rules.AWAITING_BYTES:
        return list(range(1, count + 1)) if upload.version_id or upload.state == "stored" else []
    return rules.received_parts(upload.size_bytes, _sizes(await _parts(storage, upload)))


async def complete(db: Database, storage: Storage, *, caller: Caller, upload_id: UUID, now: datetime) -> Upload:
    """Join the parts of a file once all have arrived; completing again gives the same answer.

    Raises Problem not_found, not_allowed, upload_closed, or upload_incomplete, which names the parts to send. When S3
    has lost the multipart upload these are all of them.
    """
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if upload.created_by != caller.person_id:
        raise Problem("not_allowed")
    if upload.state in rules.ENDS - {"ready"}:
        raise Problem("upload_closed")
    if upload.state not in rules.AWAITING_BYTES:
        return upload
    missing = await _join(storage, upload)
    async with db.transaction(_scope(caller)) as tx:
        if missing is None:
            check_at = rules.next_check("stored", redrives=0, now=now)
            stored = await store.stored(tx, upload_id, now=now, check_at=check_at)
            if stored is not None:
                await tx.announce([events.news(events.CHANGED, stored)])
        elif upload.multipart_id and len(missing) == rules.part_count(upload.size_bytes):
            await store.forget_parts(tx, upload_id, upload.multipart_id)
    if missing is not None:
        raise Problem("upload_incomplete", missing_parts=missing)
    return await get_upload(db, caller=caller, upload_id=upload_id)


async def _awaiting_bytes(db: Database, *, caller: Caller, upload_id: UUID) -> Upload:
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if upload.created_by != caller.person_id:
        raise Problem("not_allowed")
    if upload.state not in rules.AWAITING_BYTES:
        raise Problem("upload_closed")
    return upload


async def _begin_parts(db: Database, storage: Storage, caller: Caller, upload: Upload, *, now: datetime) -> str:
    begun = await storage.begin_multipart(bucket=upload.bucket, key=upload.key, content_type=upload.content_type)
    check_at = rules.next_check("receiving", redrives=0, now=now)
    async with db.transaction(_scope(caller)) as tx:
        bound = await store.begin_parts(tx, upload.upload_id, begun, now=now, check_at=check_at)
        if bound is not None:
            await tx.announce([events.news(events.CHANGED, bound)])
            return begun
    # Another call was faster, or the upload has ended meanwhile; what nobody will use is given back at once.
    await storage.abort_multipart(bucket=upload.bucket, key=upload.key, multipart_id=begun)
    winner = await _awaiting_bytes(db, caller=caller, upload_id=upload.upload_id)
    if winner.multipart_id is None:
        raise Problem("unavailable")
    return winner.multipart_id


async def _parts(storage: Storage, upload: Upload) -> dict[int, StoredPart] | None:
    if upload.multipart_id is None:
        return {}
    return await storage.list_parts(bucket=upload.bucket, key=upload.key, multipart_id=upload.multipart_id)


def _sizes(parts: Mapping[int, StoredPart] | None) -> dict[int, int]:
    return {number: part.size for number, part in (parts or {}).items()}


async def _join(storage: Storage, upload: Upload) -> list[int] | None:
    """Make the object of its parts; None when it stands, else the parts that are missing."""
    parts = await _parts(storage, upload)
    every = list(range(1, rules.part_count(upload.size_bytes) + 1))
    if upload.multipart_id is not None and parts is not None:
        arrived = rules.received_parts(upload.size_bytes, _sizes(parts))
        if arrived != every:
            return sorted(set(every) - set(arrived))
        if await storage.complete_multipart(
            bucket=upload.bucket,
            key=upload.key,
            multipart_id=upload.multipart_id,
            parts={number: parts[number] for number in every},
        ):
            return None
    # No parts (any more): perhaps somebody else has joined them, or the whole came in one piece.
    held = await storage.head(bucket=upload.bucket, key=upload.key)
    return None if held is not None else every


async def get_upload(db: Database, *, caller: Caller, upload_id: UUID) -> Upload:
    """One upload that the caller may see.

    Raises Problem not_found.
    """
    async with db.transaction(_scope(caller)) as tx:
        found = await store.by_ids(tx, [upload_id])
    if not found:
        raise Problem("not_found")
    return found[0]


async def list_uploads(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID | None,
    state: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Upload]:
    """Uploads that the caller may see, newest first."""
    async with db.transaction(_scope(caller)) as tx:
        return await store.page(tx, project_id=project_id, state=state, after=after, limit=limit)


async def cancel(db: Database, storage: Storage, *, caller: Caller, upload_id: UUID, now: datetime) -> Upload:
    """Cancel one's own upload while it still awaits bytes; cancelling again gives the same answer.

    Raises Problem not_found, not_allowed or upload_closed.
    """
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if upload.created_by != caller.person_id:
        raise Problem("not_allowed")
    async with db.transaction(_scope(caller)) as tx:
        cancelled = await store.cancel(tx, upload_id, now=now)
        if cancelled is not None:
            await tx.announce([events.news(events.CHANGED, cancelled)])
    if cancelled is not None:
        await _give_up_parts(storage, cancelled)
        return cancelled
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if upload.state != "cancelled":
        raise Problem("upload_closed")
    return upload


async def learn(
    db: Database, *, bucket: str, place: Place, facts: dict[str, Any], on_ready: OnReady, now: datetime
) -> Upload | None:
    """Add what a function or S3 said of one version of an object, and announce what changed.

    Late, repeated and unordered facts change nothing. A fact about another version than the one we hold is dropped:
    verdict, hash and previews are all bound to one version. None for an upload that we don't know. Raises ValueError
    for pictures that are not this upload's own.
    """
    async with db.transaction(Scope(place.tenant_id, None, f"fact:{place.upload_id}")) as tx:
        upload = await store.lock(tx, place.upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, place.key):
            _log.warning("fact_without_upload", key=place.key)
            return None
        if upload.version_id not in (None, facts["version_id"]):
            _log.warning("fact_of_other_version", key=place.key, version_id=facts["version_id"])
            return upload
        rules.check_pictures(upload, **facts)
        return await _become(tx, upload, facts, on_ready=on_ready, now=now)


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
    if held is None and seen.multipart_id and await _join(storage, seen) is None:
        held = await storage.head(bucket=seen.bucket, key=seen.key)  # all there, and the phone was gone
    queue = wiring.queue_name(_step(seen), seen.lane)
    idle = queue in queues and await backlog(queue) == 0
    async with db.transaction(scope) as tx:
        upload = await store.lock(tx, upload_id)
        if upload is None or upload.state in rules.ENDS:
            return
        if held is None:
            if now - upload.created_at > rules.IDLE_LIFE:
                await _end(tx, upload, "expired", "never_arrived", now=now)
                await _give_up_parts(storage, upload)
            else:
                await _look_later(tx, upload, now=now)
            return
        if upload.version_id is None:
            upload = await _become(tx, upload, {"version_id": held.version_id}, on_ready=on_ready, now=now)
        if upload.redrives >= rules.MAX_REDRIVES:
            await _end(tx, upload, "failed", "processing_failed", now=now)
            return
        if idle:
            _log.info("upload_redriven", upload_id=str(upload_id), state=upload.state, redrives=upload.redrives)
            await tx.announce([_redrive(upload, size=held.size, etag=held.etag)])
        await _look_later(tx, upload, now=now, counts=idle)


async def _give_up_parts(storage: Storage, upload: Upload) -> None:
    if upload.multipart_id:
        await storage.abort_multipart(bucket=upload.bucket, key=upload.key, multipart_id=upload.multipart_id)


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


async def _end(tx: Transaction, upload: Upload, state: rules.State, reason: str, *, now: datetime) -> None:
    ended = msgspec.structs.replace(upload, state=state, reason=reason, updated_at=now)
    await store.save(tx, ended, now=now, check_at=None)
    await tx.announce([events.news(events.CHANGED, ended)])


async def _become(
    tx: Transaction, upload: Upload, facts: dict[str, Any], *, on_ready: OnReady, now: datetime
) -> Upload:
    after = rules.learn(upload, **facts)
    if after is upload:
        return upload
    after = msgspec.structs.replace(after, updated_at=now, redrives=0)
    check_at = rules.next_check(after.state, redrives=after.redrives, now=now)
    await store.save(tx, after, now=now, check_at=check_at)
    if after.state != upload.state:
        await tx.announce([events.news(events.CHANGED, after)])
        if after.state == "ready":
            await on_ready(tx, ready_file(after))
    return after


async def _insert(tx: Transaction, new: Sequence[NewUpload], *, project_id: UUID, bucket: str) -> list[Upload]:
    if not new:
        return []
    busy = len(new) > rules.BUSY_TENANT or await store.is_busy(tx, rules.BUSY_TENANT)
    lane = "bulk" if busy else "live"
    new = sorted(new, key=lambda n: n.upload_id)  # in one order everywhere, so that two calls never deadlock
    keys = [Place(lane, tx.tenant_id, n.upload_id).key for n in new]
    return await store.insert(tx, new, project_id=project_id, bucket=bucket, lane=lane, keys=keys)


def _problem(new: NewUpload) -> Problem | None:
    try:
        rules.check_new(new)
    except Problem as problem:
        return problem
    return None


def _with_urls(storage: Storage, opened: list[Opened]) -> list[Opened]:
    waiting = [
        i
        for i, o in enumerate(opened)
        if o.upload and o.upload.state in rules.AWAITING_BYTES and rules.part_count(o.upload.size_bytes) == 1
    ]
    for i in waiting[: rules.URLS_PER_BATCH]:
        upload = opened[i].upload
        assert upload is not None  # noqa: S101 - chosen so, one line above
        opened[i] = msgspec.structs.replace(opened[i], put=_sign(storage, upload))
    return opened


def _sign(storage: Storage, upload: Upload) -> SignedUrl:
    return storage.sign_write(
        bucket=upload.bucket,
        key=upload.key,
        size=upload.size_bytes,
        content_type=upload.content_type,
        sha256=upload.sha256,
    )


def _scope(caller: Caller) -> Scope:
    return Scope(caller.tenant_id, caller.person_id, caller.request_id)
