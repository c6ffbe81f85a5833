"""Doors for the keys of machines."""

from uuid import UUID

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service import ApiKey, MadeKey, NewKey
from buildpeer.platform.http import CallerDep, DatabaseDep, NowDep


class ApiKeys(msgspec.Struct):
    """The company's keys."""

    items: list[ApiKey]


class ApiKeysController(Controller):
    """Keys for machines."""

    path = "/v1/api-keys"
    tags = ("people",)

    @post(summary="Make a key")
    async def make_key(self, data: JSONBody[NewKey], caller: CallerDep, db: DatabaseDep, now: NowDep) -> MadeKey:
        """A key that acts as its maker, an owner, with the tools named; the secret is told this once."""
        return await service.make_key(db, caller=caller, wanted=data, now=now)

    @get(summary="List keys")
    async def list_keys(self, caller: CallerDep, db: DatabaseDep) -> ApiKeys:
        """The company's keys that aren't revoked, the newest first."""
        return ApiKeys(await service.list_keys(db, caller=caller))

    @delete("/{key_id:uuid}", summary="Revoke a key")
    async def revoke_key(self, key_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep) -> None:
        """Let a key do nothing more, at once."""
        await service.revoke_key(db, caller=caller, key_id=key_id, now=now)
