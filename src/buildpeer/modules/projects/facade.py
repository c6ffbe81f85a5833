"""What other modules may ask of projects."""

from uuid import UUID

import msgspec

from buildpeer.modules.projects import store
from buildpeer.platform.db import Transaction
from buildpeer.platform.errors import Problem


class ProjectAccess(msgspec.Struct, frozen=True):
    """A project that the caller may see, and the caller's role there."""

    project_id: UUID
    name: str
    timezone: str
    role: str


async def find_project(tx: Transaction, project_id: UUID) -> ProjectAccess:
    """The project, if it is the caller's to see.

    Raises Problem not_found otherwise, be it a stranger's or nobody's.
    """
    row = await store.access(tx, project_id)
    if row is None:
        raise Problem("not_found")
    return ProjectAccess(**dict(row))
