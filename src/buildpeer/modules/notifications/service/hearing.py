"""From the event log to those who are told: notices of people, and messages of webhooks.

One transaction takes the next events, writes all that follows from them, and moves the place up to which was heard. So
whoever dies in between has done nothing, and what is done is done once.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID, uuid5

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.notifications import events, rules, store
from buildpeer.modules.notifications.rules import Happening, Member
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
    if any(rules.BY_NAME[happening.topic].told for happening in happenings):
        await _notify(tx, happenings, now=now)


async def _notify(tx: Transaction, happenings: Sequence[Happening], *, now: datetime) -> None:
    members = [_member(row["person_id"], row["role"], row["projects"]) for row in await store.members(tx)]
    wishes = {(wish.person_id, wish.project_id): wish for wish in await store.wishes(tx)}
    zones = await store.timezones(tx, [h.project_id for h in happenings if h.project_id is not None])
    rows: list[dict[str, Any]] = []
    for happening in happenings:
        for person_id in rules.recipients(happening, members):
            general = wishes.get((person_id, None))
            wish = wishes.get((person_id, happening.project_id), general)
            if wish is not None and wish.muted:
                continue
            chosen = general.timezone if general is not None else None
            zone = chosen or (zones.get(happening.project_id) if happening.project_id else None) or "UTC"
            mail = wish.mail if wish is not None else rules.USUAL_MAIL
            due_at = rules.mail_due(mail, now=now, timezone=zone)
            rows.append(_notice(happening) | {"person_id": person_id, "mail_due_at": due_at})
    added = await store.add_notices(tx, rows) if rows else set[tuple[UUID, int]]()
    new = [row for row in rows if (row["person_id"], row["position"]) in added]
    await tx.announce([events.added(row["person_id"], _news(row)) for row in new])


def _member(person_id: UUID, role: str, projects: Sequence[UUID]) -> Member:
    return Member(person_id=person_id, role=role, projects=frozenset(projects), tools=identity.tools_seen_by(role))


def _notice(happening: Happening) -> dict[str, Any]:
    return {
        "position": happening.position,
        "topic": happening.topic,
        "project_id": happening.project_id,
        "count": happening.count,
        "facts": happening.facts,
        "occurred_at": happening.occurred_at,
    }


def _news(row: dict[str, Any]) -> events.NoticeNews:
    fields = {name: row[name] for name in events.NoticeNews.__struct_fields__}
    return events.NoticeNews(**fields)


def _message(message_id: UUID, happening: Happening, web_url: str) -> dict[str, object]:
    return {
        "message_id": message_id,
        "position": happening.position,
        "type": happening.topic,
        "payload": rules.payload(happening, web_url=web_url),
        "occurred_at": happening.occurred_at,
    }
