"""Who works on a project, and for which company."""

from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.identity.facade import Role
from buildpeer.modules.projects import store
from buildpeer.modules.projects.service.projects import find
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem


class ProjectMember(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who belongs to a project since `created_at`; `by_role`: as an owner or manager, who belong to all.
    `company_id`: for whom they work there; null: the company itself.
    """

    person_id: UUID
    name: str
    email: str | None
    role: str
    by_role: bool
    company_id: UUID | None
    created_at: datetime


async def list_project_members(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    role: Role | None,
    company_id: UUID | None,
    after: tuple[str, UUID] | None,
    limit: int,
) -> list[ProjectMember]:
    """Who belongs to a project, by name, at most `limit`, after a name and id; only those of a role or a company.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "people", "read")
        rows = await store.members(tx, project_id, role=role, company_id=company_id, after=after, limit=limit)
    return [ProjectMember(**dict(row)) for row in rows]


async def put_member(db: Database, *, caller: Caller, project_id: UUID, person_id: UUID) -> ProjectMember:
    """Put a member of the company into a project; again changes nothing. An owner or manager then stays in it in
    whatever role. Raises Problem not_found or not_allowed.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "people", "standard")
        await store.add_member(tx, project_id, person_id)
        return await _find_member(tx, project_id, person_id)


async def assign_member(
    db: Database, *, caller: Caller, project_id: UUID, person_id: UUID, company_id: UUID | None
) -> ProjectMember:
    """Say for which company of the project somebody works; None: for the company itself.

    Raises Problem not_found, not_allowed, or reference_unknown.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "people", "standard")
        await _find_member(tx, project_id, person_id)
        if company_id is not None and await store.missing(tx, project_id, companies=[company_id]):
            raise Problem("reference_unknown", field="company_id")
        await store.assign_member(tx, project_id, person_id, company_id)
        return await _find_member(tx, project_id, person_id)


async def remove_member(db: Database, *, caller: Caller, project_id: UUID, person_id: UUID) -> None:
    """Take somebody out of a project: they see nothing more of it at once, and what they were still sending is called
    off. Raises Problem not_found, or not_allowed, also for an owner or manager, who belong to every project.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "people", "standard")
        if not await store.remove_member(tx, project_id, person_id):
            await _find_member(tx, project_id, person_id)
            raise Problem("not_allowed")


async def _find_member(tx: Transaction, project_id: UUID, person_id: UUID) -> ProjectMember:
    rows = await store.members(tx, project_id, after=None, limit=1, person_id=person_id)
    if not rows:
        raise Problem("not_found")
    return ProjectMember(**dict(rows[0]))
