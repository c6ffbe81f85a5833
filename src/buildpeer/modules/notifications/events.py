"""What notifications announce, version 1, to the person who has a new notice."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.platform.messaging import LOG, Outgoing

ADDED = "notice.added"


class NoticeNews(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as it stands in the inbox under its `position`."""

    position: int
    topic: str
    project_id: UUID | None
    count: int
    facts: Mapping[str, Any]


def added(person_id: UUID, news: NoticeNews) -> Outgoing:
    """The announcement of a new notice, to its reader alone."""
    return Outgoing(LOG, ADDED, {"version": 1, "notice": news}, news.project_id, person_id)
