"""What is planned and what was measured: entered by those who compose reports, never seen by investors as it is."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.projects.facade import ProjectAccess
from buildpeer.modules.reports.rules import progress as rules
from buildpeer.modules.reports.rules.progress import Measured, Percent, Point
from buildpeer.modules.reports.store import progress as store
from buildpeer.modules.reports.store.progress import Baseline
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem


class NewBaseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan: cumulative `points`, or the same as `csv` with the head `on,physical,cost`."""

    points: Annotated[list[Point], msgspec.Meta(max_length=rules.MOST_POINTS)] = []
    csv: Annotated[str, msgspec.Meta(max_length=200_000)] = ""


class NewMeasure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Progress by the end of a day, cumulative; without `cost` what was said of money stays."""

    physical: Percent
    cost: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    comments: Annotated[str, msgspec.Meta(max_length=2000)] = ""


async def get_baseline(db: Database, *, caller: Caller, project_id: UUID) -> Baseline:
    """A project's plan. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        return _without_money(tx, await store.baseline(tx, project_id))


async def set_baseline(
    db: Database, *, caller: Caller, project_id: UUID, wanted: NewBaseline, version: int | None, now: datetime
) -> Baseline:
    """Say what is planned, in place of what was; reports that are published stay as they are.

    Raises Problem not_found, not_allowed, invalid, or changed_meanwhile for another `version`.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id, "admin")
        points = rules.read_points(wanted.csv) if wanted.csv else wanted.points
        rules.check_baseline(points)
        if points[0].cost is not None:
            identity.permit(tx, "budgets", "standard")
        made = await store.set_baseline(tx, project_id, points, version=version, now=now)
        if made is None:
            raise Problem("changed_meanwhile")
        return Baseline(points, made)


async def list_measures(db: Database, *, caller: Caller, project_id: UUID) -> list[Measured]:
    """What was measured, by day. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        found = await store.entries(tx, project_id)
        return found if _sees_money(tx) else [msgspec.structs.replace(each, cost=None) for each in found]


async def measure(
    db: Database, *, caller: Caller, project_id: UUID, measured_on: date, wanted: NewMeasure, now: datetime
) -> Measured:
    """Say how far it was by a day, in place of what was said of that day; the audit trail keeps both.

    Raises Problem not_found, not_allowed, or invalid, also for a day that hasn't begun at the site.
    """
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id, "standard")
        if measured_on > now.astimezone(ZoneInfo(project.timezone)).date():
            raise Problem("invalid", "the day has not begun at the site")
        with_cost = wanted.cost is not msgspec.UNSET
        cost = None if isinstance(wanted.cost, msgspec.UnsetType) else wanted.cost
        if with_cost:
            identity.permit(tx, "budgets", "standard")
            rules.check_amount(cost)
        entry = Measured(measured_on=measured_on, physical=wanted.physical, cost=cost, comments=wanted.comments)
        await store.write_entry(tx, project_id, entry, with_cost=with_cost, now=now)
        written = _at(await store.entries(tx, project_id), measured_on)
        return written if _sees_money(tx) else msgspec.structs.replace(written, cost=None)


async def find(
    tx: Transaction, project_id: UUID, level: Literal["read", "standard", "admin"] = "standard"
) -> ProjectAccess:
    """The project, for who may do so much with reports; an investor sees nothing but those published.

    Raises Problem not_found or not_allowed.
    """
    project = await projects.find_project(tx, project_id)
    if level == "standard" and not identity.may(tx, "reports", "standard"):
        raise Problem("not_found")
    identity.permit(tx, "reports", level)
    return project


def _at(entries: Sequence[Measured], day: date) -> Measured:
    return next(entry for entry in entries if entry.measured_on == day)


def _sees_money(tx: Transaction) -> bool:
    return identity.may(tx, "budgets", "read")


def _without_money(tx: Transaction, baseline: Baseline) -> Baseline:
    if _sees_money(tx):
        return baseline
    return Baseline([msgspec.structs.replace(point, cost=None) for point in baseline.points], baseline.version)
