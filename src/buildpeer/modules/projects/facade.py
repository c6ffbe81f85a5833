"""What other modules may ask of projects."""

from collections.abc import Collection, Mapping
from datetime import date
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import rules, store
from buildpeer.modules.projects.rules import Calendar, Country
from buildpeer.platform.db import Transaction
from buildpeer.platform.errors import Problem


class ProjectAccess(msgspec.Struct, frozen=True, kw_only=True):
    """A project that the caller may see; `timezone` is an IANA name, `currency` an ISO 4217 code, `country` one whose
    public holidays are kept.
    """

    project_id: UUID
    code: str
    name: str
    timezone: str
    currency: str
    country: Country | None
    archived: bool


async def find_project(tx: Transaction, project_id: UUID) -> ProjectAccess:
    """The project, if it is the caller's to see.

    Raises Problem not_found otherwise, be it a stranger's or nobody's.
    """
    row = await store.access(tx, project_id)
    if row is None:
        raise Problem("not_found")
    return ProjectAccess(**dict(row))


async def may_send(tx: Transaction, project_id: UUID, person_id: UUID) -> bool:
    """Whether a person may send files to a project, as things stand now."""
    return identity.may_send(await store.role_in(tx, project_id, person_id))


async def check_references(
    tx: Transaction,
    project_id: UUID,
    *,
    locations: Collection[UUID] = (),
    trades: Collection[UUID] = (),
    companies: Collection[UUID] = (),
    people: Collection[UUID] = (),
) -> None:
    """See to it that places, trades, companies and people are the project's, and in use: what is archived takes nothing
    new. Foreign keys on (tenant_id, project_id, …) keep them so.

    Raises Problem reference_unknown, whose `field` is `location_id`, `trade_id`, `company_id` or `person_id`.
    """
    if not (locations or trades or companies or people):
        return
    missing = await store.missing(
        tx, project_id, locations=locations, trades=trades, companies=companies, people=people
    )
    if missing:
        raise Problem("reference_unknown", field=missing)


async def names_of(
    tx: Transaction, *, locations: Collection[UUID], trades: Collection[UUID], companies: Collection[UUID]
) -> dict[UUID, str]:
    """What places, trades and companies that the caller may see are called."""
    return await store.names(tx, locations=locations, trades=trades, companies=companies)


async def companies_of(tx: Transaction, project_id: UUID, people: Collection[UUID]) -> Mapping[UUID, UUID]:
    """For which company of the project each of these people works; who works for the tenant itself is left out."""
    return await store.companies_of(tx, project_id, people)


async def locations_in(tx: Transaction, project_id: UUID, location_id: UUID) -> Collection[UUID]:
    """A place of a project and all that lies in it; nothing for one that the project doesn't have."""
    return await store.locations_in(tx, project_id, location_id)


async def calendar_of(tx: Transaction, project_id: UUID) -> Calendar:
    """On which days people work in a project that the caller may see. Raises Problem not_found."""
    calendar = await store.calendar(tx, project_id)
    if calendar is None:
        raise Problem("not_found")
    return calendar


def is_working_day(calendar: Calendar, day: date) -> bool:
    """Whether people work on that day."""
    return rules.is_working_day(calendar, day)


def add_working_days(calendar: Calendar, day: date, count: int) -> date:
    """The working day that comes `count` working days after `day`, before it where `count` is negative.

    Nought gives the day itself, or else the first working day after it. Raises ValueError for more than 5,000.
    """
    return rules.add_working_days(calendar, day, count)


def working_days_between(calendar: Calendar, first: date, last: date) -> int:
    """How many working days come after `first` up to and with `last`; less than nought where `last` comes first."""
    return rules.working_days_between(calendar, first, last)
