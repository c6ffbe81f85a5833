"""SQL of RFIs: one function, one statement."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec

from buildpeer.modules.rfis.rules import Held, Impact, Rfi, Status, Verb, searched
from buildpeer.platform.db import FIRST_PAGE, Database, Transaction, record, records

Sort = Literal["number", "-number", "due_date", "-due_date", "updated_at", "-updated_at"]
SORTS: tuple[Sort, ...] = get_args(Sort)
UNNUMBERED = 2**31 - 1  # where drafts stand in the order of numbers
NEVER = date(9000, 1, 1)  # where those without a due date stand; the driver takes the last day of all for infinity


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply as the database has it."""

    reply_id: UUID
    rfi_id: UUID
    created_by: UUID
    body: str
    documents: tuple[UUID, ...] = ()
    official: bool = False
    created_at: datetime


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to an RFI, by whom, and what it did to its state and to the ball."""

    version: int
    verb: Verb
    by_person: UUID | None
    occurred_at: datetime
    status_before: Status | None
    status_after: Status
    ball_before: tuple[UUID, ...]
    ball_after: tuple[UUID, ...]
    reply_id: UUID | None = None
    note: str = ""


class RfiSettings(msgspec.Struct, frozen=True):
    """Who manages RFIs that name nobody, in how many working days they are due, and the number that was given last."""

    manager_id: UUID | None = None
    due_days: int = 7
    last_number: int = 0
    version: int = 0


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A numbered RFI as the log has it, with names."""

    number: int
    status: Status
    subject: str
    question: str
    reference: str
    due_date: date | None
    submitted_at: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None
    cost_impact: Impact
    cost_amount: Decimal | None
    schedule_impact: Impact
    schedule_days: int | None
    created_by: str | None
    manager: str | None
    ball_in_court: tuple[str, ...]
    responsible: str | None
    trade: str | None
    location: str | None
    answer: str | None


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A draft that comes from a line of a table."""

    rfi_id: UUID
    subject: str
    question: str
    reference: str
    private: bool
    created_by: UUID
    manager_id: UUID | None
    assignees: tuple[UUID, ...]
    location_id: UUID | None
    trade_id: UUID | None
    responsible_id: UUID | None
    due_date: date | None


class Names(msgspec.Struct, frozen=True):
    """What a table may name in a project: places by their path, trades and companies, and by e-mail who works there."""

    locations: dict[str, UUID]
    trades: dict[str, UUID]
    companies: dict[str, UUID]
    people: dict[str, UUID]


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which RFIs of a project; None: any. `late_on`: those that wait although they were due before that day."""

    status: Sequence[Status] | None = None
    ball_in_court: UUID | None = None
    assignee_id: UUID | None = None
    location_ids: Sequence[UUID] | None = None
    trade_id: UUID | None = None
    late_on: date | None = None
    words: str | None = None


_COLUMNS = """
rfi_id, project_id, number, status, version, subject, question, reference, private, created_by, manager_id, assignees,
required, replied, reviewer_id, distribution, ball_in_court, documents, location_id, trade_id, received_from_id,
responsible_id, due_date, cost_impact, cost_amount, schedule_impact, schedule_days, remind_at, reminded, created_at,
updated_at, submitted_at, opened_at, answered_at, closed_at
"""
_WORDS = "to_tsvector('spanish', {0}) || to_tsvector('portuguese', {0})"  # whichever language, whichever form of a word
_WHERE = """
tenant_id = $1 and project_id = $2
  and ($4::text[] is null or status = any ($4))
  and ($5::uuid is null or $5 = any (ball_in_court))
  and ($6::uuid is null or $6 = any (assignees))
  and ($7::uuid[] is null or location_id = any ($7))
  and ($8::uuid is null or trade_id = $8)
  and ($9::date is null or (status in ('submitted', 'open') and due_date < $9))
  and ($10::text is null or words @@ (websearch_to_tsquery('spanish', $10) || websearch_to_tsquery('portuguese', $10)))
"""
INSERT = f"""
insert into rfis (tenant_id, {_COLUMNS}, words, made_of)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
  $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36,
  {_WORDS.format("$37")}, $38)
on conflict (tenant_id, rfi_id) do nothing returning true
"""  # noqa: S608
BY_ID = f"select {_COLUMNS} from rfis where tenant_id = $1 and rfi_id = $2"  # noqa: S608
MADE = f"{BY_ID} and project_id = $3 and created_by = $4 and made_of = $5"
LOCKED = f"{BY_ID} for no key update"
LOCKED_ALL = f"""
select {_COLUMNS} from rfis where tenant_id = $1 and rfi_id = any ($2) order by rfi_id for no key update
"""  # noqa: S608
SAVE = f"""
update rfis set number = $3, status = $4, version = $5, subject = $6, question = $7, reference = $8, private = $9,
  manager_id = $10, assignees = $11, required = $12, replied = $13, reviewer_id = $14, distribution = $15,
  ball_in_court = $16, documents = $17, location_id = $18, trade_id = $19, received_from_id = $20, responsible_id = $21,
  due_date = $22, cost_impact = $23, cost_amount = $24, schedule_impact = $25, schedule_days = $26, remind_at = $27,
  reminded = $28, updated_at = $29, submitted_at = $30, opened_at = $31, answered_at = $32, closed_at = $33,
  words = {_WORDS.format("$34")}
where tenant_id = $1 and rfi_id = $2
"""  # noqa: S608
_PAGE = f"select {_COLUMNS} from rfis where {_WHERE}"  # noqa: S608
PAGE_BY_NUMBER = f"""{_PAGE} and (coalesce(number, 2147483647), rfi_id) > ($11::bigint, $12::uuid)
order by coalesce(number, 2147483647), rfi_id limit $3"""
PAGE_BY_NUMBER_DOWN = f"""{_PAGE} and (coalesce(number, 2147483647), rfi_id) < ($11::bigint, $12::uuid)
order by coalesce(number, 2147483647) desc, rfi_id desc limit $3"""
PAGE_BY_DUE_DATE = f"""{_PAGE} and (coalesce(due_date, date '9000-01-01'), rfi_id) > ($11::date, $12::uuid)
order by coalesce(due_date, date '9000-01-01'), rfi_id limit $3"""
PAGE_BY_DUE_DATE_DOWN = f"""{_PAGE} and (coalesce(due_date, date '9000-01-01'), rfi_id) < ($11::date, $12::uuid)
order by coalesce(due_date, date '9000-01-01') desc, rfi_id desc limit $3"""
PAGE_BY_UPDATE = f"""{_PAGE} and (updated_at, rfi_id) > ($11::timestamptz, $12::uuid)
order by updated_at, rfi_id limit $3"""
PAGE_BY_UPDATE_DOWN = f"""{_PAGE} and (updated_at, rfi_id) < ($11::timestamptz, $12::uuid)
order by updated_at desc, rfi_id desc limit $3"""
# Names for people who read them on paper; a place with those in which it lies.
LOGGED = """
select r.number, r.status, r.subject, r.question, r.reference, r.due_date, r.submitted_at, r.answered_at, r.closed_at,
  r.cost_impact, r.cost_amount, r.schedule_impact, r.schedule_days,
  (select p.name from people p where p.person_id = r.created_by) as created_by,
  (select p.name from people p where p.person_id = r.manager_id) as manager,
  array(select p.name from people p where p.person_id = any (r.ball_in_court) order by p.name) as ball_in_court,
  (select c.name from companies c where c.tenant_id = $1 and c.company_id = r.responsible_id) as responsible,
  (select t.name from trades t where t.tenant_id = $1 and t.trade_id = r.trade_id) as trade,
  (with recursive up as (
    select l.parent_id, l.name, 1 as depth from locations l
    where l.tenant_id = $1 and l.project_id = $2 and l.location_id = r.location_id
    union all select l.parent_id, l.name, up.depth + 1 from up join locations l
      on l.tenant_id = $1 and l.project_id = $2 and l.location_id = up.parent_id where up.depth < 20
  ) select string_agg(name, ' / ' order by depth desc) from up) as location,
  (select y.body from rfi_replies y where y.tenant_id = $1 and y.rfi_id = r.rfi_id and y.official) as answer
from rfis r
where r.tenant_id = $1 and r.project_id = $2 and r.number is not null
  and ($3::text[] is null or r.status = any ($3))
order by r.number
"""
KNOWN = "select rfi_id from rfis where tenant_id = $1 and rfi_id = any ($2)"
INSERT_MANY = f"""
insert into rfis (tenant_id, project_id, rfi_id, subject, question, reference, private, created_by, manager_id,
  assignees, required, ball_in_court, location_id, trade_id, responsible_id, due_date, created_at, updated_at, words,
  made_of)
select $1, $2, r.rfi_id, r.subject, r.question, r.reference, r.private, r.created_by, r.manager_id, r.assignees,
  r.assignees, array[r.created_by], r.location_id, r.trade_id, r.responsible_id, r.due_date, $4, $4,
  {_WORDS.format("r.words")}, ''
from jsonb_to_recordset($3::jsonb) as r (rfi_id uuid, subject text, question text, reference text, private boolean,
  created_by uuid, manager_id uuid, assignees uuid[], location_id uuid, trade_id uuid, responsible_id uuid,
  due_date date, words text)
"""  # noqa: S608
# A statement of its own: only then are they there for the policy to see.
ADD_CREATIONS = """
insert into rfi_transitions (tenant_id, rfi_id, version, project_id, verb, by_person, occurred_at, status_after,
  ball_before, ball_after)
select r.tenant_id, r.rfi_id, r.version, r.project_id, 'create', r.created_by, r.created_at, r.status, '{}',
  r.ball_in_court from rfis r where r.tenant_id = $1 and r.rfi_id = any ($2)
"""
LOCATION_NAMES = """
with recursive down as (
  select l.location_id, l.name as path from locations l
  where l.tenant_id = $1 and l.project_id = $2 and l.parent_id is null and l.archived_at is null
  union all select l.location_id, d.path || '/' || l.name from down d
  join locations l on l.tenant_id = $1 and l.project_id = $2 and l.parent_id = d.location_id
  where l.archived_at is null
) select path as name, location_id as id from down
"""
TRADE_NAMES = "select name, trade_id as id from trades where tenant_id = $1 and archived_at is null"
COMPANY_NAMES = """
select c.name, c.company_id as id from project_companies pc
join companies c on c.tenant_id = $1 and c.company_id = pc.company_id
where pc.tenant_id = $1 and pc.project_id = $2 and pc.ended_at is null
"""
PEOPLE_EMAILS = """
select p.email as name, p.person_id as id from memberships m join people p on p.person_id = m.person_id
where m.tenant_id = $1 and p.email is not null and (m.role in ('owner', 'manager')
  or (m.role <> 'inversionista' and exists (select from project_members pm
    where pm.tenant_id = $1 and pm.project_id = $2 and pm.person_id = m.person_id)))
"""
NEXT_NUMBER = """
insert into rfi_settings as s (tenant_id, project_id, last_number) values ($1, $2, 1)
on conflict (tenant_id, project_id) do update set last_number = s.last_number + 1 returning last_number
"""
SETTINGS = """
select manager_id, due_days, last_number, version from rfi_settings where tenant_id = $1 and project_id = $2
"""
SET = """
insert into rfi_settings as s (tenant_id, project_id, manager_id, due_days, version) values ($1, $2, $3, $4, 1)
on conflict (tenant_id, project_id) do update
set manager_id = excluded.manager_id, due_days = excluded.due_days, version = s.version + 1
where $5::bigint is null or s.version = $5
returning manager_id, due_days, last_number, version
"""
ADD_TRANSITION = """
insert into rfi_transitions (tenant_id, rfi_id, version, project_id, verb, by_person, occurred_at, status_before,
  status_after, ball_before, ball_after, reply_id, note)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
TRANSITIONS = """
select version, verb, by_person, occurred_at, status_before, status_after, ball_before, ball_after, reply_id, note
from rfi_transitions where tenant_id = $1 and rfi_id = $2 and version > $3 order by version limit $4
"""
LAST_TRANSITION = """
select version, verb, by_person, occurred_at, status_before, status_after, ball_before, ball_after, reply_id, note
from rfi_transitions where tenant_id = $1 and rfi_id = $2 order by version desc limit 1
"""
COURTS = """
select rfi_id, occurred_at as since, ball_after as people from rfi_transitions
where tenant_id = $1 and project_id = $2 and ($3::uuid is null or rfi_id = $3) order by rfi_id, version
"""
ADD_REPLY = """
insert into rfi_replies (tenant_id, rfi_id, reply_id, project_id, created_by, body, documents, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning true
"""
REPLY = """
select reply_id, rfi_id, created_by, body, documents, official, created_at from rfi_replies
where tenant_id = $1 and reply_id = $2
"""
REPLIES = """
select reply_id, rfi_id, created_by, body, documents, official, created_at from rfi_replies
where tenant_id = $1 and rfi_id = any ($2) order by rfi_id, created_at, reply_id
"""
NO_LONGER_OFFICIAL = """
update rfi_replies set official = false where tenant_id = $1 and rfi_id = $2 and official
"""
OFFICIAL = """
update rfi_replies set official = true where tenant_id = $1 and rfi_id = $2 and reply_id = $3 returning true
"""
NAMES = "select person_id, name from people where person_id = any ($1)"
COMPANY = "select name from tenants where tenant_id = $1"
DUE = "select tenant_id, rfi_id from app.due_rfis($1, $2)"
REMIND_LATER = "update rfis set remind_at = $3, reminded = $4 where tenant_id = $1 and rfi_id = $2"


async def insert(tx: Transaction, rfi: Rfi, made_of: bytes) -> bool:
    """Put a new RFI down, and the hash of what it was made of; False if its id is taken."""
    return bool(
        await tx.value(
            INSERT,
            tx.tenant_id,
            rfi.rfi_id,
            rfi.project_id,
            rfi.number,
            rfi.status,
            rfi.version,
            rfi.subject,
            rfi.question,
            rfi.reference,
            rfi.private,
            rfi.created_by,
            rfi.manager_id,
            rfi.assignees,
            rfi.required,
            rfi.replied,
            rfi.reviewer_id,
            rfi.distribution,
            rfi.ball_in_court,
            rfi.documents,
            rfi.location_id,
            rfi.trade_id,
            rfi.received_from_id,
            rfi.responsible_id,
            rfi.due_date,
            rfi.cost_impact,
            rfi.cost_amount,
            rfi.schedule_impact,
            rfi.schedule_days,
            rfi.remind_at,
            rfi.reminded,
            rfi.created_at,
            rfi.updated_at,
            rfi.submitted_at,
            rfi.opened_at,
            rfi.answered_at,
            rfi.closed_at,
            _words(rfi),
            made_of,
        )
    )


async def made(tx: Transaction, rfi: Rfi, made_of: bytes) -> Rfi | None:
    """What became of an RFI that the same person has made of the same before; None if there is none."""
    row = await tx.one(MADE, tx.tenant_id, rfi.rfi_id, rfi.project_id, rfi.created_by, made_of)
    return None if row is None else record(row, Rfi)


async def by_id(tx: Transaction, rfi_id: UUID) -> Rfi | None:
    """An RFI that the caller may see."""
    row = await tx.one(BY_ID, tx.tenant_id, rfi_id)
    return None if row is None else record(row, Rfi)


async def locked(tx: Transaction, rfi_id: UUID) -> Rfi | None:
    """An RFI that the caller may see, as it is now, and nobody else changes it until this transaction ends."""
    row = await tx.one(LOCKED, tx.tenant_id, rfi_id)
    return None if row is None else record(row, Rfi)


async def locked_all(tx: Transaction, rfi_ids: Sequence[UUID]) -> list[Rfi]:
    """Those of them that the caller may see, locked in one order everywhere, so that two calls never deadlock."""
    return records(await tx.all(LOCKED_ALL, tx.tenant_id, rfi_ids), Rfi)


async def save(tx: Transaction, rfi: Rfi) -> None:
    """Write what an RFI that is locked has become."""
    await tx.run(
        SAVE,
        tx.tenant_id,
        rfi.rfi_id,
        rfi.number,
        rfi.status,
        rfi.version,
        rfi.subject,
        rfi.question,
        rfi.reference,
        rfi.private,
        rfi.manager_id,
        rfi.assignees,
        rfi.required,
        rfi.replied,
        rfi.reviewer_id,
        rfi.distribution,
        rfi.ball_in_court,
        rfi.documents,
        rfi.location_id,
        rfi.trade_id,
        rfi.received_from_id,
        rfi.responsible_id,
        rfi.due_date,
        rfi.cost_impact,
        rfi.cost_amount,
        rfi.schedule_impact,
        rfi.schedule_days,
        rfi.remind_at,
        rfi.reminded,
        rfi.updated_at,
        rfi.submitted_at,
        rfi.opened_at,
        rfi.answered_at,
        rfi.closed_at,
        _words(rfi),
    )


async def page(
    tx: Transaction, project_id: UUID, filters: Filters, *, sort: Sort, after: tuple[Any, UUID] | None, limit: int
) -> list[Rfi]:
    """RFIs of a project in an order, after a place in it."""
    statement, first = _ORDERS[sort]
    words = searched(filters.words) if filters.words else None
    rows = await tx.all(
        statement,
        tx.tenant_id,
        project_id,
        limit,
        filters.status,
        filters.ball_in_court,
        filters.assignee_id,
        filters.location_ids,
        filters.trade_id,
        filters.late_on,
        words,
        *(after or first),
    )
    return records(rows, Rfi)


async def log(tx: Transaction, project_id: UUID, status: Sequence[Status] | None) -> list[Logged]:
    """The numbered RFIs of a project that the caller may see, by number, with names."""
    return records(await tx.all(LOGGED, tx.tenant_id, project_id, status), Logged)


async def names_in(tx: Transaction, project_id: UUID) -> Names:
    """What a table may name in a project."""
    return Names(
        _ids(await tx.all(LOCATION_NAMES, tx.tenant_id, project_id)),
        _ids(await tx.all(TRADE_NAMES, tx.tenant_id)),
        _ids(await tx.all(COMPANY_NAMES, tx.tenant_id, project_id)),
        _ids(await tx.all(PEOPLE_EMAILS, tx.tenant_id, project_id)),
    )


async def known(tx: Transaction, rfi_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these RFIs that are there."""
    return {row["rfi_id"] for row in await tx.all(KNOWN, tx.tenant_id, rfi_ids)}


async def insert_many(tx: Transaction, project_id: UUID, rfis: Sequence[Imported], *, now: datetime) -> None:
    """Put new drafts down."""
    rows = [
        msgspec.structs.asdict(rfi) | {"words": searched(f"{rfi.subject} {rfi.question} {rfi.reference}")}
        for rfi in rfis
    ]
    await tx.run(INSERT_MANY, tx.tenant_id, project_id, rows, now)


async def add_creations(tx: Transaction, rfi_ids: Sequence[UUID]) -> None:
    """Put down that drafts were made."""
    await tx.run(ADD_CREATIONS, tx.tenant_id, rfi_ids)


async def next_number(tx: Transaction, project_id: UUID) -> int:
    """The next number of a project, given back if this transaction doesn't commit; others wait for it until then."""
    return await tx.value(NEXT_NUMBER, tx.tenant_id, project_id)


async def settings(tx: Transaction, project_id: UUID) -> RfiSettings:
    """How RFIs are handled in a project; the defaults where nobody has said."""
    row = await tx.one(SETTINGS, tx.tenant_id, project_id)
    return RfiSettings() if row is None else record(row, RfiSettings)


async def change_settings(
    tx: Transaction, project_id: UUID, *, version: int | None, manager_id: UUID | None, due_days: int
) -> RfiSettings | None:
    """Say how RFIs are handled in a project; None if that has changed since `version`."""
    row = await tx.one(SET, tx.tenant_id, project_id, manager_id, due_days, version)
    return None if row is None else record(row, RfiSettings)


async def add_transition(tx: Transaction, rfi: Rfi, transition: Transition) -> None:
    """Put down what was done."""
    await tx.run(
        ADD_TRANSITION,
        tx.tenant_id,
        rfi.rfi_id,
        transition.version,
        rfi.project_id,
        transition.verb,
        transition.by_person,
        transition.occurred_at,
        transition.status_before,
        transition.status_after,
        transition.ball_before,
        transition.ball_after,
        transition.reply_id,
        transition.note,
    )


async def transitions(tx: Transaction, rfi_id: UUID, *, after: int, limit: int) -> list[Transition]:
    """What was done to an RFI, oldest first, after a version."""
    return records(await tx.all(TRANSITIONS, tx.tenant_id, rfi_id, after, limit), Transition)


async def last_transition(tx: Transaction, rfi_id: UUID) -> Transition | None:
    """What was done to an RFI last."""
    row = await tx.one(LAST_TRANSITION, tx.tenant_id, rfi_id)
    return None if row is None else record(row, Transition)


async def courts(tx: Transaction, project_id: UUID, rfi_id: UUID | None) -> list[list[Held]]:
    """In whose court the ball was from when on, for each RFI of a project that the caller may see, or for one."""
    histories: dict[UUID, list[Held]] = {}
    for row in await tx.all(COURTS, tx.tenant_id, project_id, rfi_id):
        histories.setdefault(row["rfi_id"], []).append(Held(row["since"], tuple(row["people"])))
    return list(histories.values())


async def names(tx: Transaction, people: Sequence[UUID]) -> dict[UUID, str]:
    """What people of the company are called."""
    return {row["person_id"]: row["name"] for row in await tx.all(NAMES, people)}


async def company(tx: Transaction) -> str:
    """What the caller's company is called."""
    return await tx.value(COMPANY, tx.tenant_id)


async def add_reply(tx: Transaction, rfi: Rfi, reply: Reply) -> bool:
    """Put a reply down; False if its id is taken."""
    return bool(
        await tx.value(
            ADD_REPLY,
            tx.tenant_id,
            rfi.rfi_id,
            reply.reply_id,
            rfi.project_id,
            reply.created_by,
            reply.body,
            reply.documents,
            reply.created_at,
        )
    )


async def reply(tx: Transaction, reply_id: UUID) -> Reply | None:
    """A reply that the caller may see."""
    row = await tx.one(REPLY, tx.tenant_id, reply_id)
    return None if row is None else record(row, Reply)


async def replies(tx: Transaction, rfi_ids: Sequence[UUID]) -> list[Reply]:
    """The replies to RFIs, oldest first."""
    return records(await tx.all(REPLIES, tx.tenant_id, rfi_ids), Reply)


async def make_none_official(tx: Transaction, rfi_id: UUID) -> None:
    """No reply is the official one any more."""
    await tx.run(NO_LONGER_OFFICIAL, tx.tenant_id, rfi_id)


async def make_official(tx: Transaction, rfi_id: UUID, reply_id: UUID) -> bool:
    """Make a reply the official one, where none is; False if the RFI has no such reply."""
    return bool(await tx.value(OFFICIAL, tx.tenant_id, rfi_id, reply_id))


async def due(db: Database, now: datetime, limit: int) -> list[Any]:
    """RFIs of any tenant whose time to be reminded of has come, each lent for a minute."""
    return await db.call(DUE, now, limit)


async def remind_later(tx: Transaction, rfi: Rfi) -> None:
    """Keep which reminder was given, and when the next one is."""
    await tx.run(REMIND_LATER, tx.tenant_id, rfi.rfi_id, rfi.remind_at, rfi.reminded)


def _ids(rows: Sequence[Any]) -> dict[str, UUID]:
    return {row["name"]: row["id"] for row in rows}


def _words(rfi: Rfi) -> str:
    return searched(f"{rfi.subject} {rfi.question} {rfi.reference}")


_LEAST, _MOST = UUID(int=0), UUID(int=2**128 - 1)
_ORDERS: dict[Sort, tuple[str, tuple[Any, UUID]]] = {
    "number": (PAGE_BY_NUMBER, (0, _LEAST)),
    "-number": (PAGE_BY_NUMBER_DOWN, (UNNUMBERED, _MOST)),
    "due_date": (PAGE_BY_DUE_DATE, (date.min, _LEAST)),
    "-due_date": (PAGE_BY_DUE_DATE_DOWN, (NEVER, _MOST)),
    "updated_at": (PAGE_BY_UPDATE, (datetime(1, 1, 2, tzinfo=UTC), _LEAST)),
    "-updated_at": (PAGE_BY_UPDATE_DOWN, FIRST_PAGE),
}
