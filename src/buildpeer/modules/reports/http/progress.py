"""Doors for what is planned and what was measured."""

from datetime import date
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, put
from litestar.params import FromPath, JSONBody

from buildpeer.modules.reports.rules.progress import Measured
from buildpeer.modules.reports.service import progress as service
from buildpeer.modules.reports.service.progress import NewBaseline, NewMeasure
from buildpeer.modules.reports.store.progress import Baseline
from buildpeer.platform.http import CallerDep, DatabaseDep, IfMatch, NowDep, read_if_match, tagged, used_with


class Measures(msgspec.Struct):
    """What was measured, by day."""

    items: Annotated[list[Measured], msgspec.Meta(description="Cumulative, the oldest first")]


class ProgressController(Controller):
    """A project's plan and its measurements, for those who compose reports. Money takes the tool `budgets`."""

    path = "/v1/projects/{project_id:uuid}"
    tags = ("progress reports",)
    opt = used_with("reports")

    @get("/baseline", summary="The baseline")
    async def get_baseline(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Response[Baseline]:
        """What is planned, cumulative; ETag `"0"` while nobody has said."""
        found = await service.get_baseline(db, caller=caller, project_id=project_id)
        return tagged(found, found.version)

    @put("/baseline", summary="Set the baseline", opt=used_with("reports", write="admin"))
    async def set_baseline(
        self,
        *,
        project_id: FromPath[UUID],
        data: JSONBody[NewBaseline],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[Baseline]:
        """Say what is planned, as points or as CSV. What is published stays as it is."""
        made = await service.set_baseline(
            db, caller=caller, project_id=project_id, wanted=data, version=read_if_match(if_match), now=now
        )
        return tagged(made, made.version)

    @get("/progress", summary="What was measured")
    async def list_measures(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Measures:
        """Every measurement, the oldest first."""
        return Measures(await service.list_measures(db, caller=caller, project_id=project_id))

    @put("/progress/{measured_on:date}", summary="Measure progress")
    async def measure(
        self,
        *,
        project_id: FromPath[UUID],
        measured_on: FromPath[date],
        data: JSONBody[NewMeasure],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> Measured:
        """How far it was by the end of a day, in place of what was said of that day."""
        return await service.measure(
            db, caller=caller, project_id=project_id, measured_on=measured_on, wanted=data, now=now
        )
