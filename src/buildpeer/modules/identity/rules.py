"""Pure rules of sessions."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

GRACE = timedelta(seconds=60)  # a reply lost on a bad network must not sign anybody out


class Session(msgspec.Struct, frozen=True):
    """A sign-in on one device; `generation` counts its refresh tokens."""

    person_id: UUID
    session_id: UUID
    tenant_id: UUID
    generation: int
    rotated_at: datetime
    ended_at: datetime | None


def judge_refresh(session: Session, generation: int, now: datetime) -> Literal["rotate", "repeat", "end", "ended"]:
    """What a genuine refresh token of `generation` may do.

    The newest rotates; the one before gets the same successor again for GRACE; any older use means that somebody
    else has the token, and ends the session for both.
    """
    if session.ended_at is not None:
        return "ended"
    if generation == session.generation:
        return "rotate"
    if generation == session.generation - 1 and now - session.rotated_at < GRACE:
        return "repeat"
    return "end"
