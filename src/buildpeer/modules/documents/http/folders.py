"""Doors for folders."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from buildpeer.modules.documents import service
from buildpeer.modules.documents.service import FolderChanges, NewFolder
from buildpeer.modules.documents.store.folders import Folder
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    IfMatch,
    Limit,
    NowDep,
    Page,
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)


class FolderView(msgspec.Struct, kw_only=True):
    """A folder as clients see it; `parent_id` is null where it lies in the project itself."""

    folder_id: UUID
    project_id: UUID
    parent_id: UUID | None
    name: str
    created_by: UUID
    created_at: datetime
    version: int


class FoldersController(Controller):
    """The tree of folders of a project."""

    path = "/v1"
    tags = ("documents",)
    opt = used_with("files")

    @get("/projects/{project_id:uuid}/folders", summary="List folders")
    async def list_folders(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[FolderView]:
        """All folders of a project, however deep, by name as people order names."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await service.list_folders(db, caller=caller, project_id=project_id, after=after, limit=limit + 1)
        names = {folder.folder_id: folder.ordered_name for folder in found}
        return page([_view(folder) for folder in found], limit, lambda f: [names[f.folder_id], f.folder_id])

    @post("/projects/{project_id:uuid}/folders", summary="Make a folder")
    async def make_folder(
        self, project_id: FromPath[UUID], data: JSONBody[NewFolder], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> Response[FolderView]:
        """A new folder. No two in one place are told apart by case, accents or blanks alone; an ñ is a letter."""
        made = await service.make_folder(db, caller=caller, project_id=project_id, wanted=data, now=now)
        return tagged(_view(made), made.version)

    @patch("/folders/{folder_id:uuid}", summary="Rename or move a folder")
    async def change_folder(
        self,
        *,
        folder_id: FromPath[UUID],
        data: JSONBody[FolderChanges],
        caller: CallerDep,
        db: DatabaseDep,
        if_match: IfMatch = None,
    ) -> Response[FolderView]:
        """Rename a folder, or move it with all that lies in it."""
        version = read_if_match(if_match)
        changed = await service.change_folder(db, caller=caller, folder_id=folder_id, version=version, changes=data)
        return tagged(_view(changed), changed.version)

    @delete("/folders/{folder_id:uuid}", summary="Remove an empty folder")
    async def remove_folder(
        self, folder_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, if_match: IfMatch = None
    ) -> None:
        """Remove a folder in which nothing lies; who made it may, owners and managers."""
        await service.remove_folder(db, caller=caller, folder_id=folder_id, version=read_if_match(if_match))


def _view(folder: Folder) -> FolderView:
    return FolderView(
        folder_id=folder.folder_id,
        project_id=folder.project_id,
        parent_id=folder.parent_id,
        name=folder.name,
        created_by=folder.created_by,
        created_at=folder.created_at,
        version=folder.version,
    )
