"""Doors for who works on a project, and for inviting many at once."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.identity.facade import Role
from buildpeer.modules.jobs.facade import JobStarted, NewImport
from buildpeer.modules.projects.service import importing, members
from buildpeer.modules.projects.service.members import ProjectMember
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    Page,
    SettingsDep,
    page,
    read_cursor,
    used_with,
)


class Assignment(msgspec.Struct):
    """For which company of the project somebody works; null: for the company itself."""

    company_id: UUID | None


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
        role: Annotated[Role | None, QueryParameter(name="role", required=False)] = None,
        company_id: Annotated[UUID | None, QueryParameter(name="company_id", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ProjectMember]:
        """Who belongs to the project, by name: owners and managers, and whoever was put into it."""
        found = await members.list_project_members(
            db,
            caller=caller,
            project_id=project_id,
            role=role,
            company_id=company_id,
            after=read_cursor(cursor, tuple[str, UUID]),
            limit=limit + 1,
        )
        return page(found, limit, lambda m: [m.name, m.person_id])

    @put("/{person_id:uuid}", summary="Put somebody into a project")
    async def put_member(
        self, project_id: FromPath[UUID], person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> ProjectMember:
        """Put a member of the company into the project; again changes nothing."""
        return await members.put_member(db, caller=caller, project_id=project_id, person_id=person_id)

    @patch("/{person_id:uuid}", summary="Say for whom somebody works")
    async def assign_member(
        self,
        project_id: FromPath[UUID],
        person_id: FromPath[UUID],
        data: JSONBody[Assignment],
        caller: CallerDep,
        db: DatabaseDep,
    ) -> ProjectMember:
        """Say for which company of the project a member of it works."""
        return await members.assign_member(
            db, caller=caller, project_id=project_id, person_id=person_id, company_id=data.company_id
        )

    @delete("/{person_id:uuid}", summary="Take somebody out of a project")
    async def remove_member(
        self, project_id: FromPath[UUID], person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> None:
        """They see nothing more of it at once, and their uploads that are still open are cancelled."""
        await members.remove_member(db, caller=caller, project_id=project_id, person_id=person_id)


class PeopleImportsController(Controller):
    """Inviting many people at once."""

    path = "/v1/people/imports"
    tags = ("people",)
    opt = used_with("people", write="admin")

    @post(status_code=202, summary="Invite people from a table")
    async def import_people(
        self,
        data: JSONBody[NewImport],
        caller: CallerDep,
        db: DatabaseDep,
        settings: SettingsDep,
        language: LanguageDep,
    ) -> JobStarted:
        """A job that invites the people of a CSV file with the columns Correo, Rol and Obras (codes of projects, cut by
        `;`); with `check` it only says what it would do. Whoever is a member, or invited, is left alone.
        """
        return await importing.order_people(db, caller=caller, wanted=data, web_url=settings.web_url, language=language)
