"""Opening uploads, looking at them and calling them off."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer import layout
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads import events, rules, store
from buildpeer.modules.uploads.rules import NewUpload, Place, Upload
from buildpeer.modules.uploads.service.joining import give_up
from buildpeer.modules.uploads.service.linking import OnLinked, link_known
from buildpeer.modules.uploads.service.receiving import ChunkUrl, get_upload, sign, sign_chunk
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.storage import SignedUrl, Storage


class Opened(msgspec.Struct, frozen=True):
    """What one item of a batch came to."""

    upload_id: UUID
    verdict: Literal["opened", "known", "duplicate", "conflict", "rejected"]
    upload: Upload | None = None
    put: SignedUrl | None = None
    chunks: Sequence[ChunkUrl] = ()
    problem: Problem | None = None


async def open_uploads(
    db: Database,
    storage: Storage,
    *,
    caller: Caller,
    project_id: UUID,
    bucket: str,
    wanted: Sequence[NewUpload],
    on_linked: OnLinked,
    now: datetime,
    chunk_length: int = 0,
) -> list[Opened]:
    """Open up to MAX_BATCH uploads in one transaction, each with a verdict of its own, in the order asked.

    Idempotent by upload id: the same id, caller and content give the same answer again, anything else `conflict`.
    Content that the caller may read already is linked to, and ends as `duplicate`. What the company's storage takes no
    more is rejected; smaller files after it may still fit. So is what it may open no more today (UTC), and if that is
    everything, the call.
    The first URLS_PER_BATCH that await bytes come with a write URL. With a `chunk_length` in bytes, files longer than
    that come with those of their first chunks: up to CHUNKS_PER_FILE each, URLS_PER_BATCH together; such a file is
    `receiving` from then on. Raises Problem not_found, not_allowed, too_many_uploads_today.
    """
    refused = [_problem(new) for new in wanted]
    good = [new for new, problem in zip(wanted, refused, strict=True) if problem is None]
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "files", "standard")
        full = await _without_room(tx, good)
        fitting = [new for new in good if new.upload_id not in full]
        fresh = await _insert(tx, fitting, project_id=project_id, bucket=bucket)
        await tx.announce(events.news(events.OPENED, upload) for upload in fresh)
        await link_known(tx, fresh, on_linked=on_linked)
        known = {upload.upload_id: upload for upload in await store.by_ids(tx, [n.upload_id for n in good])}
        refused = [problem or full.get(new.upload_id) for new, problem in zip(wanted, refused, strict=True)]
        opened = _verdicts(wanted, refused, fresh, known, project_id=project_id, person_id=caller.person_id)
        chunks = await _begin_chunks(tx, opened, chunk_length, now=now) if chunk_length else {}
    return _with_urls(storage, opened, chunks)


async def storage_of(db: Database, *, caller: Caller) -> rules.Storage:
    """What the caller's company stores, and may.

    Raises Problem not_found for who has nothing to do with the company's affairs.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "read")
        return await store.storage(tx)


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
    async with db.transaction(caller.scope) as tx:
        return await store.page(tx, project_id=project_id, state=state, after=after, limit=limit)


async def cancel(db: Database, storage: Storage, *, caller: Caller, upload_id: UUID, now: datetime) -> Upload:
    """Cancel one's own upload while it still awaits bytes; cancelling again gives the same answer.

    Raises Problem not_found, not_allowed or upload_closed.
    """
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if upload.created_by != caller.person_id:
        raise Problem("not_allowed")
    async with db.transaction(caller.scope) as tx:
        cancelled = await store.cancel(tx, upload_id, now=now)
        if cancelled is not None:
            await tx.announce([events.news(events.CHANGED, cancelled)])
    if cancelled is not None:
        await give_up(storage, cancelled)
        return cancelled
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if upload.state != "cancelled":
        raise Problem("upload_closed")
    return upload


async def _without_room(tx: Transaction, new: Sequence[NewUpload]) -> dict[UUID, Problem]:
    """Those for which the company has no room any more, and why.

    Raises Problem too_many_uploads_today if that is so for all of them.
    """
    room = await store.room_left(tx)
    if room.bytes is None and room.uploads is None:
        return {}
    refused = rules.fit(room, new, {upload.upload_id for upload in await store.by_ids(tx, [n.upload_id for n in new])})
    if new and all(n.upload_id in refused and refused[n.upload_id].code == "too_many_uploads_today" for n in new):
        raise refused[new[0].upload_id]
    return refused


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


def _verdicts(
    wanted: Sequence[NewUpload],
    refused: Sequence[Problem | None],
    fresh: Sequence[Upload],
    known: Mapping[UUID, Upload],
    *,
    project_id: UUID,
    person_id: UUID,
) -> list[Opened]:
    unanswered = {upload.upload_id for upload in fresh}
    opened: list[Opened] = []
    for new, problem in zip(wanted, refused, strict=True):
        upload = known.get(new.upload_id)
        if problem is not None:
            opened.append(Opened(new.upload_id, "rejected", problem=problem))
        elif upload is None or not rules.same_content(upload, new, project_id=project_id, person_id=person_id):
            opened.append(Opened(new.upload_id, "conflict", problem=Problem("upload_conflict")))
        else:
            first = "duplicate" if upload.state == "duplicate" else "opened"
            verdict = first if new.upload_id in unanswered else "known"
            unanswered.discard(new.upload_id)
            opened.append(Opened(new.upload_id, verdict, upload))
    return opened


async def _begin_chunks(
    tx: Transaction, opened: list[Opened], length: int, *, now: datetime
) -> dict[UUID, list[layout.Range]]:
    """Choose the chunks that get their URLs at once, and note that they are on their way, as if asked for later."""
    left, chosen, states = rules.URLS_PER_BATCH, dict[UUID, list[layout.Range]](), dict[UUID, str]()
    for upload in (each.upload for each in opened):
        if upload and upload.state in rules.AWAITING_BYTES and upload.size_bytes > length and left:
            most = min(rules.CHUNKS_PER_FILE, left)
            chosen[upload.upload_id] = layout.first_chunks(upload.size_bytes, length, most)
            states[upload.upload_id] = upload.state
            left = rules.URLS_PER_BATCH - sum(map(len, chosen.values()))
    for upload_id in sorted(chosen):  # in one order everywhere, so that two calls never deadlock
        check_at = rules.next_look(now, now=now)
        touched = await store.touch(tx, upload_id, receiving=True, now=now, check_at=check_at)
        if touched is None:  # it has ended this very moment
            del chosen[upload_id]
            continue
        if touched.state != states[upload_id]:
            await tx.announce([events.news(events.CHANGED, touched)])
        for i, each in enumerate(opened):
            if each.upload and each.upload_id == upload_id:
                opened[i] = msgspec.structs.replace(each, upload=touched)
    return chosen


def _with_urls(storage: Storage, opened: list[Opened], chunks: Mapping[UUID, Sequence[layout.Range]]) -> list[Opened]:
    waiting = [
        i
        for i, o in enumerate(opened)
        if o.upload and o.upload.state in rules.AWAITING_BYTES and layout.part_count(o.upload.size_bytes) == 1
    ]
    for i in waiting[: rules.URLS_PER_BATCH]:
        upload = opened[i].upload
        assert upload is not None  # noqa: S101 - chosen so, one line above
        opened[i] = msgspec.structs.replace(opened[i], put=sign(storage, upload))
    for i, each in enumerate(opened):
        if each.upload and each.upload_id in chunks:
            signed = [sign_chunk(storage, each.upload, chunk) for chunk in chunks[each.upload_id]]
            opened[i] = msgspec.structs.replace(each, chunks=signed)
    return opened
