"""Following the event log, and filling it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec
import structlog

from buildpeer.modules.notifications import rules, store
from buildpeer.modules.notifications.store import Event, Sight
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.mail import Letter, Mailer, MailRefused
from buildpeer.platform.messaging import SQS_BATCH, Queues
from buildpeer.platform.realtime import Wakeups

LOG_LIFE = timedelta(days=7)
STREAM_LIFE_S = 600.0  # a stream ends by itself, so that a deployment or a lost right never waits for one
PING_S = 15.0
STREAMS_PER_PERSON = 10  # in one process; a person has a few devices with a few pages open
STREAMS_PER_COMPANY = 1000  # in one process, which has room for four times as many
MESSAGES_AT_ONCE = 100
MAILS_AT_ONCE = 20
MAIL_TRIES = 54  # about two days
READ_PAUSE_S = 0.05
_PAGE = 200
_KEPT = 10_000
_log = structlog.get_logger()


class News(msgspec.Struct, frozen=True):
    """Events that the caller may see, maybe none; everything up to `position` has been told."""

    position: int
    events: list[Event]


class Reset(msgspec.Struct, frozen=True):
    """The log doesn't reach to where the reader was: read the lists anew, then follow from `position`."""

    position: int


class Feed:
    """The event log as the streams of one process follow it.

    What each caller may see is asked of row-level security every time; the events themselves are read once and kept
    for all who see them, and streams of one sign-in that stand at one position share their reads.
    """

    def __init__(self, db: Database, wakeups: Wakeups) -> None:
        self._db = db
        self._wakeups = wakeups
        self._known: OrderedDict[int, Event] = OrderedDict()
        self._reading: dict[tuple[UUID, UUID, UUID, int], asyncio.Task[tuple[Sight, list[Event]]]] = {}

    async def begin(self, *, caller: Caller, after: int | None) -> int:
        """The position at which a stream begins: `after`, or the newest one.

        Raises Problem session_ended for somebody who is no member (any more), or too_many_streams.
        """
        if self._too_many(caller, more=1):
            raise Problem("too_many_streams")
        async with self._db.transaction(caller.scope) as tx:
            sight = await store.after(tx, 0, 0)
        if sight.role is None:
            raise Problem("session_ended")
        return sight.head if after is None else after

    async def follow(self, *, caller: Caller, position: int) -> AsyncIterator[News | Reset]:
        """Events that the caller may see, after a position, as they come, for STREAM_LIFE_S.

        Nothing is left out and nothing comes twice within a stream. It holds no database connection while it waits,
        and ends at once when the caller's session has ended, when they are no longer a member of the tenant, or when
        the process is about to stop.
        """
        ends_at = time.monotonic() + STREAM_LIFE_S
        with self._wakeups.listen(caller.tenant_id, caller.person_id) as news:
            if self._too_many(caller):  # others began in the same moment
                return
            yield News(position, [])
            while time.monotonic() < ends_at and not self._wakeups.stopping:
                news.clear()
                try:
                    sight, events = await self._read(caller, position)
                except Problem:  # the session has ended
                    return
                if sight.role is None:
                    return
                if not sight.pruned <= position <= sight.head:
                    position = sight.head
                    yield Reset(position)
                    continue
                full = len(events) == _PAGE
                position = events[-1].position if full else sight.head
                if events:
                    yield News(position, events)
                if full:
                    continue
                await asyncio.sleep(READ_PAUSE_S)  # what comes in a rush is read together
                if not await _woken(news):
                    yield News(position, [])

    def _too_many(self, caller: Caller, more: int = 0) -> bool:
        of_person, of_tenant = self._wakeups.streams_of(caller.tenant_id, caller.person_id)
        return of_person + more > STREAMS_PER_PERSON or of_tenant + more > STREAMS_PER_COMPANY

    async def _read(self, caller: Caller, position: int) -> tuple[Sight, list[Event]]:
        key = (caller.tenant_id, caller.person_id, caller.session_id, position)
        if key not in self._reading:
            self._reading[key] = asyncio.create_task(self._look(caller, position))
            self._reading[key].add_done_callback(lambda _task: self._reading.pop(key))
        return await asyncio.shield(self._reading[key])

    async def _look(self, caller: Caller, position: int) -> tuple[Sight, list[Event]]:
        async with self._db.transaction(caller.scope) as tx:
            sight = await store.after(tx, position, _PAGE)
            if missing := [p for p in sight.positions if p not in self._known]:
                self._known |= {event.position: event for event in await store.events(tx, missing)}
        events = [self._known[p] for p in sight.positions if p in self._known]
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return sight, events


async def relay_log(db: Database, wakeups: Wakeups) -> int:
    """Number what committed transactions have announced, and wake the screens; returns how many tenants have news."""
    news = await store.relay_log(db, 1000)
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


async def relay_mails(db: Database, mailer: Mailer, *, now: datetime) -> int:
    """Hand mails of committed transactions to the mail server; returns how many were due.

    A mail is forgotten only once the server has taken it, so a crash in between sends it twice, under one Message-ID.
    One that the server won't take now comes again, ever more seldom, for two days.
    """
    due = await store.lend_mails(db, MAILS_AT_ONCE)
    sent = await asyncio.gather(*(_mail(mailer, row, now) for row in due))
    if done := [row["mail_id"] for row, over in zip(due, sent, strict=True) if over]:
        await store.mails_done(db, done)
    return len(due)


async def _mail(mailer: Mailer, row: Any, now: datetime) -> bool:
    fields = {name: row[name] for name in ("mail_id", "template", "recipient", "locale", "facts")}
    try:
        await mailer.send(Letter(**fields), now=now)
    except (MailRefused, KeyError, ValueError) as exc:  # refused, or nothing that could ever be sent
        _log.error("mail_refused", mail_id=str(row["mail_id"]), error=type(exc).__name__)
    except Exception as exc:
        _log.warning("mail_not_sent", mail_id=str(row["mail_id"]), tries=row["tries"], error=type(exc).__name__)
        return row["tries"] >= MAIL_TRIES
    return True


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


async def prune(db: Database, *, now: datetime) -> None:
    """Throw away log entries that nobody will ask for, and notices and webhooks of long ago."""
    async with db.across_tenants() as tx:
        await store.prune(tx, LOG_LIFE)
    await store.prune_notices(db, now - rules.NOTICES_KEPT)
    await store.prune_webhooks(db, now - rules.MESSAGES_KEPT)


async def _woken(news: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(PING_S):
            await news.wait()
    except TimeoutError:
        return False
    return True
