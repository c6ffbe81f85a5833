"""Doors for projects."""

from uuid import UUID

from litestar import Controller, get

from buildpeer.modules.projects import service
from buildpeer.modules.projects.service import Project
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    Limit,
    Page,
    page,
    read_cursor,
    used_with,
)


class ProjectsController(Controller):
    """The caller's projects."""

    path = "/v1/projects"
    tags = ("projects",)
    opt = used_with("projects")

    @get(summary="List projects")
    async def list_projects(
        self, caller: CallerDep, db: DatabaseDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[Project]:
        """Projects that the caller belongs to, by name."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await service.list_projects(db, caller=caller, after=after, limit=limit + 1)
        return page(found, limit, lambda p: [p.name, p.project_id])
