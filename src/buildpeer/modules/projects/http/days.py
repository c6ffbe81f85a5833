"""Doors for the calendar of a project."""

from datetime import date
from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, put
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.projects.service import days
from buildpeer.modules.projects.service.days import Day, Days, OwnDay
from buildpeer.platform.http import CallerDep, DatabaseDep, LanguageDep, used_with

First = Annotated[date, QueryParameter(name="from", description="First day")]
Last = Annotated[date, QueryParameter(name="to", description="Last day, at most 400 days in all")]


class CalendarController(Controller):
    """On which days people work."""

    path = "/v1/projects/{project_id:uuid}/calendar"
    tags = ("projects",)
    opt = used_with("projects", write="admin")

    @get(summary="The calendar")
    async def show_calendar(
        self,
        *,
        project_id: FromPath[UUID],
        first: First,
        last: Last,
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> Days:
        """Rest days of the week, and the days of a period that are special: public holidays, and the project's own."""
        return await days.show_calendar(
            db, caller=caller, project_id=project_id, first=first, last=last, language=language
        )

    @put("/{day:date}", summary="Say something of a day")
    async def set_day(
        self,
        project_id: FromPath[UUID],
        day: FromPath[date],
        data: JSONBody[OwnDay],
        caller: CallerDep,
        db: DatabaseDep,
    ) -> Day:
        """Say that people work on a day, or don't; it goes before holidays and rest days."""
        return await days.set_day(db, caller=caller, project_id=project_id, day=day, wanted=data)

    @delete("/{day:date}", summary="Say nothing of a day any more")
    async def forget_day(
        self, project_id: FromPath[UUID], day: FromPath[date], caller: CallerDep, db: DatabaseDep
    ) -> None:
        """Leave a day to the week and the country again."""
        await days.forget_day(db, caller=caller, project_id=project_id, day=day)
