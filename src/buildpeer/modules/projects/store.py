"""SQL of projects: one function, one statement."""

from typing import Any
from uuid import UUID

from buildpeer.platform.db import Transaction

# The row is there only if row-level security lets the caller see the project.
ACCESS = "select project_id, name, timezone from projects where project_id = $1"
# Owners and managers belong to every project, others to those that they were put into.
ROLE_IN = """
select m.role from memberships m
where m.tenant_id = $1 and m.person_id = $3 and (m.role in ('owner', 'manager') or exists (
  select from project_members pm where pm.tenant_id = $1 and pm.project_id = $2 and pm.person_id = $3))
"""
PAGE = """
select project_id, code, name, timezone from projects
where ($1::text is null or (name, project_id) > ($1, $2)) order by name, project_id limit $3
"""


async def access(tx: Transaction, project_id: UUID) -> Any | None:
    """A project that the caller may see."""
    return await tx.one(ACCESS, project_id)


async def role_in(tx: Transaction, project_id: UUID, person_id: UUID) -> str | None:
    """What a person is in a project; None: nothing."""
    return await tx.value(ROLE_IN, tx.tenant_id, project_id, person_id)


async def page(tx: Transaction, *, after: tuple[str, UUID] | None, limit: int) -> list[Any]:
    """Projects by name, after a name and id."""
    name, project_id = after or (None, None)
    return await tx.all(PAGE, name, project_id, limit)
