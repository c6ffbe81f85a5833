"""Doors for projects."""

from uuid import UUID

from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody

from buildpeer.modules.projects import service
from buildpeer.modules.projects.service import NewProject, Project, ProjectChanges, ProjectMember
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
    opt = used_with("projects", write="admin")

    @get(summary="List projects")
    async def list_projects(
        self, caller: CallerDep, db: DatabaseDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[Project]:
        """Projects that the caller belongs to, by name."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await service.list_projects(db, caller=caller, after=after, limit=limit + 1)
        return page(found, limit, lambda p: [p.name, p.project_id])

    @post(summary="Make a project")
    async def make_project(self, data: JSONBody[NewProject], caller: CallerDep, db: DatabaseDep) -> Project:
        """A new project, to which owners and managers belong; made twice, the second is 409 code_taken."""
        return await service.make_project(db, caller=caller, wanted=data)

    @get("/{project_id:uuid}", summary="One project")
    async def get_project(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Project:
        """A project that the caller belongs to."""
        return await service.get_project(db, caller=caller, project_id=project_id)

    @patch("/{project_id:uuid}", summary="Change a project")
    async def change_project(
        self, project_id: FromPath[UUID], data: JSONBody[ProjectChanges], caller: CallerDep, db: DatabaseDep
    ) -> Project:
        """Change what is named, and nothing else."""
        return await service.change_project(db, caller=caller, project_id=project_id, changes=data)


class ProjectMembersController(Controller):
    """Who works on a project."""

    path = "/v1/projects/{project_id:uuid}/members"
    tags = ("projects",)
    opt = used_with("people", write="admin")

    @get(summary="List a project's members")
    async def list_members(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ProjectMember]:
        """Who belongs to the project, by name: owners and managers, and whoever was put into it."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await service.list_project_members(
            db, caller=caller, project_id=project_id, after=after, limit=limit + 1
        )
        return page(found, limit, lambda m: [m.name, m.person_id])

    @put("/{person_id:uuid}", summary="Put somebody into a project")
    async def put_member(
        self, project_id: FromPath[UUID], person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> ProjectMember:
        """Put a member of the company into the project; again changes nothing."""
        return await service.put_member(db, caller=caller, project_id=project_id, person_id=person_id)

    @delete("/{person_id:uuid}", summary="Take somebody out of a project")
    async def remove_member(
        self, project_id: FromPath[UUID], person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> None:
        """They see nothing more of it at once, and their uploads that are still open are cancelled."""
        await service.remove_member(db, caller=caller, project_id=project_id, person_id=person_id)
