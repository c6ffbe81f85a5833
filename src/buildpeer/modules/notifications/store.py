"""SQL of notifications: one function, one statement."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.notifications.rules import Burst, DeliveryState, Disabled, Fate, MailRhythm
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


class Heard(msgspec.Struct, frozen=True):
    """An event of the log as it comes to whoever makes notices of it; `person_id`: it is for that person alone."""

    tenant_id: UUID
    position: int
    project_id: UUID | None
    person_id: UUID | None
    type: str
    body: dict[str, Any]
    occurred_at: datetime


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a company's webhooks go; no `types`: all. `failing_since`: nothing has got through since then.

    `old_until`: until when deliveries are signed with the secret before, too.
    """

    endpoint_id: UUID
    url: str
    description: str
    types: list[str]
    created_by: UUID
    created_at: datetime
    version: int
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: Disabled | None
    old_until: datetime | None


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way to an endpoint; `due_at`: when it is tried next, None once that is over."""

    endpoint_id: UUID
    message_id: UUID
    type: str
    occurred_at: datetime
    state: DeliveryState
    attempts: int
    due_at: datetime | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try to deliver: the HTTP `status`, or the `error` that came before there was one."""

    number: int
    began_at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    answer: str


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery lent to whoever is about to make it; `number` says which attempt it is."""

    tenant_id: UUID
    endpoint_id: UUID
    message_id: UUID
    number: int
    tries: int
    tried_at: datetime | None
    url: str
    secret: bytes
    old_secret: bytes | None
    payload: dict[str, Any]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice for one person; `count` things, the first of which `facts` tell of."""

    position: int
    topic: str
    project_id: UUID | None
    project_name: str | None
    count: int
    facts: dict[str, Any]
    occurred_at: datetime
    read_at: datetime | None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to hear of a project, or, without one, of all that have no wish of their own."""

    person_id: UUID
    project_id: UUID | None
    mail: MailRhythm
    muted: bool
    timezone: str | None


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
UNHEARD = "select tenant_id, position, project_id, person_id, type, body, occurred_at from app.unheard($1)"
HEARD = "select app.heard($1)"
BURSTS = """
select project_id, topic, first_position, last_position, began_at, ended_at, due_at, count, facts, ids from bursts
where tenant_id = $1 order by project_id, topic for update
"""
KEEP_BURSTS = """
insert into bursts (tenant_id, project_id, topic, first_position, last_position, began_at, ended_at, due_at, count,
  facts, ids)
select $1, (b ->> 'project_id')::uuid, b ->> 'topic', (b ->> 'first_position')::bigint,
  (b ->> 'last_position')::bigint, (b ->> 'began_at')::timestamptz, (b ->> 'ended_at')::timestamptz,
  (b ->> 'due_at')::timestamptz, (b ->> 'count')::bigint, b -> 'facts', b -> 'ids'
from jsonb_array_elements($2::jsonb) as b
on conflict (tenant_id, project_id, topic) do update set last_position = excluded.last_position,
  ended_at = excluded.ended_at, due_at = excluded.due_at, count = excluded.count, ids = excluded.ids
"""
DUE_BURSTS = "select tenant_id, project_id, topic from app.due_bursts($1, $2)"
TAKE_BURST = """
delete from bursts where tenant_id = $1 and project_id = $2 and topic = $3 and due_at <= $4
returning project_id, topic, first_position, last_position, began_at, ended_at, due_at, count, facts, ids
"""
HAS_ENDPOINTS = "select exists (select from webhook_endpoints where tenant_id = $1)"
ADD_MESSAGES = """
insert into webhook_messages (tenant_id, message_id, position, type, payload, occurred_at)
select $1, (m ->> 'message_id')::uuid, (m ->> 'position')::bigint, m ->> 'type', m -> 'payload',
  (m ->> 'occurred_at')::timestamptz
from jsonb_array_elements($2::jsonb) as m
on conflict do nothing
"""
# What an endpoint misses while it is disabled can be replayed.
ADD_DELIVERIES = """
insert into webhook_deliveries (tenant_id, endpoint_id, message_id, occurred_at, state, due_at)
select $1, e.endpoint_id, m.message_id, m.occurred_at,
  case when e.disabled_at is null then 'waiting' else 'failed' end,
  case when e.disabled_at is null then $3::timestamptz end
from webhook_messages m join webhook_endpoints e on e.tenant_id = m.tenant_id
where m.tenant_id = $1 and m.message_id = any ($2) and (e.types = '{}' or m.type = any (e.types))
on conflict do nothing
"""
ADD_TEST = """
insert into webhook_deliveries (tenant_id, endpoint_id, message_id, occurred_at, state, due_at)
values ($1, $2, $3, $4::timestamptz, 'waiting', $4)
"""
LEND = """
select tenant_id, endpoint_id, message_id, number, tries, tried_at, url, secret, old_secret, payload
from app.lend_deliveries($1, $2, $3, $4, $5)
"""
FAILING_SINCE = """
select failing_since from webhook_endpoints where tenant_id = $1 and endpoint_id = $2 for no key update
"""
SETTLE = """
update webhook_deliveries set state = $5, due_at = $6, lent_until = null, tries = $7, tried_at = $8
where tenant_id = $1 and endpoint_id = $2 and message_id = $3 and attempts = $4 and state = 'waiting'
returning message_id
"""
ADD_ATTEMPT = """
insert into webhook_attempts (tenant_id, endpoint_id, message_id, number, began_at, duration_ms, status, error, answer)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing
"""
ENDPOINT_WORKS = "update webhook_endpoints set failing_since = null where tenant_id = $1 and endpoint_id = $2"
ENDPOINT_FAILS = """
update webhook_endpoints set failing_since = coalesce(failing_since, $3) where tenant_id = $1 and endpoint_id = $2
"""
DISABLE = """
update webhook_endpoints set disabled_at = $3, disabled_reason = $4
where tenant_id = $1 and endpoint_id = $2 and disabled_at is null returning url
"""
MISS_WAITING = """
update webhook_deliveries set state = 'failed', due_at = null, lent_until = null
where tenant_id = $1 and endpoint_id = $2 and state = 'waiting'
"""
OWNERS = """
select p.email, p.locale from memberships m join people p using (person_id)
where m.tenant_id = $1 and m.role = 'owner' order by p.email
"""
LOCK_ENDPOINTS = "select pg_advisory_xact_lock(hashtextextended('webhook_endpoints ' || $1::uuid::text, 0))"
COUNT_ENDPOINTS = "select count(*) from webhook_endpoints where tenant_id = $1"
ADD_ENDPOINT = """
insert into webhook_endpoints (tenant_id, endpoint_id, url, description, types, secret, created_by, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning endpoint_id
"""
ENDPOINT = """
select endpoint_id, url, description, types, created_by, created_at, version, failing_since, disabled_at,
  disabled_reason, old_until
from webhook_endpoints where tenant_id = $1 and endpoint_id = $2
"""
ENDPOINTS = """
select endpoint_id, url, description, types, created_by, created_at, version, failing_since, disabled_at,
  disabled_reason, old_until
from webhook_endpoints where tenant_id = $1 order by created_at, endpoint_id
"""
CHANGE_ENDPOINT = """
update webhook_endpoints set url = coalesce($4, url), description = coalesce($5, description),
  types = coalesce($6, types), version = version + 1,
  failing_since = case when $7 then null else failing_since end,
  disabled_at = case when $7 then null when not $7 then coalesce(disabled_at, $8) else disabled_at end,
  disabled_reason = case when $7 then null when not $7 then coalesce(disabled_reason, 'by_owner')
    else disabled_reason end
where tenant_id = $1 and endpoint_id = $2 and ($3::bigint is null or version = $3) returning endpoint_id
"""
REMOVE_ENDPOINT = "delete from webhook_endpoints where tenant_id = $1 and endpoint_id = $2 returning endpoint_id"
ROTATE = """
update webhook_endpoints set old_secret = secret, old_until = $4, secret = $3, version = version + 1
where tenant_id = $1 and endpoint_id = $2 returning endpoint_id
"""
DELIVERIES = """
select d.endpoint_id, d.message_id, m.type, d.occurred_at, d.state, d.attempts, d.due_at
from webhook_deliveries d join webhook_messages m using (tenant_id, message_id)
where d.tenant_id = $1 and d.endpoint_id = $2 and (d.occurred_at, d.message_id) < ($3, $4)
  and ($5::text is null or d.state = $5)
order by d.occurred_at desc, d.message_id desc limit $6
"""
DELIVERY = """
select d.endpoint_id, d.message_id, m.type, d.occurred_at, d.state, d.attempts, d.due_at, m.payload
from webhook_deliveries d join webhook_messages m using (tenant_id, message_id)
where d.tenant_id = $1 and d.endpoint_id = $2 and d.message_id = $3
"""
ATTEMPTS = """
select number, began_at, duration_ms, status, error, answer from webhook_attempts
where tenant_id = $1 and endpoint_id = $2 and message_id = $3 order by number desc limit 100
"""
REPLAY = """
update webhook_deliveries set state = 'waiting', due_at = $4, tries = 0, tried_at = null
where tenant_id = $1 and endpoint_id = $2 and message_id = $3 and state <> 'waiting' returning message_id
"""
REPLAY_SINCE = """
update webhook_deliveries set state = 'waiting', due_at = $4, tries = 0, tried_at = null
where tenant_id = $1 and endpoint_id = $2 and occurred_at >= $3 and state <> 'waiting'
  and (not $5 or state = 'failed') returning message_id
"""
MEMBERS = """
select m.person_id, m.role, array(select pm.project_id from project_members pm
  where pm.tenant_id = m.tenant_id and pm.person_id = m.person_id) as projects
from memberships m where m.tenant_id = $1
"""
WISHES = "select person_id, project_id, mail, muted, timezone from notice_preferences where tenant_id = $1"
TIMEZONES = "select project_id, timezone from projects where tenant_id = $1 and project_id = any ($2)"
ADD_NOTICES = """
insert into notices (tenant_id, person_id, position, topic, project_id, count, facts, occurred_at, mail_due_at)
select $1, (n ->> 'person_id')::uuid, (n ->> 'position')::bigint, n ->> 'topic', (n ->> 'project_id')::uuid,
  (n ->> 'count')::bigint, n -> 'facts', (n ->> 'occurred_at')::timestamptz, (n ->> 'mail_due_at')::timestamptz
from jsonb_array_elements($2::jsonb) as n
on conflict do nothing returning person_id, position
"""
NOTICES = """
select n.position, n.topic, n.project_id, p.name as project_name, n.count, n.facts, n.occurred_at, n.read_at
from notices n left join projects p on p.tenant_id = n.tenant_id and p.project_id = n.project_id
where n.tenant_id = $1 and n.person_id = $2 and n.position < $3 and (not $4 or n.read_at is null)
order by n.position desc limit $5
"""
UNREAD = "select count(*) from notices where tenant_id = $1 and person_id = $2 and read_at is null"
MARK = """
update notices set read_at = case when $4 then coalesce(read_at, $5) end
where tenant_id = $1 and person_id = $2 and position = $3
returning position
"""
MARK_UP_TO = """
update notices set read_at = $4 where tenant_id = $1 and person_id = $2 and position <= $3 and read_at is null
returning position
"""
OWN_WISHES = """
select person_id, project_id, mail, muted, timezone from notice_preferences
where tenant_id = $1 and person_id = $2 order by project_id nulls first
"""
WANT = """
insert into notice_preferences (tenant_id, person_id, project_id, mail, muted, timezone)
values ($1, $2, $3, $4, $5, $6)
on conflict (tenant_id, person_id, place) do update
set mail = excluded.mail, muted = excluded.muted, timezone = excluded.timezone
"""
WANT_NO_MORE = "delete from notice_preferences where tenant_id = $1 and person_id = $2 and project_id = $3"
DUE_DIGESTS = "select tenant_id, person_id from app.due_digests($1, $2)"
TAKE_MAILED = """
update notices set mail_due_at = null where tenant_id = $1 and person_id = $2 and mail_due_at <= $3
returning position, topic, project_id, (select p.name from projects p where p.tenant_id = notices.tenant_id
  and p.project_id = notices.project_id) as project_name, count, facts, occurred_at, read_at
"""
READER = """
select p.email, p.locale, t.name as company, m.role, array(select pm.project_id from project_members pm
  where pm.tenant_id = m.tenant_id and pm.person_id = m.person_id) as projects
from memberships m join people p using (person_id) join tenants t on t.tenant_id = m.tenant_id
where m.tenant_id = $1 and m.person_id = $2
"""
PRUNE_NOTICES = "select app.prune_notices($1)"
PRUNE_WEBHOOKS = "select app.prune_webhooks($1)"


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


async def unheard(tx: Transaction, limit: int) -> list[Heard]:
    """Events of all tenants that nobody has made notices of, oldest first; they stay locked until the transaction ends,
    and there are none for anybody else meanwhile.
    """
    return records(await tx.all(UNHEARD, limit), Heard)


async def heard(tx: Transaction, position: int) -> None:
    """Note that notices have been made of all up to a position."""
    await tx.run(HEARD, position)


async def bursts(tx: Transaction) -> list[Burst]:
    """The tenant's bursts that aren't over, locked."""
    return records(await tx.all(BURSTS, tx.tenant_id), Burst)


async def keep_bursts(tx: Transaction, changed: Sequence[Burst]) -> None:
    """Write bursts as they stand now."""
    await tx.run(KEEP_BURSTS, tx.tenant_id, msgspec.to_builtins(changed))


async def due_bursts(db: Database, now: datetime, limit: int) -> list[Any]:
    """Tenant, project and topic of bursts that are over."""
    return await db.call(DUE_BURSTS, now, limit)


async def take_burst(tx: Transaction, project_id: UUID, topic: str, now: datetime) -> Burst | None:
    """Remove a burst that is over; None if somebody else did, or if there was more meanwhile."""
    row = await tx.one(TAKE_BURST, tx.tenant_id, project_id, topic, now)
    return None if row is None else record(row, Burst)


async def has_endpoints(tx: Transaction) -> bool:
    """Whether the company has webhooks at all."""
    return await tx.value(HAS_ENDPOINTS, tx.tenant_id)


async def add_messages(tx: Transaction, messages: Sequence[Any]) -> None:
    """Keep messages; one of a position that is there already changes nothing."""
    await tx.run(ADD_MESSAGES, tx.tenant_id, messages)


async def add_deliveries(tx: Transaction, message_ids: Sequence[UUID], now: datetime) -> None:
    """Have messages delivered to every endpoint that wants their type."""
    await tx.run(ADD_DELIVERIES, tx.tenant_id, message_ids, now)


async def add_test(tx: Transaction, endpoint_id: UUID, message_id: UUID, now: datetime) -> None:
    """Have a message delivered to one endpoint."""
    await tx.run(ADD_TEST, tx.tenant_id, endpoint_id, message_id, now)


async def lend(
    db: Database, *, now: datetime, limit: int, per_endpoint: int, per_tenant: int, lease: timedelta
) -> list[Lent]:
    """Deliveries of all tenants that are due, lent for a while."""
    return records(await db.call(LEND, now, limit, per_endpoint, per_tenant, lease), Lent)


async def failing_since(tx: Transaction, endpoint_id: UUID) -> datetime | None:
    """Since when nothing has got through to an endpoint, which is locked."""
    return await tx.value(FAILING_SINCE, tx.tenant_id, endpoint_id)


async def settle(tx: Transaction, lent: Lent, fate: Fate, *, tries: int, tried_at: datetime) -> bool:
    """Say what becomes of a lent delivery; false where it was lent to somebody else meanwhile, or called off."""
    place = (tx.tenant_id, lent.endpoint_id, lent.message_id, lent.number)
    return await tx.value(SETTLE, *place, fate.state, fate.due_at, tries, tried_at) is not None


async def add_attempt(tx: Transaction, lent: Lent, attempt: Attempt) -> None:
    """Write down how an attempt went."""
    await tx.run(
        ADD_ATTEMPT,
        *(tx.tenant_id, lent.endpoint_id, lent.message_id, attempt.number, attempt.began_at, attempt.duration_ms),
        *(attempt.status, attempt.error, attempt.answer),
    )


async def endpoint_works(tx: Transaction, endpoint_id: UUID) -> None:
    """Note that something has got through."""
    await tx.run(ENDPOINT_WORKS, tx.tenant_id, endpoint_id)


async def endpoint_fails(tx: Transaction, endpoint_id: UUID, now: datetime) -> None:
    """Note that something hasn't got through."""
    await tx.run(ENDPOINT_FAILS, tx.tenant_id, endpoint_id, now)


async def disable(tx: Transaction, endpoint_id: UUID, reason: Disabled, now: datetime) -> str | None:
    """Send an endpoint nothing more; gives its address, None where it is disabled already."""
    return await tx.value(DISABLE, tx.tenant_id, endpoint_id, now, reason)


async def miss_waiting(tx: Transaction, endpoint_id: UUID) -> None:
    """Give up what still waits for an endpoint."""
    await tx.run(MISS_WAITING, tx.tenant_id, endpoint_id)


async def owners(tx: Transaction) -> list[Any]:
    """E-mail and locale of the company's owners."""
    return await tx.all(OWNERS, tx.tenant_id)


async def lock_endpoints(tx: Transaction) -> None:
    """Let nobody else add an endpoint to the company until the transaction ends."""
    await tx.run(LOCK_ENDPOINTS, tx.tenant_id)


async def count_endpoints(tx: Transaction) -> int:
    """How many endpoints the company has."""
    return await tx.value(COUNT_ENDPOINTS, tx.tenant_id)


async def add_endpoint(
    tx: Transaction, endpoint_id: UUID, *, url: str, description: str, types: list[str], secret: bytes, now: datetime
) -> bool:
    """Add an endpoint with its encrypted secret; false where there is one of that id."""
    row = (tx.tenant_id, endpoint_id, url, description, types, secret, tx.person_id, now)
    return await tx.value(ADD_ENDPOINT, *row) is not None


async def endpoint(tx: Transaction, endpoint_id: UUID) -> Endpoint | None:
    """An endpoint of the company."""
    row = await tx.one(ENDPOINT, tx.tenant_id, endpoint_id)
    return None if row is None else record(row, Endpoint)


async def endpoints(tx: Transaction) -> list[Endpoint]:
    """The company's endpoints, oldest first."""
    return records(await tx.all(ENDPOINTS, tx.tenant_id), Endpoint)


async def change_endpoint(
    tx: Transaction,
    endpoint_id: UUID,
    *,
    version: int | None,
    url: str | None,
    description: str | None,
    types: list[str] | None,
    enabled: bool | None,
    now: datetime,
) -> bool:
    """Change what isn't None, if the endpoint is still at that version; false where it isn't."""
    place = (tx.tenant_id, endpoint_id, version)
    return await tx.value(CHANGE_ENDPOINT, *place, url, description, types, enabled, now) is not None


async def remove_endpoint(tx: Transaction, endpoint_id: UUID) -> bool:
    """Remove an endpoint with all that was sent to it; false where there is none."""
    return await tx.value(REMOVE_ENDPOINT, tx.tenant_id, endpoint_id) is not None


async def rotate(tx: Transaction, endpoint_id: UUID, *, secret: bytes, old_until: datetime) -> bool:
    """Give an endpoint a new encrypted secret, and let the one before sign until a time; false where there is none."""
    return await tx.value(ROTATE, tx.tenant_id, endpoint_id, secret, old_until) is not None


async def deliveries(
    tx: Transaction, endpoint_id: UUID, *, after: tuple[datetime, UUID], state: DeliveryState | None, limit: int
) -> list[Sending]:
    """What was sent to an endpoint, or is to be, newest first."""
    return records(await tx.all(DELIVERIES, tx.tenant_id, endpoint_id, *after, state, limit), Sending)


async def delivery(tx: Transaction, endpoint_id: UUID, message_id: UUID) -> tuple[Sending, dict[str, Any]] | None:
    """A delivery, and what it holds."""
    row = await tx.one(DELIVERY, tx.tenant_id, endpoint_id, message_id)
    return None if row is None else (record(row, Sending), row["payload"])


async def attempts(tx: Transaction, endpoint_id: UUID, message_id: UUID) -> list[Attempt]:
    """The tries of a delivery, the last hundred, newest first."""
    return records(await tx.all(ATTEMPTS, tx.tenant_id, endpoint_id, message_id), Attempt)


async def replay(tx: Transaction, endpoint_id: UUID, message_id: UUID, now: datetime) -> None:
    """Have a delivery made once more, unless it waits anyway."""
    await tx.run(REPLAY, tx.tenant_id, endpoint_id, message_id, now)


async def replay_since(tx: Transaction, endpoint_id: UUID, since: datetime, *, failed_only: bool, now: datetime) -> int:
    """Have all of an endpoint's deliveries since a time made once more; gives how many."""
    return len(await tx.all(REPLAY_SINCE, tx.tenant_id, endpoint_id, since, now, failed_only))


async def prune_webhooks(db: Database, before: datetime) -> None:
    """Forget messages of before a time, and how they fared."""
    await db.call(PRUNE_WEBHOOKS, before)


async def members(tx: Transaction) -> list[Any]:
    """Everybody in the company: person, role, and the projects they were put into."""
    return await tx.all(MEMBERS, tx.tenant_id)


async def wishes(tx: Transaction) -> list[Wish]:
    """What everybody in the company wants to hear."""
    return records(await tx.all(WISHES, tx.tenant_id), Wish)


async def timezones(tx: Transaction, projects: Sequence[UUID]) -> dict[UUID, str]:
    """The time zones of projects."""
    return {row["project_id"]: row["timezone"] for row in await tx.all(TIMEZONES, tx.tenant_id, projects)}


async def add_notices(tx: Transaction, notices: Sequence[Any]) -> set[tuple[UUID, int]]:
    """Put notices into inboxes; gives person and position of those that weren't there."""
    return {(row["person_id"], row["position"]) for row in await tx.all(ADD_NOTICES, tx.tenant_id, notices)}


async def notices(tx: Transaction, *, before: int, unread: bool, limit: int) -> list[Notice]:
    """The caller's notices before a position, newest first."""
    return records(await tx.all(NOTICES, tx.tenant_id, tx.person_id, before, unread, limit), Notice)


async def count_unread(tx: Transaction) -> int:
    """How many of the caller's notices are unread."""
    return await tx.value(UNREAD, tx.tenant_id, tx.person_id)


async def mark(tx: Transaction, position: int, *, is_read: bool, now: datetime) -> bool:
    """Mark one of the caller's notices as read or unread; false where there is none."""
    return await tx.value(MARK, tx.tenant_id, tx.person_id, position, is_read, now) is not None


async def mark_up_to(tx: Transaction, position: int, now: datetime) -> int:
    """Mark the caller's notices up to a position as read; gives how many weren't."""
    return len(await tx.all(MARK_UP_TO, tx.tenant_id, tx.person_id, position, now))


async def own_wishes(tx: Transaction) -> list[Wish]:
    """What the caller wants to hear: in general first, then by project."""
    return records(await tx.all(OWN_WISHES, tx.tenant_id, tx.person_id), Wish)


async def want(tx: Transaction, wish: Wish) -> None:
    """Write down what the caller wants to hear."""
    await tx.run(WANT, tx.tenant_id, tx.person_id, wish.project_id, wish.mail, wish.muted, wish.timezone)


async def want_no_more(tx: Transaction, project_id: UUID) -> None:
    """Forget what the caller wants to hear of a project in particular."""
    await tx.run(WANT_NO_MORE, tx.tenant_id, tx.person_id, project_id)


async def due_digests(db: Database, now: datetime, limit: int) -> list[Any]:
    """Tenant and person of those who have notices to get by mail now."""
    return await db.call(DUE_DIGESTS, now, limit)


async def take_mailed(tx: Transaction, person_id: UUID, now: datetime) -> list[Notice]:
    """A person's notices that are to go out by mail now, oldest first; nobody else takes them."""
    rows = records(await tx.all(TAKE_MAILED, tx.tenant_id, person_id, now), Notice)
    return sorted(rows, key=lambda notice: notice.position)


async def reader(tx: Transaction, person_id: UUID) -> Any | None:
    """E-mail, locale, role and projects of somebody, and the company's name; None for who is no member any more."""
    return await tx.one(READER, tx.tenant_id, person_id)


async def prune_notices(db: Database, before: datetime) -> None:
    """Forget notices of before a time."""
    await db.call(PRUNE_NOTICES, before)
