"""Doors for projects themselves."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.projects.rules import Phase
from buildpeer.modules.projects.service import projects
from buildpeer.modules.projects.service.projects import Budget, NewProject, Project, ProjectChanges, Sort
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


class Cover(msgspec.Struct):
    """Which photo of the project becomes its cover."""

    document_id: UUID


class NewBudget(msgspec.Struct):
    """What the project may cost, in its currency, with at most two decimals."""

    amount: Decimal


class ProjectsController(Controller):
    """The caller's projects."""

    path = "/v1/projects"
    tags = ("projects",)
    opt = used_with("projects", write="admin")

    @get(summary="List projects")
    async def list_projects(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        archived: Annotated[
            bool, QueryParameter(name="archived", description="Those that are archived instead")
        ] = False,
        phase: Annotated[Phase | None, QueryParameter(name="phase", required=False)] = None,
        sort: Annotated[Sort, QueryParameter(name="sort")] = "name",
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Project]:
        """Projects that the caller belongs to, by name or by code."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await projects.list_projects(
            db, caller=caller, archived=archived, phase=phase, sort=sort, after=after, limit=limit + 1
        )
        return page(found, limit, lambda p: [p.code if sort == "code" else p.name, p.project_id])

    @post(summary="Make a project")
    async def make_project(self, data: JSONBody[NewProject], caller: CallerDep, db: DatabaseDep) -> Response[Project]:
        """A new project, to which owners and managers belong; another with the same code is 409 code_taken."""
        made = await projects.make_project(db, caller=caller, wanted=data)
        return tagged(made, made.version)

    @get("/{project_id:uuid}", summary="One project")
    async def get_project(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Response[Project]:
        """A project that the caller belongs to, with its version as the ETag."""
        found = await projects.get_project(db, caller=caller, project_id=project_id)
        return tagged(found, found.version)

    @patch("/{project_id:uuid}", summary="Change a project")
    async def change_project(
        self,
        *,
        project_id: FromPath[UUID],
        data: JSONBody[ProjectChanges],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[Project]:
        """Change what is named, and nothing else; `archived` closes the project for writing, or opens it again."""
        changed = await projects.change_project(
            db, caller=caller, project_id=project_id, changes=data, version=read_if_match(if_match), now=now
        )
        return tagged(changed, changed.version)

    @put("/{project_id:uuid}/cover", summary="Choose a cover")
    async def set_cover(
        self, project_id: FromPath[UUID], data: JSONBody[Cover], caller: CallerDep, db: DatabaseDep
    ) -> Project:
        """Show a photo of the project as its cover, to whoever may see its files."""
        return await projects.set_cover(db, caller=caller, project_id=project_id, document_id=data.document_id)

    @delete("/{project_id:uuid}/cover", summary="Take the cover away")
    async def remove_cover(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Show no cover; the photo stays."""
        await projects.set_cover(db, caller=caller, project_id=project_id, document_id=None)


class BudgetController(Controller):
    """What a project may cost: for whoever has the tool `budgets`."""

    path = "/v1/projects/{project_id:uuid}/budget"
    tags = ("projects",)
    opt = used_with("budgets")

    @get(summary="The budget")
    async def get_budget(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Response[Budget]:
        """What the project may cost; ETag `"0"` while nobody has said."""
        found = await projects.get_budget(db, caller=caller, project_id=project_id)
        return tagged(found, found.version)

    @put(summary="Set the budget")
    async def set_budget(
        self,
        *,
        project_id: FromPath[UUID],
        data: JSONBody[NewBudget],
        caller: CallerDep,
        db: DatabaseDep,
        if_match: IfMatch = None,
    ) -> Response[Budget]:
        """Say what the project may cost."""
        said = await projects.set_budget(
            db, caller=caller, project_id=project_id, amount=data.amount, version=read_if_match(if_match)
        )
        return tagged(said, said.version)
