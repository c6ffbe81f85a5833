"""Bytes that no row needs, and rows whose bytes are gone: found from both sides, deleted from one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from buildpeer import layout
from buildpeer.modules.uploads import rules, store
from buildpeer.modules.uploads.store import Erasure
from buildpeer.platform.db import Database
from buildpeer.platform.storage import WRITE_LIFE, Listed, Storage

Listing = Literal["version", "multipart", "object"]
OrphanKind = Literal["version", "multipart", "chunk", "picture", "document"]
PAGE = 500  # documents held against S3 at a time
HEADS_AT_ONCE = 8
NO_UPLOAD = "no upload"

_log = structlog.get_logger()
_NOTHING = UUID(int=0)


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes in S3 that no row needs, or (`document`) a document whose bytes S3 doesn't hold.

    `reason` is the state of the upload that the bytes came for. `version_id` is an upload's id for a multipart, whose
    `size` isn't known.
    """

    kind: OrphanKind
    bucket: str
    key: str
    version_id: str
    size: int
    reason: str


class Buckets(msgspec.Struct, frozen=True):
    """Where our bytes lie."""

    uploads: str
    chunks: str
    derived: str


class Looked(msgspec.Struct, frozen=True):
    """One step of the search: what it went through, and what it found there."""

    place: str
    count: int
    orphans: list[Orphan]


async def find_orphans(
    db: Database, storage: Storage, *, buckets: Buckets, older_than: datetime, now: datetime
) -> AsyncIterator[Looked]:
    """Walk through everything that S3 holds, a page at a time, for bytes that no row needs.

    Only keys of ours that S3 has had since before `older_than` are looked at. Nothing of an upload that is open, or
    whose write URLs may be alive, is an orphan.
    """
    for kind, listing, bucket in _places(buckets):
        async for page in storage.walk(listing, bucket=bucket):
            old = [each for each in page if each.modified < older_than]
            yield Looked(bucket, len(page), await _needless(db, kind, bucket, old, now=now))


async def find_bytes_gone(db: Database, storage: Storage) -> AsyncIterator[Looked]:
    """Walk through the documents of all tenants, a page at a time, for those whose version S3 doesn't hold."""
    last = (_NOTHING, _NOTHING)
    while page := await store.documents_after(db, last, PAGE):
        yield Looked("documents", len(page), await _without_bytes(storage, page))
        last = (page[-1].tenant_id, page[-1].document_id)


async def reap(db: Database, storage: Storage, orphans: Sequence[Orphan], *, now: datetime) -> list[Orphan]:
    """Remove bytes that no row needs, once more asking the database; returns those that are gone now.

    What is needless stays so: an upload that has ended is never opened again, and documents are linked only from
    documents. A document is never touched.
    """
    doomed = [(orphan, place) for orphan in orphans if (place := _place(orphan.kind, orphan)) is not None]
    needless = await store.needless(db, [place for _, place in doomed], ended_before=now - WRITE_LIFE)
    gone = [doomed[i][0] for i in needless]
    for orphan in gone:
        if orphan.kind == "multipart":
            await storage.abort_multipart(bucket=orphan.bucket, key=orphan.key, multipart_id=orphan.version_id)
        else:
            await storage.delete(bucket=orphan.bucket, key=orphan.key, version_id=orphan.version_id or None)
        _log.info("orphan_reaped", kind=orphan.kind, bucket=orphan.bucket, key=orphan.key, size_bytes=orphan.size)
    return gone


async def delete_erased(db: Database, storage: Storage, *, limit: int = 100) -> int:
    """Remove the versions and pictures that lost their last document; returns how many it looked at.

    The row that says what to do stays until it is done, so a crash only means doing it again, which is harmless.
    """
    due = await store.due_erasures(db, limit)
    places = asyncio.Semaphore(HEADS_AT_ONCE)

    async def one(erasure: Erasure) -> int | None:
        async with places:
            try:
                if not erasure.linked:
                    await _delete_bytes(storage, erasure)
            except Exception:  # it is due again in a minute, and must not hold the others up
                _log.exception("bytes_not_erased", bucket=erasure.bucket, key=erasure.key)
                return None
            return erasure.erasure_id

    done = await asyncio.gather(*(one(erasure) for erasure in due))
    await store.erased(db, [erasure_id for erasure_id in done if erasure_id is not None])
    return len(due)


async def _delete_bytes(storage: Storage, erasure: Erasure) -> None:
    rules.place_of(erasure.key)  # whatever a row says, only what lies under keys of ours is ever deleted
    await storage.delete(bucket=erasure.bucket, key=erasure.key, version_id=erasure.version_id)
    # beside the pictures that the row names lie those of pages, made since
    for bucket in {picture.bucket for picture in (erasure.thumbnail, erasure.preview) if picture is not None}:
        made = await storage.list_objects(bucket=bucket, prefix=f"{erasure.key}/{erasure.version_id}/")
        await storage.delete_objects(bucket=bucket, keys=[each.key for each in made])


def _places(buckets: Buckets) -> list[tuple[OrphanKind, Listing, str]]:
    return [
        ("version", "version", buckets.uploads),
        ("multipart", "multipart", buckets.uploads),
        ("chunk", "object", buckets.chunks),
        ("picture", "object", buckets.derived),
    ]


async def _needless(
    db: Database, kind: OrphanKind, bucket: str, page: Sequence[Listed], *, now: datetime
) -> list[Orphan]:
    ours = [(each, place) for each in page if (place := _place(kind, each)) is not None]
    needless = await store.needless(db, [place for _, place in ours], ended_before=now - WRITE_LIFE)
    return [
        Orphan(
            kind=kind,
            bucket=bucket,
            key=ours[i][0].key,
            version_id=ours[i][0].version_id,
            size=ours[i][0].size,
            reason=state or NO_UPLOAD,
        )
        for i, state in needless.items()
    ]


async def _without_bytes(storage: Storage, page: Sequence[store.HeldBytes]) -> list[Orphan]:
    places = asyncio.Semaphore(HEADS_AT_ONCE)

    async def held(document: store.HeldBytes) -> bool:
        async with places:
            return await storage.holds(bucket=document.bucket, key=document.key, version_id=document.version_id)

    found = await asyncio.gather(*(held(document) for document in page))
    return [
        Orphan(
            kind="document",
            bucket=document.bucket,
            key=document.key,
            version_id=document.version_id,
            size=document.size_bytes,
            reason="bytes gone",
        )
        for document, there in zip(page, found, strict=True)
        if not there
    ]


def _place(kind: OrphanKind, found: Listed | Orphan) -> tuple[str, UUID, UUID, str, str] | None:
    """Whom bytes concern: kind, tenant, upload, the key and the version of the original; None if not ours to judge."""
    try:
        if kind == "chunk":
            tenant_id, upload_id = layout.chunk_owner(found.key)
            return kind, tenant_id, upload_id, found.key, ""
        key, version_id = rules.pictured(found.key) if kind == "picture" else (found.key, found.version_id)
        place = rules.place_of(key)
    except ValueError:
        return None
    return None if kind == "document" else (kind, place.tenant_id, place.upload_id, key, version_id)
