"""Reading the trail."""

from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.audit import store
from buildpeer.modules.audit.rules import Wanted
from buildpeer.modules.audit.store import Found
from buildpeer.modules.identity import facade as identity
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction


class Listed(msgspec.Struct, frozen=True):
    """An entry, and the name of who did it, None for BuildPeer itself; and of the key, if a machine did it."""

    found: Found
    person_name: str | None
    key_name: str | None


async def list_entries(
    db: Database, *, caller: Caller, wanted: Wanted, after: tuple[datetime, int] | None, limit: int
) -> list[Listed]:
    """Entries of the caller's tenant, the newest first. Raises Problem not_found for who may not read it."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "audit", "read")
        return await named(tx, await store.page(tx, wanted, after, limit))


async def named(tx: Transaction, found: list[Found]) -> list[Listed]:
    """The entries with the names of who did them."""
    people = await store.people(tx, {f.entry.person_id for f in found if f.entry.person_id})
    keys = await store.keys(tx, {f.entry.key_id for f in found if f.entry.key_id})
    return [Listed(f, _name(people, f.entry.person_id), _name(keys, f.entry.key_id)) for f in found]


def _name(names: dict[UUID, str], of: UUID | None) -> str | None:
    return names.get(of) if of else None
