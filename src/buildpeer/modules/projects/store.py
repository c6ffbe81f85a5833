"""SQL of projects: one function, one statement."""

import contextlib
from collections.abc import Collection, Generator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from buildpeer.modules.projects.rules import Calendar
from buildpeer.platform.db import Transaction
from buildpeer.platform.errors import Problem

Row = Mapping[str, Any]

# The row is there only if row-level security lets the caller see the project.
ACCESS = """
select project_id, code, name, timezone, currency, country, archived_at is not null as archived from projects
where tenant_id = $1 and project_id = $2
"""
NAMES = """
select location_id as id, name from locations where tenant_id = $1 and location_id = any ($2::uuid[])
union all select trade_id, name from trades where tenant_id = $1 and trade_id = any ($3::uuid[])
union all select company_id, name from companies where tenant_id = $1 and company_id = any ($4::uuid[])
"""
# Owners and managers belong to every project, others to those that they were put into.
ROLE_IN = """
select m.role from memberships m
where m.tenant_id = $1 and m.person_id = $3 and (m.role in ('owner', 'manager') or exists (
  select from project_members pm where pm.tenant_id = $1 and pm.project_id = $2 and pm.person_id = $3))
"""
# A cover is there for whoever may see the document.
_PROJECT = """
select p.project_id, p.code, p.name, p.timezone, p.client, p.address, p.latitude, p.longitude, p.currency, p.country,
  p.phase, p.starts_on, p.ends_on, p.rest_weekdays, p.archived_at, p.created_at, p.version, (
    select d.document_id from project_covers c
    join documents d on d.tenant_id = c.tenant_id and d.document_id = c.document_id
    where c.tenant_id = p.tenant_id and c.project_id = p.project_id) as cover_document_id
from projects p where p.tenant_id = $1
"""
PROJECT = f"{_PROJECT} and p.project_id = $2"
PAGE = f"""
{_PROJECT} and (p.archived_at is not null) = $2 and ($3::text is null or p.phase = $3)
  and ($5::text is null or (case when $4 = 'code' then p.code else p.name end, p.project_id) > ($5, $6))
order by case when $4 = 'code' then p.code else p.name end, p.project_id limit $7
"""
IDS_BY_CODE = "select lower(code) as code, project_id from projects where tenant_id = $1 and archived_at is null"
# `now()` makes Postgres look the zone up.
ZONE = "select now() at time zone $1"
ADD = """
insert into projects (tenant_id, project_id, code, name, timezone, client, address, latitude, longitude, currency,
  country, phase, starts_on, ends_on, rest_weekdays)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""
CHANGE = """
update projects set code = $4, name = $5, timezone = $6, client = $7, address = $8, latitude = $9, longitude = $10,
  currency = $11, country = $12, phase = $13, starts_on = $14, ends_on = $15, rest_weekdays = $16, archived_at = $17,
  version = version + 1
where tenant_id = $1 and project_id = $2 and version = $3 returning true
"""
CHANGEABLE = (
    "code",
    "name",
    "timezone",
    "client",
    "address",
    "latitude",
    "longitude",
    "currency",
    "country",
    "phase",
    "starts_on",
    "ends_on",
    "rest_weekdays",
)
BUDGET = "select amount, version from project_budgets where tenant_id = $1 and project_id = $2"
FIRST_BUDGET = """
insert into project_budgets (tenant_id, project_id, amount) values ($1, $2, $3) on conflict do nothing returning version
"""
CHANGE_BUDGET = """
update project_budgets set amount = $3, version = version + 1
where tenant_id = $1 and project_id = $2 and ($4::bigint is null or version = $4) returning version
"""
SET_COVER = """
insert into project_covers (tenant_id, project_id, document_id)
select d.tenant_id, d.project_id, d.document_id from documents d
where d.tenant_id = $1 and d.project_id = $2 and d.document_id = $3 and d.kind = 'photo'
on conflict (tenant_id, project_id) do update set document_id = excluded.document_id returning true
"""
REMOVE_COVER = "delete from project_covers where tenant_id = $1 and project_id = $2"

# The first kind of thing of which something is missing.
MISSING = """
select case
  when exists (select from unnest($3::uuid[]) as w (id) where not exists (select from locations l where l.tenant_id = $1
    and l.project_id = $2 and l.location_id = w.id and l.archived_at is null)) then 'location_id'
  when exists (select from unnest($4::uuid[]) as w (id) where not exists (select from trades t where t.tenant_id = $1
    and t.trade_id = w.id and t.archived_at is null)) then 'trade_id'
  when exists (select from unnest($5::uuid[]) as w (id) where not exists (select from project_companies c
    where c.tenant_id = $1 and c.project_id = $2 and c.company_id = w.id and c.ended_at is null)) then 'company_id'
  when exists (select from unnest($6::uuid[]) as w (id) where not exists (select from memberships m
    where m.tenant_id = $1 and m.person_id = w.id and (m.role in ('owner', 'manager') or exists (
      select from project_members pm where pm.tenant_id = $1 and pm.project_id = $2 and pm.person_id = w.id))))
    then 'person_id'
end
"""
COMPANIES_OF = """
select person_id, company_id from project_members
where tenant_id = $1 and project_id = $2 and person_id = any ($3) and company_id is not null
"""

MEMBERS = """
select p.person_id, p.name, p.email, m.role, pm.person_id is null as by_role, pm.company_id,
  coalesce(pm.created_at, m.created_at) as created_at
from memberships m
join people p on p.person_id = m.person_id
left join project_members pm on pm.tenant_id = $1 and pm.project_id = $2 and pm.person_id = m.person_id
where m.tenant_id = $1 and (m.role in ('owner', 'manager') or pm.person_id is not null)
  and ($3::uuid is null or m.person_id = $3) and ($4::text is null or (p.name, p.person_id) > ($4, $5))
  and ($7::text is null or m.role = $7) and ($8::uuid is null or pm.company_id = $8)
order by p.name, p.person_id limit $6
"""
ADD_MEMBER = """
insert into project_members (tenant_id, project_id, person_id)
select m.tenant_id, $2, m.person_id from memberships m where m.tenant_id = $1 and m.person_id = $3
on conflict do nothing
"""
ASSIGN_MEMBER = """
insert into project_members (tenant_id, project_id, person_id, company_id) values ($1, $2, $3, $4)
on conflict (tenant_id, project_id, person_id) do update set company_id = excluded.company_id
"""
REMOVE_MEMBER = """
delete from project_members where tenant_id = $1 and project_id = $2 and person_id = $3 returning true
"""

# What a place lies in, from the top; no deeper than keep_tree() lets it.
_PATH = """array(
    with recursive up as (
      select u.parent_id, u.name, 1 as height from locations u
      where u.tenant_id = l.tenant_id and u.project_id = l.project_id and u.location_id = l.location_id
      union all
      select u.parent_id, u.name, up.height + 1 from up join locations u
        on u.tenant_id = l.tenant_id and u.project_id = l.project_id and u.location_id = up.parent_id
    )
    select up.name from up order by up.height desc) as path"""
_LOCATION = f"""
select l.location_id, l.project_id, l.parent_id, l.name, {_PATH}, l.archived_at, l.version from locations l
where l.tenant_id = $1 and l.project_id = $2
"""  # noqa: S608
LOCATION = f"{_LOCATION} and l.location_id = $3"
LOCATIONS = f"""
{_LOCATION} and ($3::uuid is null or l.parent_id = $3) and ($4 or l.archived_at is null)
  and ($5::uuid is null or l.location_id > $5) order by l.location_id limit $6
"""
TREE = """
select location_id, parent_id, name from locations where tenant_id = $1 and project_id = $2 and archived_at is null
"""
LOCK_TREE = "select pg_advisory_xact_lock(hashtextextended('locations ' || $1::uuid::text, 0))"
ADD_LOCATION = """
insert into locations (tenant_id, project_id, location_id, parent_id, name) values ($1, $2, $3, $4, $5)
on conflict (tenant_id, project_id, location_id) do nothing
"""
# Parents come first, as they are looked for one after the other.
ADD_LOCATIONS = """
insert into locations (tenant_id, project_id, location_id, parent_id, name)
select $1, $2, n.location_id, n.parent_id, n.name
from unnest($3::uuid[], $4::uuid[], $5::text[]) with ordinality as n (location_id, parent_id, name, place)
order by place
"""
CHANGE_LOCATION = """
update locations set name = $4, parent_id = $5, version = version + 1
where tenant_id = $1 and project_id = $2 and location_id = $3 and version = $6 returning true
"""
_BRANCH = """
with recursive branch as (
  select l.location_id from locations l where l.tenant_id = $1 and l.project_id = $2 and l.location_id = $3
  union all
  select l.location_id from branch b join locations l
    on l.tenant_id = $1 and l.project_id = $2 and l.parent_id = b.location_id
)
"""
LOCATIONS_IN = f"{_BRANCH} select location_id from branch"  # noqa: S608
ARCHIVE_BRANCH = f"""
{_BRANCH} update locations l set archived_at = $4 from branch b
where l.tenant_id = $1 and l.project_id = $2 and l.location_id = b.location_id and l.archived_at is null
"""  # noqa: S608
RESTORE_BRANCH = f"""
{_BRANCH} update locations l set archived_at = null from branch b
where l.tenant_id = $1 and l.project_id = $2 and l.location_id = b.location_id and l.archived_at = $4
"""  # noqa: S608

_TRADE = "trade_id, name, archived_at, version"
TRADE = f"select {_TRADE} from trades where tenant_id = $1 and trade_id = $2"  # noqa: S608
TRADES = f"""
select {_TRADE} from trades where tenant_id = $1 and ($2::text is null or (name, trade_id) > ($2, $3))
order by name, trade_id limit $4
"""  # noqa: S608
ADD_TRADE = """
insert into trades (tenant_id, trade_id, name) values ($1, $2, $3) on conflict (tenant_id, trade_id) do nothing
"""
CHANGE_TRADE = f"""
update trades set name = coalesce($3, name), version = version + 1, archived_at = case $4::boolean
    when true then coalesce(archived_at, $6) when false then null else archived_at end
where tenant_id = $1 and trade_id = $2 and ($5::bigint is null or version = $5) returning {_TRADE}
"""  # noqa: S608
_COMPANY = "company_id, name, tax_id, archived_at, version"
COMPANY = f"select {_COMPANY} from companies where tenant_id = $1 and company_id = $2"  # noqa: S608
COMPANIES = f"""
select {_COMPANY} from companies where tenant_id = $1 and ($2::text is null or (name, company_id) > ($2, $3))
order by name, company_id limit $4
"""  # noqa: S608
ADD_COMPANY = """
insert into companies (tenant_id, company_id, name, tax_id) values ($1, $2, $3, $4)
on conflict (tenant_id, company_id) do nothing
"""
CHANGE_COMPANY = f"""
update companies set name = coalesce($3, name), tax_id = coalesce($7, tax_id), version = version + 1,
  archived_at = case $4::boolean
    when true then coalesce(archived_at, $6) when false then null else archived_at end
where tenant_id = $1 and company_id = $2 and ($5::bigint is null or version = $5) returning {_COMPANY}
"""  # noqa: S608
PROJECT_COMPANIES = """
select c.company_id, c.name, c.tax_id, pc.duty, pc.trade_id, pc.created_at, pc.ended_at
from project_companies pc join companies c on c.tenant_id = pc.tenant_id and c.company_id = pc.company_id
where pc.tenant_id = $1 and pc.project_id = $2 and ($3::uuid is null or pc.company_id = $3)
  and ($4::text is null or (c.name, c.company_id) > ($4, $5))
order by c.name, c.company_id limit $6
"""
ENGAGE = """
insert into project_companies (tenant_id, project_id, company_id, duty, trade_id) values ($1, $2, $3, $4, $5)
on conflict (tenant_id, project_id, company_id) do update set duty = excluded.duty, trade_id = excluded.trade_id,
  ended_at = null
"""
DISENGAGE = """
update project_companies set ended_at = coalesce(ended_at, $4) where tenant_id = $1 and project_id = $2
  and company_id = $3 returning true
"""

CALENDAR = """
select p.country, p.rest_weekdays, array(select d.day from calendar_days d where d.tenant_id = $1
    and d.project_id = $2 and d.works) as worked,
  array(select d.day from calendar_days d where d.tenant_id = $1 and d.project_id = $2 and not d.works) as free
from projects p where p.tenant_id = $1 and p.project_id = $2
"""
CALENDAR_NAMES = """
select day, name from calendar_days where tenant_id = $1 and project_id = $2 and day between $3 and $4
"""
SET_DAY = """
insert into calendar_days (tenant_id, project_id, day, works, name) values ($1, $2, $3, $4, $5)
on conflict (tenant_id, project_id, day) do update set works = excluded.works, name = excluded.name
"""
FORGET_DAY = "delete from calendar_days where tenant_id = $1 and project_id = $2 and day = $3 returning true"


async def access(tx: Transaction, project_id: UUID) -> Row | None:
    """What other modules need of a project that the caller may see."""
    return await tx.one(ACCESS, tx.tenant_id, project_id)


async def role_in(tx: Transaction, project_id: UUID, person_id: UUID) -> str | None:
    """What a person is in a project; None: nothing."""
    return await tx.value(ROLE_IN, tx.tenant_id, project_id, person_id)


async def project(tx: Transaction, project_id: UUID) -> Row | None:
    """A project that the caller may see."""
    return await tx.one(PROJECT, tx.tenant_id, project_id)


async def page(
    tx: Transaction, *, archived: bool, phase: str | None, sort: str, after: tuple[str, UUID] | None, limit: int
) -> list[Any]:
    """Projects by name or code, after a name or code and an id."""
    return await tx.all(PAGE, tx.tenant_id, archived, phase, sort, *(after or (None, None)), limit)


async def ids_by_code(tx: Transaction) -> dict[str, UUID]:
    """The projects that the caller may see, by their codes in small letters."""
    return {row["code"]: row["project_id"] for row in await tx.all(IDS_BY_CODE, tx.tenant_id)}


async def knows_zone(tx: Transaction, timezone: str) -> bool:
    """Whether Postgres knows a time zone; where it doesn't, the transaction is over."""
    try:
        await tx.run(ZONE, timezone)
    except asyncpg.InvalidParameterValueError:
        return False
    return True


async def add(tx: Transaction, *, project_id: UUID, **fields: Any) -> bool:
    """Insert a project; False, and the transaction is over, where the tenant has another one with this code."""
    try:
        await tx.run(ADD, tx.tenant_id, project_id, *(fields[name] for name in CHANGEABLE))
    except asyncpg.UniqueViolationError:
        return False
    return True


async def change(tx: Transaction, project_id: UUID, *, version: int, fields: Mapping[str, Any]) -> bool | None:
    """Give a project new fields; False where it has another version by now, None, and the transaction is over, where
    another project has this code.
    """
    values = (*(fields[name] for name in CHANGEABLE), fields["archived_at"])
    try:
        return bool(await tx.value(CHANGE, tx.tenant_id, project_id, version, *values))
    except asyncpg.UniqueViolationError:
        return None


async def budget(tx: Transaction, project_id: UUID) -> Row | None:
    """What a project may cost, where somebody has said."""
    return await tx.one(BUDGET, tx.tenant_id, project_id)


async def set_budget(tx: Transaction, project_id: UUID, *, amount: Decimal, version: int | None) -> int | None:
    """Say what a project may cost; gives the new version, None where what is said has another one by now."""
    if not version:
        first = await tx.value(FIRST_BUDGET, tx.tenant_id, project_id, amount)
        if first is not None or version == 0:
            return first
    return await tx.value(CHANGE_BUDGET, tx.tenant_id, project_id, amount, version)


async def set_cover(tx: Transaction, project_id: UUID, document_id: UUID) -> bool:
    """Make a photo of the project its cover; False where the caller sees no such photo."""
    return bool(await tx.value(SET_COVER, tx.tenant_id, project_id, document_id))


async def remove_cover(tx: Transaction, project_id: UUID) -> None:
    """Leave a project without a cover."""
    await tx.run(REMOVE_COVER, tx.tenant_id, project_id)


async def missing(
    tx: Transaction,
    project_id: UUID,
    *,
    locations: Collection[UUID] = (),
    trades: Collection[UUID] = (),
    companies: Collection[UUID] = (),
    people: Collection[UUID] = (),
) -> str | None:
    """The field of which something isn't the project's, or no longer in use; None where all is there."""
    return await tx.value(
        MISSING, tx.tenant_id, project_id, list(locations), list(trades), list(companies), list(people)
    )


async def names(
    tx: Transaction, *, locations: Collection[UUID], trades: Collection[UUID], companies: Collection[UUID]
) -> dict[UUID, str]:
    """What these are called."""
    rows = await tx.all(NAMES, tx.tenant_id, list(locations), list(trades), list(companies))
    return {row["id"]: row["name"] for row in rows}


async def companies_of(tx: Transaction, project_id: UUID, people: Collection[UUID]) -> dict[UUID, UUID]:
    """For which company each of these people works in a project."""
    rows = await tx.all(COMPANIES_OF, tx.tenant_id, project_id, list(people))
    return {row["person_id"]: row["company_id"] for row in rows}


async def members(
    tx: Transaction,
    project_id: UUID,
    *,
    after: tuple[str, UUID] | None,
    limit: int,
    person_id: UUID | None = None,
    role: str | None = None,
    company_id: UUID | None = None,
) -> list[Any]:
    """Who belongs to a project, or whether `person_id` does, by name, after a name and id."""
    name, after_id = after or (None, None)
    return await tx.all(MEMBERS, tx.tenant_id, project_id, person_id, name, after_id, limit, role, company_id)


async def add_member(tx: Transaction, project_id: UUID, person_id: UUID) -> None:
    """Put a member of the tenant into a project; nothing happens for who is in it, or no member."""
    await tx.run(ADD_MEMBER, tx.tenant_id, project_id, person_id)


async def assign_member(tx: Transaction, project_id: UUID, person_id: UUID, company_id: UUID | None) -> None:
    """Say for which company of a project a member of it works."""
    await tx.run(ASSIGN_MEMBER, tx.tenant_id, project_id, person_id, company_id)


async def remove_member(tx: Transaction, project_id: UUID, person_id: UUID) -> bool:
    """Take somebody out of a project; False for who wasn't put into it. The database has their open uploads ended."""
    return bool(await tx.value(REMOVE_MEMBER, tx.tenant_id, project_id, person_id))


async def location(tx: Transaction, project_id: UUID, location_id: UUID) -> Row | None:
    """A place, with its path."""
    return await tx.one(LOCATION, tx.tenant_id, project_id, location_id)


async def locations(
    tx: Transaction, project_id: UUID, *, parent_id: UUID | None, archived: bool, after: UUID | None, limit: int
) -> list[Any]:
    """A project's places, or those in one of them, after an id; archived ones as well, if asked."""
    return await tx.all(LOCATIONS, tx.tenant_id, project_id, parent_id, archived, after, limit)


async def tree(tx: Transaction, project_id: UUID) -> list[Any]:
    """All places of a project that are in use; nobody else adds or moves any until the transaction ends."""
    await tx.run(LOCK_TREE, project_id)
    return await tx.all(TREE, tx.tenant_id, project_id)


async def add_location(
    tx: Transaction, project_id: UUID, location_id: UUID, *, parent_id: UUID | None, name: str
) -> None:
    """Insert a place, unless its id is there. Raises Problem name_taken."""
    with _names():
        await tx.run(ADD_LOCATION, tx.tenant_id, project_id, location_id, parent_id, name)


async def add_locations(tx: Transaction, project_id: UUID, places: Sequence[tuple[UUID, UUID | None, str]]) -> None:
    """Insert places (id, what it lies in, name), what contains before what is in it. Raises Problem name_taken."""
    columns = [list(column) for column in zip(*places, strict=True)]
    with _names():
        await tx.run(ADD_LOCATIONS, tx.tenant_id, project_id, *columns)


async def change_location(
    tx: Transaction, project_id: UUID, location_id: UUID, *, name: str, parent_id: UUID | None, version: int
) -> bool:
    """Rename or move a place; False where it has another version by now. Raises Problem name_taken."""
    with _names():
        changed = await tx.value(CHANGE_LOCATION, tx.tenant_id, project_id, location_id, name, parent_id, version)
    return bool(changed)


async def archive_branch(tx: Transaction, project_id: UUID, location_id: UUID, *, now: datetime) -> None:
    """Put a place away with all that lies in it."""
    await tx.run(ARCHIVE_BRANCH, tx.tenant_id, project_id, location_id, now)


async def restore_branch(tx: Transaction, project_id: UUID, location_id: UUID, *, archived_at: datetime) -> None:
    """Bring a place back with what was put away at the same time. Raises Problem name_taken."""
    with _names():
        await tx.run(RESTORE_BRANCH, tx.tenant_id, project_id, location_id, archived_at)


async def trade(tx: Transaction, trade_id: UUID) -> Row | None:
    """A trade of the tenant's."""
    return await tx.one(TRADE, tx.tenant_id, trade_id)


async def trades(tx: Transaction, *, after: tuple[str, UUID] | None, limit: int) -> list[Any]:
    """The tenant's trades by name, after a name and id."""
    return await tx.all(TRADES, tx.tenant_id, *(after or (None, None)), limit)


async def add_trade(tx: Transaction, trade_id: UUID, *, name: str) -> None:
    """Insert a trade, unless its id is there. Raises Problem name_taken."""
    with _names():
        await tx.run(ADD_TRADE, tx.tenant_id, trade_id, name)


async def change_trade(
    tx: Transaction, trade_id: UUID, *, name: str | None, archived: bool | None, version: int | None, now: datetime
) -> Row | None:
    """Change what isn't None; None where it has another version by now. Raises Problem name_taken."""
    with _names():
        return await tx.one(CHANGE_TRADE, tx.tenant_id, trade_id, name, archived, version, now)


async def company(tx: Transaction, company_id: UUID) -> Row | None:
    """A company that the caller may see."""
    return await tx.one(COMPANY, tx.tenant_id, company_id)


async def companies(tx: Transaction, *, after: tuple[str, UUID] | None, limit: int) -> list[Any]:
    """Companies that the caller may see, by name, after a name and id."""
    return await tx.all(COMPANIES, tx.tenant_id, *(after or (None, None)), limit)


async def add_company(tx: Transaction, company_id: UUID, *, name: str, tax_id: str) -> None:
    """Insert a company, unless its id is there. Raises Problem name_taken."""
    with _names():
        await tx.run(ADD_COMPANY, tx.tenant_id, company_id, name, tax_id)


async def change_company(
    tx: Transaction,
    company_id: UUID,
    *,
    name: str | None,
    tax_id: str | None,
    archived: bool | None,
    version: int | None,
    now: datetime,
) -> Row | None:
    """Change what isn't None; None where it has another version by now. Raises Problem name_taken."""
    with _names():
        return await tx.one(CHANGE_COMPANY, tx.tenant_id, company_id, name, archived, version, now, tax_id)


async def project_companies(
    tx: Transaction, project_id: UUID, *, after: tuple[str, UUID] | None, limit: int, company_id: UUID | None = None
) -> list[Any]:
    """Companies of a project, or the one named, by name, after a name and id."""
    return await tx.all(PROJECT_COMPANIES, tx.tenant_id, project_id, company_id, *(after or (None, None)), limit)


async def engage(tx: Transaction, project_id: UUID, company_id: UUID, *, duty: str, trade_id: UUID | None) -> None:
    """Have a company work on a project."""
    await tx.run(ENGAGE, tx.tenant_id, project_id, company_id, duty, trade_id)


async def disengage(tx: Transaction, project_id: UUID, company_id: UUID, *, now: datetime) -> bool:
    """Note that a company has left a project; False where it was never there."""
    return bool(await tx.value(DISENGAGE, tx.tenant_id, project_id, company_id, now))


async def locations_in(tx: Transaction, project_id: UUID, location_id: UUID) -> list[UUID]:
    """A place and all that lies in it; nothing for one that the project doesn't have."""
    return [row["location_id"] for row in await tx.all(LOCATIONS_IN, tx.tenant_id, project_id, location_id)]


async def calendar(tx: Transaction, project_id: UUID) -> Calendar | None:
    """On which days people work in a project that the caller may see."""
    row = await tx.one(CALENDAR, tx.tenant_id, project_id)
    if row is None:
        return None
    days = dict.fromkeys(row["worked"], True) | dict.fromkeys(row["free"], False)
    return Calendar(row["country"], frozenset(row["rest_weekdays"]), days)


async def calendar_names(tx: Transaction, project_id: UUID, *, first: date, last: date) -> dict[date, str]:
    """What a project calls its own days of a period."""
    rows = await tx.all(CALENDAR_NAMES, tx.tenant_id, project_id, first, last)
    return {row["day"]: row["name"] for row in rows}


async def set_day(tx: Transaction, project_id: UUID, day: date, *, works: bool, name: str) -> None:
    """Say of a day whether people work."""
    await tx.run(SET_DAY, tx.tenant_id, project_id, day, works, name)


async def forget_day(tx: Transaction, project_id: UUID, day: date) -> bool:
    """Say nothing of a day any more; False where nothing was said."""
    return bool(await tx.value(FORGET_DAY, tx.tenant_id, project_id, day))


@contextlib.contextmanager
def _names() -> Generator[None, None, None]:
    """Raises Problem name_taken, and the transaction is over, where something else in use has the name."""
    try:
        yield
    except asyncpg.UniqueViolationError as exc:
        raise Problem("name_taken") from exc
