"""SQL of projects: one function, one statement."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import asyncpg

from buildpeer.modules.projects.rules import Calendar
from buildpeer.platform.db import Transaction

# The row is there only if row-level security lets the caller see the project.
ACCESS = """
select project_id, code, name, timezone, currency, archived_at is not null as archived from projects
where tenant_id = $1 and project_id = $2
"""
# Owners and managers belong to every project, others to those that they were put into.
ROLE_IN = """
select m.role from memberships m
where m.tenant_id = $1 and m.person_id = $3 and (m.role in ('owner', 'manager') or exists (
  select from project_members pm where pm.tenant_id = $1 and pm.project_id = $2 and pm.person_id = $3))
"""
PAGE = """
select project_id, code, name, timezone from projects
where ($1::text is null or (name, project_id) > ($1, $2)) order by name, project_id limit $3
"""
# `now()` makes Postgres look the zone up.
ZONE = "select now() at time zone $1"
ADD = "insert into projects (tenant_id, project_id, code, name, timezone) values ($1, $2, $3, $4, $5)"
CHANGE = """
update projects set code = coalesce($3, code), name = coalesce($4, name), timezone = coalesce($5, timezone)
where tenant_id = $1 and project_id = $2 returning project_id, code, name, timezone
"""
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
LOCATIONS_IN = """
with recursive within as (
  select l.location_id from locations l where l.tenant_id = $1 and l.project_id = $2 and l.location_id = $3
  union select l.location_id from within w
  join locations l on l.tenant_id = $1 and l.project_id = $2 and l.parent_id = w.location_id
) select location_id from within
"""
CALENDAR = """
select p.country, p.rest_weekdays, array(select d.day from calendar_days d where d.tenant_id = $1
    and d.project_id = $2 and d.works) as worked,
  array(select d.day from calendar_days d where d.tenant_id = $1 and d.project_id = $2 and not d.works) as free
from projects p where p.tenant_id = $1 and p.project_id = $2
"""
MEMBERS = """
select p.person_id, p.name, p.email, m.role, pm.person_id is null as by_role,
  coalesce(pm.created_at, m.created_at) as created_at
from memberships m
join people p on p.person_id = m.person_id
left join project_members pm on pm.tenant_id = $1 and pm.project_id = $2 and pm.person_id = m.person_id
where m.tenant_id = $1 and (m.role in ('owner', 'manager') or pm.person_id is not null)
  and ($3::uuid is null or m.person_id = $3) and ($4::text is null or (p.name, p.person_id) > ($4, $5))
order by p.name, p.person_id limit $6
"""
ADD_MEMBER = """
insert into project_members (tenant_id, project_id, person_id)
select m.tenant_id, $2, m.person_id from memberships m where m.tenant_id = $1 and m.person_id = $3
on conflict do nothing
"""
REMOVE_MEMBER = """
delete from project_members where tenant_id = $1 and project_id = $2 and person_id = $3 returning true
"""


async def access(tx: Transaction, project_id: UUID) -> Any | None:
    """A project that the caller may see."""
    return await tx.one(ACCESS, tx.tenant_id, project_id)


async def role_in(tx: Transaction, project_id: UUID, person_id: UUID) -> str | None:
    """What a person is in a project; None: nothing."""
    return await tx.value(ROLE_IN, tx.tenant_id, project_id, person_id)


async def missing(
    tx: Transaction,
    project_id: UUID,
    *,
    locations: Collection[UUID],
    trades: Collection[UUID],
    companies: Collection[UUID],
    people: Collection[UUID],
) -> str | None:
    """The field of which something isn't the project's, or no longer in use; None where all is there."""
    return await tx.value(
        MISSING, tx.tenant_id, project_id, list(locations), list(trades), list(companies), list(people)
    )


async def companies_of(tx: Transaction, project_id: UUID, people: Collection[UUID]) -> dict[UUID, UUID]:
    """For which company each of these people works in a project."""
    rows = await tx.all(COMPANIES_OF, tx.tenant_id, project_id, list(people))
    return {row["person_id"]: row["company_id"] for row in rows}


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


async def page(tx: Transaction, *, after: tuple[str, UUID] | None, limit: int) -> list[Any]:
    """Projects by name, after a name and id."""
    name, project_id = after or (None, None)
    return await tx.all(PAGE, name, project_id, limit)


async def knows_zone(tx: Transaction, timezone: str) -> bool:
    """Whether Postgres knows a time zone; where it doesn't, the transaction is over."""
    try:
        await tx.run(ZONE, timezone)
    except asyncpg.InvalidParameterValueError:
        return False
    return True


async def add(tx: Transaction, project_id: UUID, *, code: str, name: str, timezone: str) -> bool:
    """Insert a project; False, and the transaction is over, where the tenant has another one with this code."""
    try:
        await tx.run(ADD, tx.tenant_id, project_id, code, name, timezone)
    except asyncpg.UniqueViolationError:
        return False
    return True


async def change(
    tx: Transaction, project_id: UUID, *, code: str | None, name: str | None, timezone: str | None
) -> Any | None:
    """Change what isn't None; None, and the transaction is over, where another project has this code."""
    try:
        return await tx.one(CHANGE, tx.tenant_id, project_id, code, name, timezone)
    except asyncpg.UniqueViolationError:
        return None


async def members(
    tx: Transaction, project_id: UUID, *, after: tuple[str, UUID] | None, limit: int, person_id: UUID | None = None
) -> list[Any]:
    """Who belongs to a project, or whether `person_id` does, by name, after a name and id."""
    name, after_id = after or (None, None)
    return await tx.all(MEMBERS, tx.tenant_id, project_id, person_id, name, after_id, limit)


async def add_member(tx: Transaction, project_id: UUID, person_id: UUID) -> None:
    """Put a member of the tenant into a project; nothing happens for who is in it, or no member."""
    await tx.run(ADD_MEMBER, tx.tenant_id, project_id, person_id)


async def remove_member(tx: Transaction, project_id: UUID, person_id: UUID) -> bool:
    """Take somebody out of a project; False for who wasn't put into it. The database has their open uploads ended."""
    return bool(await tx.value(REMOVE_MEMBER, tx.tenant_id, project_id, person_id))
