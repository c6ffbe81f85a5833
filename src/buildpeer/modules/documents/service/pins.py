"""Pins: where on a sheet an RFI, a photo or a document belongs.

A pin stays on the revision that it was stuck on. Once a newer one is current it is shown there too, at the same place
of the sheet, as carried over: somebody may have moved the wall.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from buildpeer.modules.documents.rules.drawings import PinKind
from buildpeer.modules.documents.service.drawings import find_drawing, find_sheet
from buildpeer.modules.documents.store import documents as document_store
from buildpeer.modules.documents.store import filings as store
from buildpeer.modules.documents.store.filings import Pin
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class NewPin(msgspec.Struct, frozen=True, kw_only=True):
    """A pin; `pin_id` is a UUIDv7 of the client's, `pos_x` and `pos_y` go from the top left corner of the sheet (0, 0)
    to the bottom right one (1, 1). Everybody who sees the sheet sees its `label`.
    """

    pin_id: UUID
    pos_x: Share
    pos_y: Share
    kind: PinKind
    target_id: UUID
    label: Annotated[str, msgspec.Meta(max_length=200)] = ""


async def stick_pin(db: Database, *, caller: Caller, revision_id: UUID, wanted: NewPin, now: datetime) -> Pin:
    """Stick a pin on a revision, be it the current one or not; the same again gives the same.

    Raises Problem not_found, not_allowed, id_invalid, id_taken, or reference_unknown for a file that isn't there.
    """
    if not is_uuid7(wanted.pin_id):
        raise Problem("id_invalid")
    async with db.transaction(caller.scope) as tx:
        sheet = await find_sheet(tx, revision_id)
        identity.permit(tx, "files", "standard")
        if wanted.kind != "rfi":
            document = await document_store.by_id(tx, wanted.target_id)
            if document is None or document.project_id != sheet.project_id:
                raise Problem("reference_unknown", field="target_id")
        given = msgspec.structs.asdict(wanted)
        pin = Pin(
            **given,
            project_id=sheet.project_id,
            drawing_id=sheet.drawing_id,
            revision_id=revision_id,
            created_by=caller.person_id,
            created_at=now,
            carried_over=False,
        )
        await store.add_pin(tx, pin)
        there = await store.pin(tx, wanted.pin_id)
        same = there and (there.revision_id, there.created_by) == (revision_id, caller.person_id)
        if not there or not same or any(getattr(there, name) != value for name, value in given.items()):
            raise Problem("id_taken")
        return there


async def pins_of_drawing(
    db: Database, *, caller: Caller, drawing_id: UUID, after: UUID | None, limit: int
) -> list[Pin]:
    """The pins on all revisions of a drawing, in the order in which they were made. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await find_drawing(tx, drawing_id)
        return await store.pins_of_drawing(tx, drawing_id, after=after, limit=limit)


async def pins_of_target(
    db: Database, *, caller: Caller, project_id: UUID, target_id: UUID, after: UUID | None, limit: int
) -> list[Pin]:
    """Where something of the project is on its drawings. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "drawings", "read")
        return await store.pins_of_target(tx, project_id, target_id, after=after, limit=limit)


async def remove_pin(db: Database, *, caller: Caller, pin_id: UUID) -> None:
    """Take a pin off: owners and managers may, and who stuck it. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        pin = await store.pin(tx, pin_id)
        if pin is None:
            raise Problem("not_found")
        identity.permit(tx, "drawings", "read")
        identity.permit(tx, "files", "standard" if pin.created_by == caller.person_id else "admin")
        if not await store.remove_pin(tx, pin_id):
            raise Problem("not_found")
