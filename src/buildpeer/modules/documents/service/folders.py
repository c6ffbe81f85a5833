"""Folders: a tree in each project."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from buildpeer.modules.documents import rules
from buildpeer.modules.documents.store import folders as store
from buildpeer.modules.documents.store.folders import Folder, NameTakenError
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

FolderName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NewFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder to make; `folder_id` is a UUIDv7 of the client's making."""

    folder_id: UUID
    name: FolderName
    parent_id: UUID | None = None


class FolderChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes different; `parent_id` null: it lies in the project itself."""

    name: FolderName | None = None
    parent_id: UUID | UnsetType | None = UNSET


async def list_folders(
    db: Database, *, caller: Caller, project_id: UUID, after: tuple[str, UUID] | None, limit: int
) -> Sequence[Folder]:
    """All folders of a project, however deep, by name as people order names. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "files", "read")
        return await store.page(tx, project_id, after=after, limit=limit)


async def make_folder(db: Database, *, caller: Caller, project_id: UUID, wanted: NewFolder, now: datetime) -> Folder:
    """Make a folder; again, with the same content, it is that.

    Raises Problem not_found, not_allowed, id_invalid, name_invalid, reference_unknown for a parent that isn't there,
    id_taken, folder_too_deep, or name_taken where only case or accents tell it from another one in the same place.
    """
    if not is_uuid7(wanted.folder_id):
        raise Problem("id_invalid")
    name = rules.tidy_name(wanted.name)
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "files", "standard")
        if (there := await store.by_id(tx, wanted.folder_id)) is not None:
            if (there.project_id, there.parent_id, there.name) != (project_id, wanted.parent_id, name):
                raise Problem("id_taken")
            return there
        await store.stand_in_line(tx, project_id)
        await _check_parent(tx, project_id, wanted.parent_id)
        try:
            made = await store.add(
                tx, wanted.folder_id, project_id=project_id, parent_id=wanted.parent_id, name=name, at=now
            )
        except NameTakenError as exc:
            raise Problem("name_taken") from exc
    if made is None:
        raise Problem("id_taken")
    return made


async def change_folder(
    db: Database, *, caller: Caller, folder_id: UUID, version: int | None, changes: FolderChanges
) -> Folder:
    """Rename or move a folder with all that lies in it, if it still has that `version`.

    Raises Problem not_found, not_allowed, invalid, reference_unknown, name_taken, folder_cycle, folder_too_deep or
    changed_meanwhile.
    """
    name = None if changes.name is None else rules.tidy_name(changes.name)
    parent_id = None if changes.parent_id is UNSET else changes.parent_id
    async with db.transaction(caller.scope) as tx:
        folder = await _find(tx, folder_id)
        identity.permit(tx, "files", "standard")
        await store.stand_in_line(tx, folder.project_id)
        await _check_parent(tx, folder.project_id, parent_id)
        try:
            changed = await store.change(
                tx, folder_id, version=version, name=name, moved=changes.parent_id is not UNSET, parent_id=parent_id
            )
        except NameTakenError as exc:
            raise Problem("name_taken") from exc
        if changed is None:
            raise Problem("changed_meanwhile")
    return changed


async def remove_folder(db: Database, *, caller: Caller, folder_id: UUID, version: int | None) -> None:
    """Remove an empty folder, if it still has that `version`; who made it may, owners and managers.

    Raises Problem not_found, not_allowed, changed_meanwhile, or folder_not_empty, also for what is archived in it.
    """
    async with db.transaction(caller.scope) as tx:
        folder = await _find(tx, folder_id)
        identity.permit(tx, "files", "standard" if folder.created_by == caller.person_id else "admin")
        removed = await store.remove(tx, folder_id, version=version)
        if removed is None:
            raise Problem("folder_not_empty")
        if not removed:
            raise Problem("changed_meanwhile")


async def _find(tx: Transaction, folder_id: UUID) -> Folder:
    folder = await store.by_id(tx, folder_id)
    if folder is None:
        raise Problem("not_found")
    return folder


async def _check_parent(tx: Transaction, project_id: UUID, parent_id: UUID | None) -> None:
    if parent_id is None:
        return
    parent = await store.hold(tx, parent_id)
    if parent is None or parent.project_id != project_id:
        raise Problem("reference_unknown", field="parent_id")
