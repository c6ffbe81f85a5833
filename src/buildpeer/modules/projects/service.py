"""Projects, and who works on them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import rules, store
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem

Code = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Zone = Annotated[str, msgspec.Meta(max_length=64)]


class Project(msgspec.Struct, frozen=True):
    """A project; `timezone` is an IANA name."""

    project_id: UUID
    code: str
    name: str
    timezone: str


class NewProject(msgspec.Struct, frozen=True):
    """A project to make; its `code` is what people call it by, one of a kind in the company."""

    code: Code
    name: Name
    timezone: Zone


class ProjectChanges(msgspec.Struct, frozen=True):
    """What becomes different; null: nothing."""

    code: Code | None = None
    name: Name | None = None
    timezone: Zone | None = None


class ProjectMember(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who belongs to a project since `created_at`; `by_role`: as an owner or manager, who belong to all."""

    person_id: UUID
    name: str
    email: str | None
    role: str
    by_role: bool
    created_at: datetime


async def list_projects(db: Database, *, caller: Caller, after: tuple[str, UUID] | None, limit: int) -> list[Project]:
    """The caller's projects by name, at most `limit`, after a name and id."""
    async with db.transaction(caller.scope) as tx:
        rows = await store.page(tx, after=after, limit=limit)
    return [Project(**dict(row)) for row in rows]


async def get_project(db: Database, *, caller: Caller, project_id: UUID) -> Project:
    """A project of the caller's. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        return await _find(tx, project_id)


async def make_project(db: Database, *, caller: Caller, wanted: NewProject) -> Project:
    """Make a project, to which owners and managers belong at once.

    Raises Problem not_found, not_allowed, invalid or code_taken; made again, it is that.
    """
    made = Project(uuid4(), wanted.code, wanted.name, wanted.timezone)
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "admin")
        await _check_zone(tx, made.timezone)
        if not await store.add(tx, made.project_id, code=made.code, name=made.name, timezone=made.timezone):
            raise Problem("code_taken")
    return made


async def change_project(db: Database, *, caller: Caller, project_id: UUID, changes: ProjectChanges) -> Project:
    """Change a project's code, name or time zone, and nothing that isn't named.

    Raises Problem not_found, not_allowed, invalid or code_taken.
    """
    async with db.transaction(caller.scope) as tx:
        await _find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        if changes.timezone is not None:
            await _check_zone(tx, changes.timezone)
        row = await store.change(tx, project_id, code=changes.code, name=changes.name, timezone=changes.timezone)
        if row is None:
            raise Problem("code_taken")
    return Project(**dict(row))


async def list_project_members(
    db: Database, *, caller: Caller, project_id: UUID, after: tuple[str, UUID] | None, limit: int
) -> list[ProjectMember]:
    """Who belongs to a project, by name, at most `limit`, after a name and id. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await _find(tx, project_id)
        identity.permit(tx, "people", "read")
        rows = await store.members(tx, project_id, after=after, limit=limit)
    return [ProjectMember(**dict(row)) for row in rows]


async def put_member(db: Database, *, caller: Caller, project_id: UUID, person_id: UUID) -> ProjectMember:
    """Put a member of the company into a project; again changes nothing. An owner or manager then stays in it in
    whatever role. Raises Problem not_found or not_allowed.
    """
    async with db.transaction(caller.scope) as tx:
        await _find(tx, project_id)
        identity.permit(tx, "people", "standard")
        await store.add_member(tx, project_id, person_id)
        return await _find_member(tx, project_id, person_id)


async def remove_member(db: Database, *, caller: Caller, project_id: UUID, person_id: UUID) -> None:
    """Take somebody out of a project: they see nothing more of it at once, and what they were still sending is called
    off. Raises Problem not_found, or not_allowed, also for an owner or manager, who belong to every project.
    """
    async with db.transaction(caller.scope) as tx:
        await _find(tx, project_id)
        identity.permit(tx, "people", "standard")
        if not await store.remove_member(tx, project_id, person_id):
            await _find_member(tx, project_id, person_id)
            raise Problem("not_allowed")


async def _find(tx: Transaction, project_id: UUID) -> Project:
    row = await store.access(tx, project_id)
    if row is None:
        raise Problem("not_found")
    return Project(row["project_id"], row["code"], row["name"], row["timezone"])


async def _check_zone(tx: Transaction, timezone: str) -> None:
    if not rules.looks_like_zone(timezone) or not await store.knows_zone(tx, timezone):
        raise Problem("invalid", "timezone must be an IANA name such as America/Lima")


async def _find_member(tx: Transaction, project_id: UUID, person_id: UUID) -> ProjectMember:
    rows = await store.members(tx, project_id, after=None, limit=1, person_id=person_id)
    if not rows:
        raise Problem("not_found")
    return ProjectMember(**dict(rows[0]))
