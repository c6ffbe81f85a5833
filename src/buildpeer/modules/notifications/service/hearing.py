"""From the event log to those who are told: notices of people, and messages of webhooks.

One transaction takes the next events, writes all that follows from them, and moves the place up to which was heard. So
whoever dies in between has done nothing, and what is done is done once.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID, uuid5

from buildpeer.modules.notifications import rules, store
from buildpeer.modules.notifications.rules import Happening
from buildpeer.modules.notifications.store import Heard
from buildpeer.platform.db import Database, Scope, Transaction

_EVENTS_AT_ONCE = 500
_BURSTS_AT_ONCE = 100


async def hear(db: Database, *, web_url: str, now: datetime) -> int:
    """Tell what the next events of the log have to tell; returns how many there were."""
    async with db.across_tenants() as tx:
        events = await store.unheard(tx, _EVENTS_AT_ONCE)
        for tenant_id, own in groupby(sorted(events, key=lambda e: (e.tenant_id, e.position)), lambda e: e.tenant_id):
            happenings = [happening for event in own if (happening := _read(event)) is not None]
            if happenings:
                await tx.serve(Scope(tenant_id, None))
                await _take(tx, happenings, web_url=web_url, now=now)
        if events:
            await store.heard(tx, events[-1].position)
    return len(events)


async def end_bursts(db: Database, *, web_url: str, now: datetime) -> int:
    """Tell of bursts that are over; returns how many there were."""
    due = await store.due_bursts(db, now, _BURSTS_AT_ONCE)
    for row in due:
        async with db.transaction(Scope(row["tenant_id"], None)) as tx:
            burst = await store.take_burst(tx, row["project_id"], row["topic"], now)
            if burst is not None:
                await _tell(tx, [rules.over(burst)], web_url=web_url, now=now)
    return len(due)


def _read(event: Heard) -> Happening | None:
    return rules.read(
        event.type,
        event.body,
        person_id=event.person_id,
        position=event.position,
        project_id=event.project_id,
        occurred_at=event.occurred_at,
    )


async def _take(tx: Transaction, happenings: Sequence[Happening], *, web_url: str, now: datetime) -> None:
    changed, at_once = rules.gather(await store.bursts(tx), happenings)
    if changed:
        await store.keep_bursts(tx, changed)
    if at_once:
        await _tell(tx, at_once, web_url=web_url, now=now)


async def _tell(tx: Transaction, happenings: Sequence[Happening], *, web_url: str, now: datetime) -> None:
    public = [happening for happening in happenings if rules.is_public(happening)]
    if public and await store.has_endpoints(tx):
        messages = {uuid5(tx.tenant_id, str(happening.position)): happening for happening in public}
        await store.add_messages(tx, [_message(message_id, each, web_url) for message_id, each in messages.items()])
        await store.add_deliveries(tx, list(messages), now)


def _message(message_id: UUID, happening: Happening, web_url: str) -> dict[str, object]:
    return {
        "message_id": message_id,
        "position": happening.position,
        "type": happening.topic,
        "payload": rules.payload(happening, web_url=web_url),
        "occurred_at": happening.occurred_at,
    }
