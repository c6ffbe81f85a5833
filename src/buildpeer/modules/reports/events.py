"""What reports announce to people, version 1; `people` are those whom it concerns."""

from collections.abc import Sequence
from datetime import date
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer.platform.messaging import LOG, Outgoing

LogEvent = Literal["daily_log.changed", "daily_log.completed", "daily_log.reopened", "daily_log.distributed"]
NoteEvent = Literal["bitacora.note_issued", "bitacora.note_signed"]


class LogNews(msgspec.Struct, frozen=True):
    """A day of which there is something new; `late`: it was completed before."""

    project_id: UUID
    log_date: date
    late: bool = False


class NoteNews(msgspec.Struct, frozen=True):
    """A note of a bitácora that was issued, or signed by one more of its parties."""

    bitacora_id: UUID
    project_id: UUID
    folio: int


def log(event: LogEvent, news: LogNews, people: Sequence[UUID] = ()) -> Outgoing:
    """The announcement of something about a day."""
    return Outgoing(LOG, event, {"version": 1, "daily_log": news, "people": people}, news.project_id)


def note(event: NoteEvent, news: NoteNews, people: Sequence[UUID] = ()) -> Outgoing:
    """The announcement of something about a note; `people` are asked to sign it, or have issued it."""
    return Outgoing(LOG, event, {"version": 1, "note": news, "people": people}, news.project_id)
