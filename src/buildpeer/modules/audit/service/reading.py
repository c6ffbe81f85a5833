"""Reading the trail."""

from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.audit import rules, store
from buildpeer.modules.audit.rules import Wanted
from buildpeer.modules.audit.store import Found
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem


class Listed(msgspec.Struct, frozen=True):
    """An entry, and the name of who did it; None for BuildPeer itself."""

    found: Found
    person_name: str | None


async def list_entries(
    db: Database, *, caller: Caller, wanted: Wanted, after: tuple[datetime, int] | None, limit: int
) -> list[Listed]:
    """Entries of the caller's tenant, the newest first. Raises Problem not_allowed, or not_found for a stranger."""
    async with db.transaction(caller.scope) as tx:
        await check_reader(tx)
        return await named(tx, await store.page(tx, wanted, after, limit))


async def check_reader(tx: Transaction) -> None:
    """Raise Problem not_allowed for who is neither owner nor manager, not_found for who is no member."""
    role = await store.role(tx)
    if role not in rules.READERS:
        raise Problem("not_allowed" if role else "not_found")


async def named(tx: Transaction, found: list[Found]) -> list[Listed]:
    """The entries with the names of who did them."""
    people: set[UUID] = {f.entry.person_id for f in found if f.entry.person_id}
    names = await store.people(tx, people)
    return [Listed(f, names.get(f.entry.person_id) if f.entry.person_id else None) for f in found]
