"""SQL of projects: one function, one statement."""

from typing import Any
from uuid import UUID

from buildpeer.platform.db import Transaction

# The row is there only if row-level security lets the caller see the project; the role is today's, not the token's.
ACCESS = "select project_id, name, timezone, app.member_role() as role from projects where project_id = $1"
PAGE = """
select project_id, code, name, timezone from projects
where ($1::text is null or (name, project_id) > ($1, $2)) order by name, project_id limit $3
"""


async def access(tx: Transaction, project_id: UUID) -> Any | None:
    """A project that the caller may see, with the caller's role."""
    return await tx.one(ACCESS, project_id)


async def page(tx: Transaction, *, after: tuple[str, UUID] | None, limit: int) -> list[Any]:
    """Projects by name, after a name and id."""
    name, project_id = after or (None, None)
    return await tx.all(PAGE, name, project_id, limit)
