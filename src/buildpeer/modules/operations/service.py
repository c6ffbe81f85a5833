"""Dead letters: collected, looked at, sent again or dropped. And files that are locked away, maybe for nothing.

The worker takes them out of the dead-letter queues into a table, where nothing hides and nothing expires, and carries
out what people order there. Only it may put anything on a queue: whoever could would be believed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from buildpeer.modules.audit import facade as audit
from buildpeer.modules.operations import store
from buildpeer.modules.operations.store import DeadLetter, Order, Verb
from buildpeer.modules.uploads import facade as uploads
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.messaging import SQS_BATCH, Queues

RECORD_LIFE = timedelta(days=400)
_log = structlog.get_logger()


async def collect(db: Database, queues: Queues, dead_letters: Mapping[str, str]) -> int:
    """Take messages out of dead-letter queues, given by the queue in which they died; returns how many.

    One is deleted there once it is kept here, so a crash in between only means taking it twice, which changes nothing.
    """
    collected = 0
    for queue, dead in dead_letters.items():
        if messages := await queues.receive(dead, wait_s=0):
            await store.keep(db, queue, messages)
            await queues.delete(dead, messages)
            _log.error("dead_letters", queue=queue, letters=len(messages))
            collected += len(messages)
    return collected


async def carry_out(db: Database, queues: Queues) -> int:
    """Do what was ordered; returns for how many letters.

    A letter is ended once its queue has taken it, so a crash in between sends it twice, never not at all.
    """
    async with db.across_tenants() as tx:
        orders = await store.ordered(tx, SQS_BATCH)
        done = [each.letter_id for each in orders if each.verb == "drop" or await _sent(queues, each)]
        if done:
            await store.end(tx, done)
    for each in orders:
        if each.letter_id in done:
            _log.info("dead_letter_ended", letter_id=str(each.letter_id), queue=each.queue, verb=each.verb)
    return len(done)


async def list_letters(db: Database, *, queue: str | None, after: UUID | None, limit: int) -> Sequence[DeadLetter]:
    """Open letters, the oldest first."""
    return await store.letters(db, queue=queue, after=after, limit=limit)


async def get_letter(db: Database, *, letter_id: UUID) -> DeadLetter:
    """One letter, and what was done about it.

    Raises Problem not_found.
    """
    found = await store.letter(db, letter_id)
    if found is None:
        raise Problem("not_found")
    return found


async def order(db: Database, *, letter_id: UUID, verb: Verb, by: str) -> DeadLetter:
    """Have a letter sent again to where it died, or dropped; the letter says who wanted it. The first order stands.

    Raises Problem not_found.
    """
    await store.order(db, queue=None, letter_id=letter_id, verb=verb, by=by)
    return await get_letter(db, letter_id=letter_id)


async def order_all(db: Database, *, queue: str, verb: Verb, by: str) -> int:
    """The same for every open letter of a queue; returns how many that was new to."""
    return await store.order(db, queue=queue, letter_id=None, verb=verb, by=by)


async def list_quarantined(
    db: Database, *, after: tuple[UUID, UUID] | None, limit: int
) -> Sequence[uploads.Quarantined]:
    """Files of all companies that are locked away, by ids only, after (tenant, upload)."""
    return await uploads.list_quarantined(db, after=after, limit=limit)


async def release(db: Database, *, verdicts: str, tenant_id: UUID, upload_id: UUID, by: str) -> uploads.Quarantined:
    """Have a file that is locked away scanned again: it is released if the scanner calls it clean then, and only then.

    `verdicts` is the setting of that name. Raises Problem not_found for what isn't locked away, and where GuardDuty
    gives the verdicts, whom we can't ask.
    """
    if verdicts != "scan":
        raise Problem("not_found", "GuardDuty gives the verdicts here, and can't be asked for one")
    return await uploads.order_release(db, tenant_id=tenant_id, upload_id=upload_id, by=by)


async def count(db: Database) -> dict[str, int]:
    """Open letters by queue: what an alarm looks at."""
    return await store.counts(db)


async def count_unsealed(db: Database, *, now: datetime) -> int:
    """Tenants whose audit trail waits too long for its seal."""
    return await audit.behind(db, now=now)


async def prune(db: Database) -> None:
    """Forget what ended more than a year ago."""
    await store.prune(db, RECORD_LIFE)


async def _sent(queues: Queues, order: Order) -> bool:
    try:
        return bool(await queues.send(order.queue, [order.body]))
    except Exception:  # one queue that is away holds no other up
        _log.exception("redrive_failed", queue=order.queue)
        return False
