"""Reading RFIs, what happened to them, and how a project handles them."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.projects.facade import Calendar, ProjectAccess
from buildpeer.modules.rfis import rules, store
from buildpeer.modules.rfis.rules import CourtDays
from buildpeer.modules.rfis.service.keeping import Shown, actor, check_people, found, show, show_whole
from buildpeer.modules.rfis.store import Filters, RfiSettings, Sort, Transition
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem


class CompanyDays(msgspec.Struct, frozen=True):
    """How long the ball lay with people of a company of the project, or (None) of the tenant itself: their sum."""

    company_id: UUID | None
    calendar_days: float
    working_days: int


class Courts(msgspec.Struct, frozen=True):
    """Days in court, by person and by company, longest first."""

    people: Sequence[CourtDays]
    companies: Sequence[CompanyDays]


async def list_rfis(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    filters: Filters,
    location_id: UUID | None,
    overdue: bool,
    sort: Sort,
    after: tuple[Any, UUID] | None,
    limit: int,
    now: datetime,
) -> list[Shown]:
    """RFIs of a project that the caller may see, in an order, without their replies. `location_id` stands for all that
    lies in it.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        project = await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "read")
        if overdue:
            filters = replace(filters, late_on=rules.local_day(now, project.timezone))
        if location_id is not None:
            filters = replace(filters, location_ids=await projects.locations_in(tx, project_id, location_id))
        found = await store.page(tx, project_id, filters, sort=sort, after=after, limit=limit)
        return [show(rfi, project, actor(tx), now=now) for rfi in found]


async def get_rfi(db: Database, *, caller: Caller, rfi_id: UUID, now: datetime) -> Shown:
    """An RFI that the caller may see, with its replies. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        rfi = found(await store.by_id(tx, rfi_id))
        identity.permit(tx, "rfis", "read")
        return await show_whole(tx, rfi, now=now)


async def list_transitions(db: Database, *, caller: Caller, rfi_id: UUID, after: int, limit: int) -> list[Transition]:
    """What was done to an RFI that the caller may see, oldest first, after a version. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        found(await store.by_id(tx, rfi_id))
        identity.permit(tx, "rfis", "read")
        return await store.transitions(tx, rfi_id, after=after, limit=limit)


async def court_days(db: Database, *, caller: Caller, project_id: UUID, rfi_id: UUID | None, now: datetime) -> Courts:
    """How long the ball lay in whose court, over all RFIs of a project that the caller may see, or one of them.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        project = await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "read")
        if rfi_id is not None and found(await store.by_id(tx, rfi_id)).project_id != project_id:
            raise Problem("not_found")
        calendar = await projects.calendar_of(tx, project_id)
        people = await days_in_court(tx, project, calendar, rfi_id=rfi_id, now=now)
        employers = await projects.companies_of(tx, project_id, [each.person_id for each in people])
    sums: dict[UUID | None, tuple[float, int]] = {}
    for each in people:
        company = employers.get(each.person_id)
        calendar_days, working_days = sums.get(company, (0.0, 0))
        sums[company] = (calendar_days + each.calendar_days, working_days + each.working_days)
    companies = [CompanyDays(company, round(days, 2), working) for company, (days, working) in sums.items()]
    return Courts(people, sorted(companies, key=lambda each: -each.calendar_days))


async def days_in_court(
    tx: Transaction, project: ProjectAccess, calendar: Calendar, *, rfi_id: UUID | None = None, now: datetime
) -> list[CourtDays]:
    """How long the ball lay in whose court, over the RFIs of a project that the caller may see, or one of them."""

    def works(day: date) -> bool:
        return projects.is_working_day(calendar, day)

    courts = await store.courts(tx, project.project_id, rfi_id)
    return rules.court_days(courts, now=now, zone=project.timezone, works=works)


async def get_settings(db: Database, *, caller: Caller, project_id: UUID) -> RfiSettings:
    """How a project handles RFIs. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "read")
        return await store.settings(tx, project_id)


async def change_settings(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    version: int | None,
    manager_id: UUID | None,
    due_days: int,
) -> RfiSettings:
    """Say how a project handles RFIs that say nothing else.

    Raises Problem not_found, not_allowed, changed_meanwhile or reference_unknown.
    """
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "admin")
        await check_people(tx, project_id, set() if manager_id is None else {manager_id})
        changed = await store.change_settings(tx, project_id, version=version, manager_id=manager_id, due_days=due_days)
        if changed is None:
            raise Problem("changed_meanwhile")
        return changed
