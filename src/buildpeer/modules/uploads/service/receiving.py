"""How an upload's bytes arrive: write URLs, what is there already, and the sender's word that it is all."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer import layout
from buildpeer.layout import Range
from buildpeer.modules.uploads import events, rules, store
from buildpeer.modules.uploads.rules import Upload
from buildpeer.modules.uploads.service.joining import advance, begin_multipart, look
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.storage import SignedUrl, Storage


class PartUrl(msgspec.Struct, frozen=True):
    """Where one part of a file goes."""

    part_number: int
    put: SignedUrl


class ChunkUrl(msgspec.Struct, frozen=True):
    """Where one chunk of a file goes; `offset` in the file and `length` in bytes."""

    offset: int
    length: int
    put: SignedUrl


async def get_upload(db: Database, *, caller: Caller, upload_id: UUID) -> Upload:
    """One upload that the caller may see.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        return await _find(tx, upload_id)


async def sign_whole(db: Database, storage: Storage, *, caller: Caller, upload_id: UUID, now: datetime) -> SignedUrl:
    """A fresh write URL for the whole of a file of one part.

    Raises Problem not_found, not_allowed (only the uploader gets one), upload_closed or invalid.
    """
    async with db.transaction(caller.scope) as tx:
        upload = await _awaiting_bytes(tx, caller, upload_id)
        if layout.part_count(upload.size_bytes) > 1:
            raise Problem("invalid", "This file travels in parts or chunks; name those that you want to send")
        await _note_life(tx, upload, receiving=False, now=now)
    return sign(storage, upload)


async def sign_pieces(
    db: Database,
    storage: Storage,
    *,
    caller: Caller,
    upload_id: UUID,
    parts: Sequence[int],
    chunks: Sequence[Range],
    now: datetime,
) -> tuple[list[PartUrl], list[ChunkUrl]]:
    """Write URLs for parts and chunks of a file, together up to URLS_PER_CALL; the upload is `receiving` from then on.

    A part may be sent again until the file is complete, a chunk once. Raises Problem not_found, not_allowed,
    upload_closed or invalid.
    """
    async with db.transaction(caller.scope) as tx:
        upload = await _awaiting_bytes(tx, caller, upload_id)
        lengths = [piece.length for piece in rules.pieces(upload.size_bytes, parts, chunks)]
        await _note_life(tx, upload, receiving=True, now=now)
    multipart_id = upload.multipart_id or ""
    if parts and not multipart_id:
        multipart_id = await begin_multipart(db, storage, scope=caller.scope, upload=upload)
    place = {"bucket": upload.bucket, "key": upload.key, "multipart_id": multipart_id}
    part_urls = [
        PartUrl(number, storage.sign_part(**place, number=number, size=length))
        for number, length in zip(parts, lengths, strict=False)
    ]
    return part_urls, [sign_chunk(storage, upload, chunk) for chunk in chunks]


async def received(storage: Storage, upload: Upload) -> list[Range]:
    """The bytes of an upload that have arrived and are never sent again, as S3 says; of one that has ended, those of
    the file that came of it.
    """
    if upload.version_id or upload.state == "stored":
        return [Range(0, upload.size_bytes)]
    if upload.state not in rules.AWAITING_BYTES:
        return []
    return (await look(storage, upload)).ranges


async def complete(db: Database, storage: Storage, *, caller: Caller, upload_id: UUID, now: datetime) -> Upload:
    """Take the sender's word that every byte was sent, and have the whole made; again gives the same answer.

    Raises Problem not_found, not_allowed, upload_closed, or upload_incomplete, which names the `missing` ranges. When
    S3 has lost the multipart upload these are what its parts held.
    """
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if upload.created_by != caller.person_id:
        raise Problem("not_allowed")
    if upload.state in rules.ENDS - {"ready"}:
        raise Problem("upload_closed")
    if upload.state not in rules.AWAITING_BYTES:
        return upload
    held = await look(storage, upload)
    held = await advance(db, storage, scope=caller.scope, upload=upload, held=held, now=now)
    upload = await get_upload(db, caller=caller, upload_id=upload_id)
    if held.missing and upload.state in rules.AWAITING_BYTES:
        raise Problem("upload_incomplete", missing=held.missing)
    return upload


def sign(storage: Storage, upload: Upload) -> SignedUrl:
    """A write URL for the whole of a file."""
    return storage.sign_write(
        bucket=upload.bucket,
        key=upload.key,
        size=upload.size_bytes,
        content_type=upload.content_type,
        sha256=upload.sha256,
    )


def sign_chunk(storage: Storage, upload: Upload, chunk: Range) -> ChunkUrl:
    """A write URL for a chunk of a file."""
    key = layout.chunk_key(upload.key, chunk)
    put = storage.sign_chunk(bucket=storage.chunks_bucket, key=key, size=chunk.length)
    return ChunkUrl(chunk.offset, chunk.length, put)


async def _find(tx: Transaction, upload_id: UUID) -> Upload:
    found = await store.by_ids(tx, [upload_id])
    if not found:
        raise Problem("not_found")
    return found[0]


async def _awaiting_bytes(tx: Transaction, caller: Caller, upload_id: UUID) -> Upload:
    upload = await _find(tx, upload_id)
    if upload.created_by != caller.person_id:
        raise Problem("not_allowed")
    if upload.state not in rules.AWAITING_BYTES:
        raise Problem("upload_closed")
    return upload


async def _note_life(tx: Transaction, upload: Upload, *, receiving: bool, now: datetime) -> None:
    check_at = rules.next_look(now, now=now)
    touched = await store.touch(tx, upload.upload_id, receiving=receiving, now=now, check_at=check_at)
    if touched is None:
        raise Problem("upload_closed")
    if touched.state != upload.state:
        await tx.announce([events.news(events.CHANGED, touched)])
