"""SQL of operations: one function, one statement."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer.platform.db import Database, Transaction, record, records
from buildpeer.platform.ids import new_id
from buildpeer.platform.messaging import Message

Verb = Literal["redrive", "drop"]
_FIRST = UUID(int=0)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that died in a queue; `verb` is what somebody wants done about it, `ended_at` when that was done."""

    letter_id: UUID
    queue: str
    message_id: str
    body: str
    collected_at: datetime
    verb: Verb | None
    wanted_by: str | None
    wanted_at: datetime | None
    ended_at: datetime | None


class Order(msgspec.Struct, frozen=True):
    """A letter that somebody wants something done about."""

    letter_id: UUID
    queue: str
    body: str
    verb: Verb


KEEP = "select app.keep_dead_letters($1, $2, $3, $4)"
LETTERS = """
select letter_id, queue, message_id, body, collected_at, verb, wanted_by, wanted_at, ended_at
from app.dead_letters($1, $2, $3, $4)
"""
COUNTS = "select queue, letters from app.dead_letter_counts()"
ORDER = "select app.order_dead_letters($1, $2, $3, $4) as letters"
ORDERED = "select letter_id, queue, body, verb from app.ordered_dead_letters($1)"
END = "select app.end_dead_letters($1)"
PRUNE = "select app.prune_dead_letters($1)"


async def keep(db: Database, queue: str, messages: Sequence[Message]) -> None:
    """Keep messages that died in a queue; one that is kept already stays as it is."""
    ids = [new_id() for _ in messages]
    await db.call(KEEP, queue, ids, [m.id for m in messages], [m.body.replace("\0", "") for m in messages])


async def letters(db: Database, *, queue: str | None, after: UUID | None, limit: int) -> list[DeadLetter]:
    """Open letters, the oldest first, after one of them."""
    return records(await db.call(LETTERS, queue, None, after or _FIRST, limit), DeadLetter)


async def letter(db: Database, letter_id: UUID) -> DeadLetter | None:
    """One letter, open or not."""
    rows = await db.call(LETTERS, None, letter_id, _FIRST, 1)
    return record(rows[0], DeadLetter) if rows else None


async def counts(db: Database) -> dict[str, int]:
    """Open letters by queue, where there are any."""
    return {row["queue"]: row["letters"] for row in await db.call(COUNTS)}


async def order(db: Database, *, queue: str | None, letter_id: UUID | None, verb: Verb, by: str) -> int:
    """Note what is wanted of a letter or of a queue's; returns of how many, not counting those ordered before."""
    return (await db.call(ORDER, queue, letter_id, verb, by))[0]["letters"]


async def ordered(tx: Transaction, limit: int) -> list[Order]:
    """Letters that await what was ordered, locked."""
    return records(await tx.all(ORDERED, limit), Order)


async def end(tx: Transaction, letter_ids: Sequence[UUID]) -> None:
    """Note that the order was carried out."""
    await tx.run(END, list(letter_ids))


async def prune(db: Database, keep_for: timedelta) -> None:
    """Forget letters that ended longer ago."""
    await db.call(PRUNE, keep_for)
