"""Following the event log, and filling it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec
import structlog

from buildpeer.modules.notifications import store
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.errors import Problem
from buildpeer.platform.messaging import SQS_BATCH, Queues
from buildpeer.platform.realtime import Wakeups

LOG_LIFE = timedelta(days=7)
STREAM_LIFE_S = 600.0  # a stream ends by itself, so that a deployment or a lost right never waits for one
PING_S = 15.0
STREAMS_PER_PERSON = 10  # in one process; a person has a few devices with a few pages open
MESSAGES_AT_ONCE = 100
_PAGE = 200
_log = structlog.get_logger()


class Event(msgspec.Struct, frozen=True):
    """Something that happened, at its place in the log."""

    position: int
    type: str
    project_id: UUID
    occurred_at: datetime
    body: dict[str, Any]


class Nothing(msgspec.Struct, frozen=True):
    """No news; everything up to `position` has been told."""

    position: int


class Reset(msgspec.Struct, frozen=True):
    """The log no longer reaches back to where the reader was: read the lists anew, then follow from `position`."""

    position: int


async def begin(db: Database, wakeups: Wakeups, *, caller: Caller, after: int | None) -> int:
    """The position at which a stream begins: `after`, or the newest one.

    Raises Problem session_ended for somebody who is no member (any more), or too_many_streams.
    """
    if wakeups.streams_of(caller.person_id) >= STREAMS_PER_PERSON:
        raise Problem("too_many_streams")
    async with db.transaction(_scope(caller)) as tx:
        [row, *_] = await store.after(tx, after or 0, 1)
    if row["role"] is None:
        raise Problem("session_ended")
    return row["head"] if after is None else after


async def follow(
    db: Database, wakeups: Wakeups, *, caller: Caller, position: int
) -> AsyncIterator[Event | Nothing | Reset]:
    """Events that the caller may see, after a position, as they come, for STREAM_LIFE_S.

    Nothing is left out and nothing comes twice within a stream. It holds no database connection while it waits, and
    ends at once when the caller is no longer a member of the tenant or the process is about to stop.
    """
    ends_at = time.monotonic() + STREAM_LIFE_S
    with wakeups.listen(caller.tenant_id, caller.person_id) as news:
        yield Nothing(position)
        while time.monotonic() < ends_at and not wakeups.stopping:
            news.clear()
            rows = await _read(db, caller, position)
            if rows[0]["role"] is None:
                return
            if not rows[0]["pruned"] <= position <= rows[0]["head"]:
                position = rows[0]["head"]
                yield Reset(position)
                continue
            found = [row for row in rows if row["position"] is not None]
            for row in found:
                yield Event(row["position"], row["type"], row["project_id"], row["occurred_at"], row["body"])
            if len(found) == _PAGE:
                position = found[-1]["position"]
                continue
            position = max(position, rows[0]["head"])
            if not await _woken(news):
                yield Nothing(position)


async def relay_log(db: Database, wakeups: Wakeups) -> int:
    """Number what committed transactions have announced, and wake the screens; returns how many tenants have news."""
    async with db.across_tenants() as tx:
        news = await store.relay_log(tx, 1000)
    await wakeups.publish(row["tenant_id"] for row in news)
    return len(news)


async def relay_messages(db: Database, queues: Queues) -> int:
    """Send the messages of committed transactions to their queues; returns how many were taken.

    A message is forgotten only once its queue has taken it, so a crash in between sends it twice, never not at all.
    """
    async with db.across_tenants() as tx:
        waiting = await store.messages(tx, MESSAGES_AT_ONCE)
        sent = [await _send(queues, queue, batch) for queue, batch in _batches(waiting)]
        taken = [outbox_id for ids in sent for outbox_id in ids]
        if taken:
            await store.relayed(tx, taken)
    return len(taken)


def _batches(waiting: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    by_queue = groupby(sorted(waiting, key=lambda m: m["destination"]), lambda m: m["destination"])
    for queue, group in by_queue:
        messages = list(group)
        for start in range(0, len(messages), SQS_BATCH):
            yield queue, messages[start : start + SQS_BATCH]


async def _send(queues: Queues, queue: str, batch: list[Any]) -> list[int]:
    """The ids of those that the queue took; one queue that is away holds no other up."""
    try:
        taken = await queues.send(queue, [msgspec.json.encode(message["body"]).decode() for message in batch])
    except Exception:
        _log.exception("relay_failed", queue=queue)
        return []
    return [batch[i]["outbox_id"] for i in taken]


async def prune(db: Database) -> None:
    """Throw away log entries that nobody will ask for."""
    async with db.across_tenants() as tx:
        await store.prune(tx, LOG_LIFE)


async def _read(db: Database, caller: Caller, position: int) -> list[Any]:
    async with db.transaction(_scope(caller)) as tx:
        return await store.after(tx, position, _PAGE)


async def _woken(news: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(PING_S):
            await news.wait()
    except TimeoutError:
        return False
    return True


def _scope(caller: Caller) -> Scope:
    return Scope(caller.tenant_id, caller.person_id, caller.request_id)
