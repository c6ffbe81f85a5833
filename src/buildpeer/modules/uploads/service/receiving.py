"""How an upload's bytes arrive: write URLs, what is there already, and the joining of the whole."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.uploads import events, rules, store
from buildpeer.modules.uploads.rules import Upload
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.storage import SignedUrl, Storage, StoredPart


class PartUrl(msgspec.Struct, frozen=True):
    """Where one part of a file goes."""

    part_number: int
    put: SignedUrl


async def get_upload(db: Database, *, caller: Caller, upload_id: UUID) -> Upload:
    """One upload that the caller may see.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        found = await store.by_ids(tx, [upload_id])
    if not found:
        raise Problem("not_found")
    return found[0]


async def sign_whole(db: Database, storage: Storage, *, caller: Caller, upload_id: UUID) -> SignedUrl:
    """A fresh write URL for the whole of a file of one part.

    Raises Problem not_found, not_allowed (only the uploader gets one), upload_closed or invalid.
    """
    upload = await _awaiting_bytes(db, caller=caller, upload_id=upload_id)
    if rules.part_count(upload.size_bytes) > 1:
        raise Problem("invalid", "This file travels in parts; name those that you want to send")
    return sign(storage, upload)


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
    missing = await join(storage, upload)
    async with db.transaction(caller.scope) as tx:
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
    async with db.transaction(caller.scope) as tx:
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


async def join(storage: Storage, upload: Upload) -> list[int] | None:
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


async def give_up_parts(storage: Storage, upload: Upload) -> None:
    """Free what S3 holds of an upload that will never be whole."""
    if upload.multipart_id:
        await storage.abort_multipart(bucket=upload.bucket, key=upload.key, multipart_id=upload.multipart_id)


def sign(storage: Storage, upload: Upload) -> SignedUrl:
    """A write URL for the whole of a file."""
    return storage.sign_write(
        bucket=upload.bucket,
        key=upload.key,
        size=upload.size_bytes,
        content_type=upload.content_type,
        sha256=upload.sha256,
    )
