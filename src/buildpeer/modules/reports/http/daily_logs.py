"""Doors for a project's days."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.jobs.facade import JobStarted
from buildpeer.modules.reports.rules.daily_logs import LogAction, State
from buildpeer.modules.reports.service import daily_logs as service
from buildpeer.modules.reports.service import exporting
from buildpeer.modules.reports.service.daily_logs import Day
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    page,
    read_cursor,
    used_with,
)

Since = Annotated[date | None, QueryParameter(name="from", required=False, description="No day before this one")]
InState = Annotated[State | None, QueryParameter(name="state", required=False, description="Only days in it")]
Reason = Annotated[str, msgspec.Meta(min_length=3, max_length=500)]


class DailyLogView(msgspec.Struct, kw_only=True):
    """A project's day. `entries`: how many there are of each kind; `late_entries`: of them, those that came when it was
    completed already; `conflicts`: values that a person should look at; `changed_since_distribution`: whoever it was
    sent to hasn't seen all of it.
    """

    project_id: UUID
    log_date: date
    timezone: str
    state: State
    entries: dict[str, int]
    late_entries: int
    conflicts: int
    completed_by: UUID | None
    completed_at: datetime | None
    distributed_by: UUID | None
    distributed_at: datetime | None
    recipients: list[UUID]
    changed_since_distribution: bool
    permitted_actions: list[LogAction]


class Distribution(msgspec.Struct):
    """To whom to send a day: people who work on the project."""

    people: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=200)]


class Reopening(msgspec.Struct):
    """Why a day is opened again; the audit trail keeps it."""

    reason: Reason


class Export(msgspec.Struct):
    """A job to order; `job_id` is a UUIDv7 made by the client."""

    job_id: UUID


class DailyLogsController(Controller):
    """A project's days; each is there as soon as somebody writes in it."""

    path = "/v1/projects/{project_id:uuid}/daily-logs"
    tags = ("daily logs",)
    opt = used_with("daily_logs")

    @get(summary="List days")
    async def list_logs(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        since: Since = None,
        in_state: InState = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DailyLogView]:
        """Days on which something was written, the newest first."""
        found = await service.list_logs(
            db,
            caller=caller,
            project_id=project_id,
            since=since,
            state=in_state,
            before=before[0] if (before := read_cursor(cursor, tuple[date])) else None,
            limit=limit + 1,
        )
        cut = page(found, limit, lambda day: [day.log.log_date])
        return Page([_view(day) for day in cut.items], cut.next_cursor)

    @get("/{log_date:date}", summary="One day")
    async def get_log(
        self, project_id: FromPath[UUID], log_date: FromPath[date], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> DailyLogView:
        """A day by its date in the project's zone, also one on which nobody has written anything yet."""
        return _view(await service.get_log(db, caller=caller, project_id=project_id, log_date=log_date, now=now))

    @post(
        "/{log_date:date}/completion",
        summary="Complete a day",
        status_code=200,
        opt=used_with("daily_logs", write="admin"),
    )
    async def complete(
        self, project_id: FromPath[UUID], log_date: FromPath[date], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> DailyLogView:
        """From now on its entries stay as they are. What phones still bring is added as late, and edits of what was
        completed wait as conflicts.
        """
        return _view(await service.complete(db, caller=caller, project_id=project_id, log_date=log_date, now=now))

    @post(
        "/{log_date:date}/distribution",
        summary="Send a day to people",
        status_code=200,
        opt=used_with("daily_logs", write="admin"),
    )
    async def distribute(
        self,
        *,
        project_id: FromPath[UUID],
        log_date: FromPath[date],
        data: JSONBody[Distribution],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> DailyLogView:
        """Send a completed day, or one that was sent before, to people who work on the project."""
        return _view(
            await service.distribute(
                db, caller=caller, project_id=project_id, log_date=log_date, people=data.people, now=now
            )
        )

    @post(
        "/{log_date:date}/reopening",
        summary="Open a day again",
        status_code=200,
        opt=used_with("daily_logs", write="admin"),
    )
    async def reopen(
        self,
        *,
        project_id: FromPath[UUID],
        log_date: FromPath[date],
        data: JSONBody[Reopening],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> DailyLogView:
        """Its entries may be changed again; whoever completed it and whom it was sent to are told."""
        return _view(
            await service.reopen(
                db, caller=caller, project_id=project_id, log_date=log_date, reason=data.reason, now=now
            )
        )

    @post("/{log_date:date}/exports", summary="A day as a PDF", opt=used_with("daily_logs", write="read"))
    async def export(
        self,
        *,
        project_id: FromPath[UUID],
        log_date: FromPath[date],
        data: JSONBody[Export],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> JobStarted:
        """Order the day on paper, with its photos, in the caller's language; `GET /v1/jobs/{job_id}` has the file."""
        return await exporting.order_log(
            db, caller=caller, project_id=project_id, log_date=log_date, job_id=data.job_id, language=language
        )


def _view(day: Day) -> DailyLogView:
    log, at = day.log, day.log.distributed_at
    return DailyLogView(
        project_id=log.project_id,
        log_date=log.log_date,
        timezone=day.timezone,
        state=log.state,
        entries=log.entries,
        late_entries=log.late_entries,
        conflicts=log.conflicts,
        completed_by=log.completed_by,
        completed_at=log.completed_at,
        distributed_by=log.distributed_by,
        distributed_at=at,
        recipients=log.recipients,
        changed_since_distribution=at is not None and log.last_change_at is not None and log.last_change_at > at,
        permitted_actions=day.permitted_actions,
    )
