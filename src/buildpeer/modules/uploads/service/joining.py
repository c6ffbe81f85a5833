"""How pieces become a whole: what S3 holds of an upload, and the next thing to do about it."""

from datetime import datetime
from functools import cached_property

import msgspec
import structlog

from buildpeer import facts as f
from buildpeer import layout, wiring
from buildpeer.layout import Range
from buildpeer.modules.uploads import events, rules, store
from buildpeer.modules.uploads.rules import Place, Upload
from buildpeer.modules.uploads.service.settling import end
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.errors import Problem
from buildpeer.platform.messaging import Outgoing
from buildpeer.platform.storage import Storage, StoredObject, StoredPart

_log = structlog.get_logger()


class Held(msgspec.Struct, frozen=True, dict=True):
    """What S3 holds of an upload; `parts` is None when S3 has lost its multipart upload."""

    size_bytes: int
    whole: StoredObject | None
    parts: dict[int, StoredPart] | None
    chunks: dict[str, Range]
    newest: datetime | None  # of parts and chunks

    @cached_property
    def standing(self) -> dict[int, Range]:
        """The parts that need no joining."""
        return rules.standing_parts(self.size_bytes, {n: part.size for n, part in (self.parts or {}).items()})

    @cached_property
    def ranges(self) -> list[Range]:
        """The bytes that have arrived, merged."""
        if self.whole is not None:
            return [Range(0, self.size_bytes)]
        return layout.merged([*self.standing.values(), *self.chunks.values()])

    @cached_property
    def missing(self) -> list[Range]:
        """The bytes that have not arrived."""
        return layout.missing(self.size_bytes, self.ranges)


async def look(storage: Storage, upload: Upload) -> Held:
    """Ask S3 what it holds of an upload.

    Chunks are deleted once their part stands, and parts are gone once the object stands; asked in this order, bytes
    on their way from one to the next are seen at least once.
    """
    if upload.version_id is not None or upload.state == "requested":  # no pieces any more, or not yet
        whole = await storage.head(bucket=upload.bucket, key=upload.key)
        return Held(upload.size_bytes, whole, {}, {}, None)
    listed = await storage.list_objects(bucket=storage.chunks_bucket, prefix=layout.chunks_prefix(upload.key))
    parts: dict[int, StoredPart] | None = {}
    if upload.multipart_id is not None:
        parts = await storage.list_parts(bucket=upload.bucket, key=upload.key, multipart_id=upload.multipart_id)
    whole = await storage.head(bucket=upload.bucket, key=upload.key)
    placed = ((each, layout.chunk_of(upload.key, upload.size_bytes, each.key)) for each in listed)
    times = [each.modified for each in listed] + [part.modified for part in (parts or {}).values()]
    return Held(
        upload.size_bytes,
        whole,
        parts,
        {each.key: chunk for each, chunk in placed if chunk and chunk.length == each.size},
        max(times, default=None),
    )


async def advance(
    db: Database, storage: Storage, *, scope: Scope, upload: Upload, held: Held, now: datetime, ask: bool = True
) -> Held:
    """Do the next thing towards the whole: complete the object, or ask for the parts to be joined of their chunks.

    `ask`: whether to ask again for parts that were asked for before. An upload of which S3 has lost bytes takes them
    anew. Repeating it is harmless. Returns what S3 holds then; raises Problem upload_closed when the upload has ended
    meanwhile.
    """
    if held.whole is None and held.parts and len(held.standing) == layout.part_count(upload.size_bytes):
        await _complete(storage, upload, held.parts)
        held = await look(storage, upload)  # somebody else may have been faster, or S3 have lost it
    if held.missing:
        await _reopen(db, scope, upload, held, now=now)
        return held
    wanted: list[Outgoing] = []
    if held.whole is None:
        multipart_id = await _multipart_for_chunks(db, storage, scope, upload, held)
        every = range(1, layout.part_count(upload.size_bytes) + 1)
        wanted = [_wanted(upload, number, multipart_id) for number in every if number not in held.standing]
    async with db.transaction(scope) as tx:
        check_at = rules.next_check("stored", redrives=0, now=now)
        stored = await store.stored(tx, upload.upload_id, now=now, check_at=check_at)
        if stored is not None:
            await tx.announce([events.news(events.CHANGED, stored)])
        if stored is not None or (ask and upload.state == "stored"):
            await tx.announce(wanted)
    if held.whole is not None:
        await storage.delete_objects(bucket=storage.chunks_bucket, keys=list(held.chunks))
    return held


async def part_assembled(
    db: Database, storage: Storage, *, bucket: str, place: Place, outcome: f.Assembly, now: datetime
) -> None:
    """Carry an upload on when a part of it was joined, or end it when its chunks contradict each other.

    S3 is asked what there is; the message only says that it is worth asking.
    """
    scope = Scope(place.tenant_id, None, f"fact:{place.upload_id}")
    async with db.transaction(scope) as tx:
        found = await store.by_ids(tx, [place.upload_id])
    if not found or (found[0].bucket, found[0].key) != (bucket, place.key):
        _log.warning("fact_without_upload", key=place.key)
        return
    [upload] = found
    if upload.state in rules.ENDS or upload.version_id is not None:
        return
    held = await look(storage, upload)
    if outcome != "differ" or held.whole is not None:
        await advance(db, storage, scope=scope, upload=upload, held=held, now=now, ask=False)
        return
    async with db.transaction(scope) as tx:
        locked = await store.lock(tx, upload.upload_id)
        if locked is None or locked.state in rules.ENDS or locked.version_id is not None:
            return
        await end(tx, locked, "mismatched", "chunks_differ", now=now)
    await give_up(storage, locked)


async def begin_multipart(db: Database, storage: Storage, *, scope: Scope, upload: Upload) -> str:
    """A new multipart upload for a file of several parts, instead of none or of one that S3 has lost.

    When somebody was faster it is theirs. Raises Problem upload_closed when the upload takes no more bytes.
    """
    lost = upload.multipart_id
    begun = await storage.begin_multipart(bucket=upload.bucket, key=upload.key, content_type=upload.content_type)
    async with db.transaction(scope) as tx:
        if await store.begin_parts(tx, upload.upload_id, begun, instead_of=lost) is not None:
            return begun
    # What nobody will use is given back at once.
    await storage.abort_multipart(bucket=upload.bucket, key=upload.key, multipart_id=begun)
    async with db.transaction(scope) as tx:
        found = await store.by_ids(tx, [upload.upload_id])
    if not found or found[0].multipart_id in (None, lost):
        raise Problem("upload_closed")
    return found[0].multipart_id or ""


async def give_up(storage: Storage, upload: Upload) -> None:
    """Free what S3 holds of an upload that will never be whole."""
    if upload.multipart_id:
        await storage.abort_multipart(bucket=upload.bucket, key=upload.key, multipart_id=upload.multipart_id)
    chunks = await storage.list_objects(bucket=storage.chunks_bucket, prefix=layout.chunks_prefix(upload.key))
    await storage.delete_objects(bucket=storage.chunks_bucket, keys=[chunk.key for chunk in chunks])


async def _complete(storage: Storage, upload: Upload, parts: dict[int, StoredPart]) -> None:
    every = range(1, layout.part_count(upload.size_bytes) + 1)
    await storage.complete_multipart(
        bucket=upload.bucket,
        key=upload.key,
        multipart_id=upload.multipart_id or "",
        parts={number: parts[number] for number in every},
    )


async def _reopen(db: Database, scope: Scope, upload: Upload, held: Held, *, now: datetime) -> None:
    if held.parts is not None and upload.state != "stored":
        return
    _log.warning("bytes_lost_by_s3", upload_id=str(upload.upload_id), missing=len(held.missing))
    multipart_id = None if held.parts is None else upload.multipart_id
    check_at = rules.next_look(now, now=now)
    async with db.transaction(scope) as tx:
        reopened = await store.reopen(tx, upload, multipart_id=multipart_id, now=now, check_at=check_at)
        if reopened is not None and upload.state == "stored":
            await tx.announce([events.news(events.CHANGED, reopened)])


async def _multipart_for_chunks(db: Database, storage: Storage, scope: Scope, upload: Upload, held: Held) -> str:
    if layout.part_count(upload.size_bytes) == 1:
        return ""
    if upload.multipart_id is not None and held.parts is not None:
        return upload.multipart_id
    return await begin_multipart(db, storage, scope=scope, upload=upload)


def _wanted(upload: Upload, number: int, multipart_id: str) -> Outgoing:
    fact = f.PartWanted(
        bucket=f.Bucket(upload.bucket),
        object=f.Object(upload.key, upload.size_bytes),
        part=number,
        multipart_id=multipart_id,
        content_type=upload.content_type,
    )
    queue = wiring.queue_name(wiring.ASSEMBLE, upload.lane)
    return Outgoing(queue, "assemble", f.event(f.SOURCE_UPLOADS, f.PART_WANTED, fact))
