"""Doors for those who belong to the company."""

from uuid import UUID

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.rules import Role
from buildpeer.modules.identity.service import KeyDevice, Member
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    Limit,
    NowDep,
    Page,
    WakeupsDep,
    page,
    read_cursor,
    used_with,
)


class KeyDevices(msgspec.Struct):
    """A member's devices with keys."""

    items: list[KeyDevice]


class NewRole(msgspec.Struct):
    """What a member becomes."""

    role: Role


class MembersController(Controller):
    """Who belongs to the tenant."""

    path = "/v1/members"
    tags = ("people",)
    opt = used_with("people", write="admin")

    @get(summary="List members")
    async def list_members(
        self, caller: CallerDep, db: DatabaseDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[Member]:
        """The tenant's members, by name."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await service.list_members(db, caller=caller, after=after, limit=limit + 1)
        return page(found, limit, lambda m: [m.name, m.person_id])

    @patch("/{person_id:uuid}", summary="Change a member's role")
    async def change_role(
        self,
        *,
        person_id: FromPath[UUID],
        data: JSONBody[NewRole],
        caller: CallerDep,
        db: DatabaseDep,
        wakeups: WakeupsDep,
        now: NowDep,
    ) -> Member:
        """Give a member another role, which counts from their next request on."""
        return await service.change_role(db, wakeups, caller=caller, person_id=person_id, role=data.role, now=now)

    @delete("/{person_id:uuid}", summary="Remove a member")
    async def remove_member(
        self, person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, wakeups: WakeupsDep
    ) -> None:
        """End a membership; streams end at once, and uploads that are still open are cancelled."""
        await service.remove_member(db, wakeups, caller=caller, person_id=person_id)

    @delete("/{person_id:uuid}/totp", summary="Switch a member's second step off")
    async def reset_totp(self, person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """For somebody who has lost phone and recovery codes, and belongs to no other company."""
        await service.reset_totp(db, caller=caller, person_id=person_id)

    @get("/{person_id:uuid}/devices", summary="A member's devices")
    async def list_devices(self, person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> KeyDevices:
        """Devices that sign in by a key, with those that wait for approval or are locked."""
        return KeyDevices(await service.list_devices(db, caller=caller, person_id=person_id))

    @post("/{person_id:uuid}/devices/{device_id:uuid}/approval", status_code=204, summary="Approve a device")
    async def approve_device(
        self,
        person_id: FromPath[UUID],
        device_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> None:
        """Let a device sign in, also one that wrong PINs have locked."""
        await service.approve_device(db, caller=caller, person_id=person_id, device_id=device_id, now=now)

    @delete("/{person_id:uuid}/devices/{device_id:uuid}", summary="Revoke a device")
    async def revoke_device(
        self,
        *,
        person_id: FromPath[UUID],
        device_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        wakeups: WakeupsDep,
        now: NowDep,
    ) -> None:
        """Let a lost device never sign in again; its sessions and streams end at once."""
        await service.revoke_device(db, wakeups, caller=caller, person_id=person_id, device_id=device_id, now=now)
