"""A project's days: looked at, completed, distributed, opened again."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.projects.facade import ProjectAccess
from buildpeer.modules.reports import events
from buildpeer.modules.reports.rules import daily_logs as rules
from buildpeer.modules.reports.rules.daily_logs import LogAction
from buildpeer.modules.reports.store import daily_logs as store
from buildpeer.modules.reports.store.daily_logs import Conflict, DailyLog
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem


class Day(msgspec.Struct, frozen=True):
    """A day as somebody sees it: in which zone it is one, and what they may do with it."""

    log: DailyLog
    timezone: str
    permitted_actions: list[LogAction]


async def list_logs(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    since: date | None,
    state: str | None,
    before: date | None,
    limit: int,
) -> list[Day]:
    """Days on which something was written, the newest first. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        found = await store.logs(tx, project_id, before=before, since=since, state=state, limit=limit)
        return [_day(tx, project, each) for each in found]


async def get_log(db: Database, *, caller: Caller, project_id: UUID, log_date: date, now: datetime) -> Day:
    """A day, also one on which nobody has written anything yet. Raises Problem not_found or log_date_invalid."""
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        return await _look(tx, project, log_date, now=now)


async def list_conflicts(
    db: Database, *, caller: Caller, project_id: UUID, log_date: date, resolved: bool
) -> list[Conflict]:
    """Values of a day that others have displaced; `resolved`: those as well about which a person has decided.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        return await store.conflicts(tx, project_id, log_date, resolved=resolved)


async def complete(db: Database, *, caller: Caller, project_id: UUID, log_date: date, now: datetime) -> Day:
    """Complete a day: from now on its entries stay as they are, and what still comes is late. Again changes nothing.

    Raises Problem not_found, not_allowed or log_date_invalid.
    """
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "daily_logs", "admin")
        rules.check_date(log_date, zone=project.timezone, now=now)
        await store.begin(tx, project_id, log_date)
        if await store.complete(tx, project_id, log_date, now=now):
            await tx.announce([events.log("daily_log.completed", events.LogNews(project_id, log_date))])
        return await _look(tx, project, log_date, now=now)


async def distribute(
    db: Database, *, caller: Caller, project_id: UUID, log_date: date, people: Sequence[UUID], now: datetime
) -> Day:
    """Send a completed day to people who work on the project; again, to whomever is named then. To the same people
    again, when nothing has changed since, changes nothing.

    Raises Problem not_found, not_allowed, invalid or log_open.
    """
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "daily_logs", "admin")
        recipients = sorted(set(people))
        for person in recipients:
            if not await projects.may_send(tx, project_id, person):
                raise Problem("invalid", "people must be those who work on the project")
        day = await _look(tx, project, log_date, now=now)
        if _was_sent(day.log, recipients):
            return day
        if not await store.distribute(tx, project_id, log_date, people=recipients, now=now):
            raise Problem("log_open", permitted_actions=day.permitted_actions)
        await tx.announce([events.log("daily_log.distributed", events.LogNews(project_id, log_date), recipients)])
        return await _look(tx, project, log_date, now=now)


async def reopen(db: Database, *, caller: Caller, project_id: UUID, log_date: date, reason: str, now: datetime) -> Day:
    """Open a day again, so that its entries may be changed; the audit trail keeps why. An open one stays so.

    Raises Problem not_found or not_allowed.
    """
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "daily_logs", "admin")
        before = await _look(tx, project, log_date, now=now)
        if await store.reopen(tx, project_id, log_date):
            await store.audit(tx, "log_reopened", project_id, log_date, {"reason": reason})
            people = [p for p in (before.log.completed_by, *before.log.recipients) if p]
            await tx.announce([events.log("daily_log.reopened", events.LogNews(project_id, log_date), people)])
        return await _look(tx, project, log_date, now=now)


async def find(tx: Transaction, project_id: UUID) -> ProjectAccess:
    """The project, for who may read its daily logs. Raises Problem not_found."""
    project = await projects.find_project(tx, project_id)
    identity.permit(tx, "daily_logs", "read")
    return project


async def _look(tx: Transaction, project: ProjectAccess, log_date: date, *, now: datetime) -> Day:
    log = await store.log(tx, project.project_id, log_date)
    if log is None:
        rules.check_date(log_date, zone=project.timezone, now=now)
    return _day(tx, project, log or DailyLog(project_id=project.project_id, log_date=log_date))


def _day(tx: Transaction, project: ProjectAccess, log: DailyLog) -> Day:
    return Day(log, project.timezone, rules.log_actions(log.state, identity.level(tx, "daily_logs")))


def _was_sent(log: DailyLog, recipients: Sequence[UUID]) -> bool:
    at = log.distributed_at
    return at is not None and sorted(log.recipients) == recipients and (log.last_change_at or at) <= at
