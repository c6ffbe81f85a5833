"""SQL of folders: one function, one statement."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from buildpeer.platform.db import Transaction, record, records


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder; `parent_id` is null where it lies in the project itself."""

    folder_id: UUID
    project_id: UUID
    parent_id: UUID | None
    name: str
    version: int
    created_by: UUID
    created_at: datetime
    ordered_name: str


_COLUMNS = "folder_id, project_id, parent_id, name, version, created_by, created_at, ordered_name"
BY_ID = f"select {_COLUMNS} from folders where tenant_id = $1 and folder_id = $2"  # noqa: S608
HOLD = f"select {_COLUMNS} from folders where tenant_id = $1 and folder_id = $2 for key share"  # noqa: S608
PAGE = f"""
select {_COLUMNS} from folders where tenant_id = $1 and project_id = $2 and (ordered_name, folder_id) > ($3, $4)
order by ordered_name, folder_id limit $5
"""  # noqa: S608
ADD = f"""
insert into folders (tenant_id, folder_id, project_id, parent_id, name, created_by, created_at)
values ($1, $2, $3, $4, $5, $6, $7) on conflict (tenant_id, folder_id) do nothing returning {_COLUMNS}
"""  # noqa: S608
CHANGE = f"""
update folders set version = version + 1, name = coalesce($4, name), parent_id = case when $5 then $6 else parent_id end
where tenant_id = $1 and folder_id = $2 and ($3::bigint is null or version = $3) returning {_COLUMNS}
"""  # noqa: S608
REMOVE = "delete from folders where tenant_id = $1 and folder_id = $2 and ($3::bigint is null or version = $3)"


# As app.keep_folders() does: who locks rows first, and then stands in line, would be waited for by who is before them.
STAND_IN_LINE = "select pg_advisory_xact_lock(hashtextextended('folders ' || $1::uuid::text, 0))"


class NameTakenError(Exception):
    """Another folder in the same place has this name; the transaction is over."""


async def stand_in_line(tx: Transaction, project_id: UUID) -> None:
    """Let nobody else make or move folders of the project until the transaction ends."""
    await tx.run(STAND_IN_LINE, project_id)


async def by_id(tx: Transaction, folder_id: UUID) -> Folder | None:
    """A folder that the caller may see."""
    row = await tx.one(BY_ID, tx.tenant_id, folder_id)
    return None if row is None else record(row, Folder)


async def hold(tx: Transaction, folder_id: UUID) -> Folder | None:
    """A folder that the caller may see, which nobody removes until the transaction is over."""
    row = await tx.one(HOLD, tx.tenant_id, folder_id)
    return None if row is None else record(row, Folder)


async def page(tx: Transaction, project_id: UUID, *, after: tuple[str, UUID] | None, limit: int) -> Sequence[Folder]:
    """All folders of a project by name, after a name in order and id."""
    name, folder_id = after or ("", UUID(int=0))
    return records(await tx.all(PAGE, tx.tenant_id, project_id, name, folder_id, limit), Folder)


async def add(
    tx: Transaction, folder_id: UUID, *, project_id: UUID, parent_id: UUID | None, name: str, at: datetime
) -> Folder | None:
    """Make a folder; None where the id is taken. Raises NameTakenError."""
    try:
        row = await tx.one(ADD, tx.tenant_id, folder_id, project_id, parent_id, name, tx.person_id, at)
    except asyncpg.UniqueViolationError as exc:
        raise NameTakenError from exc
    return None if row is None else record(row, Folder)


async def change(
    tx: Transaction, folder_id: UUID, *, version: int | None, name: str | None, moved: bool, parent_id: UUID | None
) -> Folder | None:
    """Rename and move a folder; None where it has another version by now. Raises NameTakenError."""
    try:
        row = await tx.one(CHANGE, tx.tenant_id, folder_id, version, name, moved, parent_id)
    except asyncpg.UniqueViolationError as exc:
        raise NameTakenError from exc
    return None if row is None else record(row, Folder)


async def remove(tx: Transaction, folder_id: UUID, *, version: int | None) -> bool | None:
    """Remove an empty folder; False where it has another version by now, None, and the transaction is over, where
    something lies in it.
    """
    try:
        return (await tx.execute(REMOVE, tx.tenant_id, folder_id, version)).endswith(" 1")
    except asyncpg.ForeignKeyViolationError:
        return None
