"""What uploads announce to people: the bodies in the event log, version 1."""

from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.uploads.rules import Kind, State, Upload
from buildpeer.platform.messaging import LOG, Outgoing

OPENED = "upload.opened"
CHANGED = "upload.changed"
PROGRESSED = "upload.progressed"


class UploadNews(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as it stood when this was announced."""

    upload_id: UUID
    project_id: UUID
    kind: Kind
    name: str
    size_bytes: int
    state: State
    reason: str | None
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    sent_bytes: int


def news(event: str, upload: Upload) -> Outgoing:
    """The announcement of an upload's opening, change or progress."""
    body = UploadNews(
        upload_id=upload.upload_id,
        project_id=upload.project_id,
        kind=upload.kind,
        name=upload.name,
        size_bytes=upload.size_bytes,
        state=upload.state,
        reason=upload.reason or None,
        created_by=upload.created_by,
        created_at=upload.created_at,
        updated_at=upload.updated_at,
        sent_bytes=upload.sent_bytes,
    )
    return Outgoing(LOG, event, {"version": 1, "upload": body}, upload.project_id)
