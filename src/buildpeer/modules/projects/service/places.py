"""Where in a project things are: a tree of towers, floors and rooms."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import store
from buildpeer.modules.projects.service.projects import find
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

PlaceName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A place; `path` is what it lies in, from the top, ending with its own name."""

    location_id: UUID
    project_id: UUID
    parent_id: UUID | None
    name: str
    path: list[str]
    archived_at: datetime | None
    version: int


class NewLocation(msgspec.Struct, frozen=True, kw_only=True):
    """A place to make, in another or (null) at the top; `location_id` is the client's own UUIDv7."""

    location_id: UUID
    name: PlaceName
    parent_id: UUID | None = None


class LocationChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes different: only what is named. `parent_id` moves the whole branch, null to the top; `archived` puts
    the whole branch away, or brings back what was put away together.
    """

    name: PlaceName | msgspec.UnsetType = msgspec.UNSET
    parent_id: UUID | msgspec.UnsetType | None = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET


async def list_locations(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    parent_id: UUID | None,
    archived: bool,
    after: UUID | None,
    limit: int,
) -> list[Location]:
    """A project's places in the order in which they were made, or only those that lie in one.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        rows = await store.locations(tx, project_id, parent_id=parent_id, archived=archived, after=after, limit=limit)
    return [Location(**dict(row)) for row in rows]


async def get_location(db: Database, *, caller: Caller, project_id: UUID, location_id: UUID) -> Location:
    """One place. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        return await _find(tx, project_id, location_id)


async def make_location(db: Database, *, caller: Caller, project_id: UUID, wanted: NewLocation) -> Location:
    """Make a place; again, with the same content, it is that one.

    Raises Problem not_found, not_allowed, id_invalid, id_taken, name_taken, reference_unknown, location_too_deep or
    project_archived.
    """
    if not is_uuid7(wanted.location_id):
        raise Problem("id_invalid")
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        await _check_parent(tx, project_id, wanted.parent_id)
        await store.add_location(
            tx, project_id, wanted.location_id, parent_id=wanted.parent_id, name=wanted.name.strip() or wanted.name
        )
        made = await _find(tx, project_id, wanted.location_id)
        if (made.name, made.parent_id) != (wanted.name.strip() or wanted.name, wanted.parent_id):
            raise Problem("id_taken")
    return made


async def change_location(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    location_id: UUID,
    changes: LocationChanges,
    version: int | None,
    now: datetime,
) -> Location:
    """Rename a place, move its branch, or put the branch away and back, if it is still in that `version` (None: any).

    Raises Problem not_found, not_allowed, changed_meanwhile, name_taken, reference_unknown, location_cycle,
    location_too_deep or project_archived.
    """
    async with db.transaction(caller.scope) as tx:
        known = await _find(tx, project_id, location_id)
        identity.permit(tx, "projects", "admin")
        name = known.name if changes.name is msgspec.UNSET else changes.name
        parent_id = known.parent_id if changes.parent_id is msgspec.UNSET else changes.parent_id
        if parent_id != known.parent_id:
            await _check_parent(tx, project_id, parent_id)
        if not await store.change_location(
            tx, project_id, location_id, name=name, parent_id=parent_id, version=version or known.version
        ):
            raise Problem("changed_meanwhile")
        if changes.archived is True and known.archived_at is None:
            await store.archive_branch(tx, project_id, location_id, now=now)
        if changes.archived is False and known.archived_at is not None:
            await _check_parent(tx, project_id, parent_id)
            await store.restore_branch(tx, project_id, location_id, archived_at=known.archived_at)
        return await _find(tx, project_id, location_id)


async def _find(tx: Transaction, project_id: UUID, location_id: UUID) -> Location:
    await find(tx, project_id)
    row = await store.location(tx, project_id, location_id)
    if row is None:
        raise Problem("not_found")
    return Location(**dict(row))


async def _check_parent(tx: Transaction, project_id: UUID, parent_id: UUID | None) -> None:
    if parent_id is not None and await store.missing(tx, project_id, locations=[parent_id]):
        raise Problem("reference_unknown", field="parent_id")
