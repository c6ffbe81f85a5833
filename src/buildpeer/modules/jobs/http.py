"""Doors for jobs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath

from buildpeer.modules.jobs import rules, service
from buildpeer.modules.jobs.store import Job
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    StorageDep,
    page,
    read_cursor,
    used_with,
)
from buildpeer.platform.messages import reason_text
from buildpeer.platform.storage import SignedUrl


class JobView(msgspec.Struct, kw_only=True):
    """A job: `done` of `total`, which is 0 while nobody knows; `summary` is what came of it, by kind.

    `result` reads the file of a job that is `done`; it is made anew each time somebody asks for this one job, and lists
    leave it out. `expires_at`: when the file goes, and the state becomes `expired`.
    """

    job_id: UUID
    project_id: UUID | None
    kind: str
    state: rules.State
    reason: str | None
    reason_text: str | None
    done: int
    total: int
    summary: Mapping[str, Any]
    filename: str | None
    size_bytes: int | None
    result: SignedUrl | None
    permitted_actions: list[Literal["cancellation"]]
    created_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None


class JobsController(Controller):
    """What the caller has ordered: exports, archives, imports."""

    path = "/v1/jobs"
    tags = ("jobs",)
    opt = used_with("any", write="read")

    @get(summary="List one's jobs")
    async def list_jobs(
        self,
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[JobView]:
        """The caller's own jobs, newest first; nobody sees others', and a machine only what it has ordered itself."""
        after = read_cursor(cursor, tuple[datetime, UUID])
        found = await service.list_jobs(db, caller=caller, after=after, limit=limit + 1)
        return page([_view(job, None, language) for job in found], limit, lambda j: [j.created_at, j.job_id])

    @get("/{job_id:uuid}", summary="One job")
    async def get_job(
        self,
        job_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        language: LanguageDep,
    ) -> JobView:
        """How a job fares; the event stream tells the same as `job.changed`."""
        shown = await service.get_job(db, storage, caller=caller, job_id=job_id)
        return _view(shown.job, shown.result, language)

    @post("/{job_id:uuid}/cancellation", status_code=200, summary="Call a job off")
    async def cancel(
        self, job_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, language: LanguageDep, now: NowDep
    ) -> JobView:
        """Stop a job within seconds; what it has done by then stays. One that has ended stays as it is."""
        return _view(await service.cancel(db, caller=caller, job_id=job_id, now=now), None, language)


def _view(job: Job, result: SignedUrl | None, language: str) -> JobView:
    return JobView(
        job_id=job.job_id,
        project_id=job.project_id,
        kind=job.kind,
        state=job.state,
        reason=job.reason or None,
        reason_text=reason_text(job.reason, language),
        done=job.done,
        total=job.total,
        summary=job.summary,
        filename=job.filename,
        size_bytes=job.size_bytes,
        result=result,
        permitted_actions=rules.permitted_actions(job.state),
        created_at=job.created_at,
        ended_at=job.ended_at,
        expires_at=job.expires_at,
    )
