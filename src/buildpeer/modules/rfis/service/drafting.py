"""Writing RFIs down, and changing what they say."""

import hashlib
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.rfis import rules, store
from buildpeer.modules.rfis.rules import Assignee, Impact, Rfi
from buildpeer.modules.rfis.service.keeping import (
    Shown,
    actor,
    check_references,
    due_day,
    found,
    keep,
    show_whole,
    transition,
)
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Question = Annotated[str, msgspec.Meta(max_length=20_000)]
Reference = Annotated[str, msgspec.Meta(max_length=200)]
Assignees = Annotated[list[Assignee], msgspec.Meta(max_length=rules.MOST_PEOPLE)]
People = Annotated[list[UUID], msgspec.Meta(max_length=rules.MOST_PEOPLE)]
Documents = Annotated[list[UUID], msgspec.Meta(max_length=rules.MOST_DOCUMENTS)]
Days = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class NewRfi(msgspec.Struct, frozen=True, kw_only=True):
    """An RFI to write down as a draft; `rfi_id` is a UUIDv7 of the client's. A `due_date` on which nobody works moves
    to the next working day; without one it gets one when it is opened. Costs are in the project's currency.
    """

    rfi_id: UUID
    subject: Subject
    question: Question = ""
    reference: Reference = ""
    private: bool = False
    manager_id: UUID | None = None
    assignees: Assignees = []
    distribution: People = []
    documents: Documents = []
    location_id: UUID | None = None
    trade_id: UUID | None = None
    received_from_id: UUID | None = None
    responsible_id: UUID | None = None
    due_date: date | None = None
    cost_impact: Impact = "tbd"
    cost_amount: Decimal | None = None
    schedule_impact: Impact = "tbd"
    schedule_days: Days | None = None


class RfiChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes different; what isn't named stays as it is."""

    subject: Subject | UnsetType = UNSET
    question: Question | UnsetType = UNSET
    reference: Reference | UnsetType = UNSET
    private: bool | UnsetType = UNSET
    manager_id: UUID | UnsetType | None = UNSET
    assignees: Assignees | UnsetType = UNSET
    distribution: People | UnsetType = UNSET
    documents: Documents | UnsetType = UNSET
    location_id: UUID | UnsetType | None = UNSET
    trade_id: UUID | UnsetType | None = UNSET
    received_from_id: UUID | UnsetType | None = UNSET
    responsible_id: UUID | UnsetType | None = UNSET
    due_date: date | UnsetType | None = UNSET
    cost_impact: Impact | UnsetType = UNSET
    cost_amount: Decimal | UnsetType | None = UNSET
    schedule_impact: Impact | UnsetType = UNSET
    schedule_days: Days | UnsetType | None = UNSET


async def create(db: Database, *, caller: Caller, project_id: UUID, new: NewRfi, now: datetime) -> Shown:
    """Write an RFI down as a draft of the caller's; the same call again gives what has become of it.

    Raises Problem not_found, not_allowed, id_invalid, id_taken, invalid or reference_unknown.
    """
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "standard")
        rfi = await draft(tx, project_id, new, now=now)
        return await show_whole(tx, rfi, now=now)


async def draft(tx: Transaction, project_id: UUID, new: NewRfi, *, now: datetime) -> Rfi:
    """As `create`, within a transaction that knows the project and may."""
    if not is_uuid7(new.rfi_id):
        raise Problem("id_invalid")
    rfi = Rfi(project_id=project_id, created_by=tx.person_id, created_at=now, updated_at=now, **_fields(new))
    made_of = hashlib.sha256(msgspec.json.encode(new)).digest()
    known = await store.made(tx, rfi, made_of)
    if known is not None:
        return known
    rfi = rules.drafted(rfi, now=now)
    await check_references(tx, None, rfi)
    if rfi.due_date is not None:
        rfi = replace(rfi, due_date=await due_day(tx, project_id, rfi.due_date))
    if not await store.insert(tx, rfi, made_of):  # also where the same call is under way at this very moment
        known = await store.made(tx, rfi, made_of)
        if known is None:
            raise Problem("id_taken")
        return known
    await store.add_transition(tx, rfi, transition(None, rfi, "create", tx.person_id))
    return rfi


async def change(
    db: Database, *, caller: Caller, rfi_id: UUID, version: int | None, changes: RfiChanges, now: datetime
) -> Shown:
    """Change what is named, if nobody has changed it since the caller read `version` (None: whatever it is).

    Raises Problem not_found, not_allowed, rfi_state, changed_meanwhile, invalid or reference_unknown.
    """
    async with db.transaction(caller.scope) as tx:
        rfi = found(await store.locked(tx, rfi_id))
        identity.permit(tx, "rfis", "standard")
        rules.check(rfi, "edit", actor(tx))
        if version is not None and version != rfi.version:
            raise Problem("changed_meanwhile")
        return await show_whole(tx, await edit(tx, rfi, changes, now=now), now=now)


async def edit(tx: Transaction, rfi: Rfi, changes: RfiChanges, *, now: datetime) -> Rfi:
    """Change an RFI that is locked, by who may."""
    changed = rules.edited(rfi, replace(rfi, **_fields(changes)), actor(tx), now=now)
    await check_references(tx, rfi, changed)
    if changed.due_date is not None and changed.due_date != rfi.due_date:
        changed = replace(changed, due_date=await due_day(tx, rfi.project_id, changed.due_date))
    return await keep(tx, rfi, changed, "edit", now=now)


def _fields(said: NewRfi | RfiChanges) -> dict[str, Any]:
    """What was said as fields of an RFI: nobody stands twice in a list."""
    fields = {name: value for name, value in msgspec.structs.asdict(said).items() if value is not UNSET}
    if "assignees" in fields:
        asked = {assignee.person_id: assignee.response_required for assignee in fields["assignees"]}
        fields["assignees"] = tuple(asked)
        fields["required"] = tuple(person for person, required in asked.items() if required)
    for name in ("distribution", "documents"):
        if name in fields:
            fields[name] = tuple(dict.fromkeys(fields[name]))
    return fields
