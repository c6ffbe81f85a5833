"""SQL of notifications: one function, one statement."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.platform.db import Database, Transaction, record, records


class Event(msgspec.Struct, frozen=True):
    """Something that happened, at its place in the log; `body` is JSON text, `project_id` None for what belongs to no
    project.
    """

    position: int
    type: str
    project_id: UUID | None
    occurred_at: datetime
    body: str


class Sight(msgspec.Struct, frozen=True):
    """What a caller sees after a position: the visible positions, oldest first, and how far the log reaches.

    `role` is None for somebody who is no member; what is at or before `pruned` has been thrown away.
    """

    head: int
    pruned: int
    role: str | None
    positions: list[int]


# One statement, one snapshot: whatever is committed up to `head` is in the answer, if the caller may see it.
AFTER = """
select h.position as head, h.pruned, app.member_role() as role, array(
  select e.position from event_log e where e.tenant_id = $1 and e.position > $2
  order by e.position limit $3) as positions
from event_log_head h
"""
EVENTS = """
select position, type, project_id, occurred_at, body::text as body from event_log
where tenant_id = $1 and position = any ($2)
"""
RELAY = "select tenant_id, position from app.relay_log($1)"
MESSAGES = "select outbox_id, destination, body from app.relay_messages($1)"
RELAYED = "select app.relayed($1)"
LEND_MAILS = "select mail_id, template, recipient, locale, facts, tries from app.lend_mails($1)"
MAILS_DONE = "select app.mails_done($1)"
PRUNE = "select app.prune_log($1)"


async def after(tx: Transaction, position: int, limit: int) -> Sight:
    """What the caller sees after a position, at most `limit` events."""
    return record(await tx.one(AFTER, tx.tenant_id, position, limit), Sight)


async def events(tx: Transaction, positions: list[int]) -> list[Event]:
    """The events at these positions that the caller may see."""
    return records(await tx.all(EVENTS, tx.tenant_id, positions), Event)


async def relay_log(db: Database, limit: int) -> list[Any]:
    """Number what has been committed; returns the tenants that have news."""
    return await db.call(RELAY, limit)


async def messages(tx: Transaction, limit: int) -> list[Any]:
    """Messages that wait for their queue, oldest first, locked."""
    return await tx.all(MESSAGES, limit)


async def relayed(tx: Transaction, ids: list[int]) -> None:
    """Forget messages that their queue has taken."""
    await tx.run(RELAYED, ids)


async def lend_mails(db: Database, limit: int) -> list[Any]:
    """Mails that are due, each lent for ever longer until `mails_done` ends it."""
    return await db.call(LEND_MAILS, limit)


async def mails_done(db: Database, ids: list[UUID]) -> None:
    """Forget mails that a server has taken, or never will."""
    await db.call(MAILS_DONE, ids)


async def prune(tx: Transaction, keep: timedelta) -> None:
    """Throw away log entries older than `keep`."""
    await tx.run(PRUNE, keep)
