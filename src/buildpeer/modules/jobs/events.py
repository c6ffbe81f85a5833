"""What jobs announce, version 1, to the person who ordered the job."""

from uuid import UUID

import msgspec

from buildpeer.modules.jobs.rules import State
from buildpeer.platform.messaging import LOG, Outgoing

CHANGED = "job.changed"


class JobNews(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stood: `done` of `total`, which is 0 while nobody knows."""

    job_id: UUID
    kind: str
    state: State
    reason: str | None
    done: int
    total: int


def changed(news: JobNews, *, project_id: UUID | None, person_id: UUID) -> Outgoing:
    """The announcement of a job's beginning, progress or end."""
    return Outgoing(LOG, CHANGED, {"version": 1, "job": news}, project_id, person_id)
