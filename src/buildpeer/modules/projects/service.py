"""Reading projects."""

from uuid import UUID

import msgspec

from buildpeer.modules.projects import store
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database


class Project(msgspec.Struct, frozen=True):
    """A project; `timezone` is an IANA name."""

    project_id: UUID
    code: str
    name: str
    timezone: str


async def list_projects(db: Database, *, caller: Caller, after: tuple[str, UUID] | None, limit: int) -> list[Project]:
    """The caller's projects by name, at most `limit`, after a name and id."""
    async with db.transaction(caller.scope) as tx:
        rows = await store.page(tx, after=after, limit=limit)
    return [Project(**dict(row)) for row in rows]
