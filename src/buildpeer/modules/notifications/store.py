"""SQL of notifications: one function, one statement."""

from typing import Any

from buildpeer.platform.db import Transaction

# One statement, one snapshot: whatever is committed up to `head` is in the answer, if the caller may see it.
AFTER = """
select h.position as head, h.pruned, app.member_role() as role, e.position, e.type, e.project_id, e.occurred_at, e.body
from event_log_head h left join lateral (
  select * from event_log where tenant_id = $1 and event_log.position > $2 order by event_log.position limit $3
) e on true
"""
RELAY = "select tenant_id, position from app.relay_log($1)"
MESSAGES = "select outbox_id, destination, body from app.relay_messages($1)"
RELAYED = "select app.relayed($1)"
PRUNE = "select app.prune_log($1)"


async def after(tx: Transaction, position: int, limit: int) -> list[Any]:
    """Events that the caller may see after a position; one row without an event when there are none."""
    return await tx.all(AFTER, tx.tenant_id, position, limit)


async def relay_log(tx: Transaction, limit: int) -> list[Any]:
    """Number what has been committed; returns the tenants that have news."""
    return await tx.all(RELAY, limit)


async def messages(tx: Transaction, limit: int) -> list[Any]:
    """Messages that wait for their queue, oldest first, locked."""
    return await tx.all(MESSAGES, limit)


async def relayed(tx: Transaction, ids: list[int]) -> None:
    """Forget messages that their queue has taken."""
    await tx.run(RELAYED, ids)


async def prune(tx: Transaction, keep: Any) -> None:
    """Throw away log entries older than `keep` (a timedelta)."""
    await tx.run(PRUNE, keep)
