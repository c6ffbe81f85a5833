"""Having a step done again for files that are ready: scanned with newer signatures, read by newer code."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer import facts as f
from buildpeer import wiring
from buildpeer.modules.uploads import store
from buildpeer.modules.uploads.service.sweeping import Backlog
from buildpeer.modules.uploads.store import ReadyBytes
from buildpeer.platform.db import Database
from buildpeer.platform.messaging import SQS_BATCH, Queues

Again = Literal["scan"] | f.Renewal
MOST_WAITING = 100  # messages in the queue; what the house does anyway must not stand behind thousands
LOOK_AGAIN_S = 1.0
_FIRST = UUID(int=0)


class Asked(msgspec.Struct, frozen=True):
    """How far it is: files asked for so far, and where to go on."""

    count: int
    last: tuple[UUID, UUID]


async def do_again(
    db: Database,
    queues: Queues,
    *,
    step: Again,
    kind: str | None,
    since: datetime,
    rate: float,
    after: tuple[UUID, UUID] = (_FIRST, _FIRST),
) -> AsyncIterator[Asked]:
    """Ask for a step to be done again, file by file, `rate` a second at most, and never more than the queue works off.

    Goes through the bulk lane in the order of ids, and tells after every few files how far it is: whoever goes on from
    there leaves none out. A file that was asked for twice is only done twice.
    """
    queue = wiring.queue_name(wiring.SCAN if step == "scan" else wiring.DERIVE, "bulk")
    count = 0
    while page := await store.ready_after(db, after, SQS_BATCH, kind=kind, since=since):
        await _room(queues.backlog, queue)
        taken = await queues.send(queue, [msgspec.json.encode(_wanted(step, each)).decode() for each in page])
        reached = next((n for n in range(len(page)) if n not in taken), len(page))  # the rest again, in order
        if reached:
            count, after = count + reached, (page[reached - 1].tenant_id, page[reached - 1].upload_id)
        yield Asked(count, after)
        await asyncio.sleep(len(page) / rate)


async def _room(backlog: Backlog, queue: str) -> None:
    while await backlog(queue) > MOST_WAITING:  # noqa: ASYNC110 - nobody tells when a queue empties
        await asyncio.sleep(LOOK_AGAIN_S)


def _wanted(step: Again, ready: ReadyBytes) -> dict[str, object]:
    bucket, thing = f.Bucket(ready.bucket), f.Object(ready.key, ready.size_bytes, version_id=ready.version_id)
    if step == "scan":
        return f.event(f.SOURCE_UPLOADS, f.RESCAN_WANTED, f.RescanWanted(bucket, thing))
    return f.event(f.SOURCE_UPLOADS, f.DERIVE_WANTED, f.DeriveWanted(bucket, thing, renews=step))
