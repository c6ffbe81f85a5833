"""On which days people work."""

from datetime import date, timedelta
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade, rules, store
from buildpeer.modules.projects.rules import Country
from buildpeer.modules.projects.service.projects import find
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem

MOST_SHOWN = 400  # days
DayName = Annotated[str, msgspec.Meta(max_length=100)]


class Day(msgspec.Struct, frozen=True):
    """A day that is no plain one: a public holiday, or what the project itself says of it."""

    day: date
    works: bool
    source: Literal["holiday", "project"]
    name: str


class Days(msgspec.Struct, frozen=True):
    """Which days of the week are free, whose public holidays are kept, and the days of a period that are special."""

    country: Country | None
    rest_weekdays: list[int]
    days: list[Day]
    working_days: int


class OwnDay(msgspec.Struct, frozen=True):
    """What a project says of a day: that people work, or don't."""

    works: bool
    name: DayName = ""


async def show_calendar(
    db: Database, *, caller: Caller, project_id: UUID, first: date, last: date, language: str
) -> Days:
    """The special days of a period, both ends included, and how many days of it people work.

    Raises Problem not_found, or invalid for a period that is no period or too long.
    """
    if not 0 <= (last - first).days < MOST_SHOWN:
        raise Problem("invalid", f"to comes after from, at most {MOST_SHOWN} days")
    async with db.transaction(caller.scope) as tx:
        calendar = await facade.calendar_of(tx, project_id)
        names = await store.calendar_names(tx, project_id, first=first, last=last)
    days: list[Day] = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        if day in calendar.days:
            days.append(Day(day, calendar.days[day], "project", names.get(day, "")))
        elif name := rules.holiday(calendar.country, day, language):
            days.append(Day(day, works=False, source="holiday", name=name))
    working = rules.working_days_between(calendar, first - timedelta(days=1), last)
    return Days(calendar.country, sorted(calendar.rest_weekdays), days, working)


async def set_day(db: Database, *, caller: Caller, project_id: UUID, day: date, wanted: OwnDay) -> Day:
    """Say that people work on a day, or don't, whatever the week and the country say; again changes nothing.

    Raises Problem not_found, not_allowed or project_archived.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        await store.set_day(tx, project_id, day, works=wanted.works, name=wanted.name)
    return Day(day, wanted.works, "project", wanted.name)


async def forget_day(db: Database, *, caller: Caller, project_id: UUID, day: date) -> None:
    """Leave a day to the week and the country again. Raises Problem not_found, not_allowed or project_archived."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        if not await store.forget_day(tx, project_id, day):
            raise Problem("not_found")
