"""What RFIs announce to people, version 1."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.rfis.rules import Reminder, Rfi, Status, Verb, audience
from buildpeer.platform.messaging import LOG, Outgoing

CHANGED = "rfi.changed"
REMINDED = "rfi.reminded"


class RfiNews(msgspec.Struct, frozen=True, kw_only=True):
    """An RFI as it stood when this was announced; `people` are those who should hear of it."""

    rfi_id: UUID
    project_id: UUID
    number: int | None
    status: Status
    version: int
    ball_in_court: Sequence[UUID]
    people: Sequence[UUID]
    verb: Verb | None = None  # what was done
    by: UUID | None = None
    reminder: Reminder | None = None
    due_date: date | None = None


def changed(rfi: Rfi, verb: Verb, by: UUID, people: Sequence[UUID]) -> Outgoing:
    """The announcement that something was done to an RFI."""
    return _told(CHANGED, rfi, _news(rfi, people, verb=verb, by=by))


def reminded(rfi: Rfi, reminder: Reminder) -> Outgoing:
    """The announcement that an RFI is soon due, due today, or late, for whoever has to move."""
    return _told(REMINDED, rfi, _news(rfi, rfi.ball_in_court, reminder=reminder))


def _news(rfi: Rfi, people: Sequence[UUID], **more: Any) -> RfiNews:
    return RfiNews(
        rfi_id=rfi.rfi_id,
        project_id=rfi.project_id,
        number=rfi.number,
        status=rfi.status,
        version=rfi.version,
        ball_in_court=rfi.ball_in_court,
        people=people,
        due_date=rfi.due_date,
        **more,
    )


def _told(event: str, rfi: Rfi, news: RfiNews) -> Outgoing:
    only = audience(rfi)
    body = {"version": 1, "rfi": news} | ({} if only is None else {"only_for": only})
    return Outgoing(LOG, event, body, rfi.project_id)
