"""What other modules may ask of projects."""

from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import store
from buildpeer.platform.db import Transaction
from buildpeer.platform.errors import Problem


class ProjectAccess(msgspec.Struct, frozen=True):
    """A project that the caller may see."""

    project_id: UUID
    name: str
    timezone: str


async def find_project(tx: Transaction, project_id: UUID) -> ProjectAccess:
    """The project, if it is the caller's to see.

    Raises Problem not_found otherwise, be it a stranger's or nobody's.
    """
    row = await store.access(tx, project_id)
    if row is None:
        raise Problem("not_found")
    return ProjectAccess(row["project_id"], row["name"], row["timezone"])


async def may_send(tx: Transaction, project_id: UUID, person_id: UUID) -> bool:
    """Whether a person may send files to a project, as things stand now."""
    return identity.may_send(await store.role_in(tx, project_id, person_id))
