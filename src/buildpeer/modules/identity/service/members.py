"""Who belongs to a tenant, and as what."""

from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.rules import Level, Role, Tool
from buildpeer.modules.identity.service.sessions import Membership, Person, memberships_of, open_to, person_of
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.realtime import Wakeups


class Totp(msgspec.Struct, frozen=True):
    """A second step at sign-in: since when, and how many recovery codes are unused."""

    since: datetime
    recovery_codes_left: int


class Me(msgspec.Struct, frozen=True):
    """The caller, where they are, what they may do there, and where else they could be; `totp` is null if the password
    alone signs them in.
    """

    person: Person
    tenant: Membership
    permissions: dict[Tool, Level]
    tenants: list[Membership]
    totp: Totp | None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who belongs to a tenant; `created_at`: since when."""

    person_id: UUID
    name: str
    email: str | None
    role: Role
    created_at: datetime


async def me(db: Database, *, caller: Caller) -> Me:
    """The caller. Raises Problem session_ended for somebody who is no member of the tenant (any more)."""
    async with db.transaction(caller.scope) as tx:
        tenants = open_to(await memberships_of(tx), await store.tenant_of_key(tx, caller.session_id))
        person = await person_of(tx)
        totp = await store.totp_state(tx)
    here = next((t for t in tenants if t.tenant_id == caller.tenant_id), None)
    if here is None:
        raise Problem("session_ended")
    return Me(person, here, rules.permissions_of(here.role), tenants, Totp(**dict(totp)) if totp else None)


async def list_members(db: Database, *, caller: Caller, after: tuple[str, UUID] | None, limit: int) -> list[Member]:
    """The tenant's members by name, at most `limit`, after a name and id."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "read")
        rows = await store.members(tx, after=after, limit=limit)
    return [Member(**dict(row)) for row in rows]


async def change_role(
    db: Database, wakeups: Wakeups, *, caller: Caller, person_id: UUID, role: Role, now: datetime
) -> Member:
    """Give a member another role, which counts from their next request on. The devices with keys of one who becomes an
    owner wait for an owner's approval: until now a manager's was enough.

    Raises Problem not_found, not_allowed (only an owner makes or unmakes one) or last_owner.
    """
    async with db.transaction(caller.scope) as tx:
        member = await _lock(tx, person_id, becomes=role)
        await store.change_role(tx, person_id, role)
        if role == "owner" != member.role:
            for device_id in await store.unapprove_devices(tx, person_id):
                await store.end_device_sessions(tx, device_id, now)
    await wakeups.publish([caller.tenant_id])
    return msgspec.structs.replace(member, role=role)


async def remove_member(db: Database, wakeups: Wakeups, *, caller: Caller, person_id: UUID) -> None:
    """End a membership, and with it projects, streams and uploads that are still open.

    Raises Problem not_found, not_allowed or last_owner.
    """
    async with db.transaction(caller.scope) as tx:
        await _lock(tx, person_id, becomes=None)
        await store.remove_member(tx, person_id)
    await wakeups.publish([caller.tenant_id])


async def _lock(tx: Transaction, person_id: UUID, *, becomes: Role | None) -> Member:
    rules.permit(tx.role, "people", "read")
    row = await store.member(tx, person_id)
    if row is None:
        raise Problem("not_found")
    member = Member(**dict(row))
    rules.permit(tx.role, "people", "admin" if "owner" in (member.role, becomes) else "standard")
    if member.role == "owner" != becomes and len(await store.lock_owners(tx)) == 1:
        raise Problem("last_owner")
    return member
