"""Keys for machines, which act as the member who made them, with given tools only."""

import secrets
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

import msgspec

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.rules import Level, Tool
from buildpeer.modules.identity.service.passwords import token_hash
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem

PREFIX = "bpk_"  # by which people and scanners of leaked secrets know one


class NewKey(msgspec.Struct):
    """A key to make: what it is called, and how much of which tools it may use."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    tools: dict[Tool, Level]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret; `last_used_at` is true to the minute."""

    key_id: UUID
    person_id: UUID
    name: str
    tools: dict[Tool, Level]
    created_at: datetime
    last_used_at: datetime | None


class MadeKey(msgspec.Struct, frozen=True):
    """A key just made; `secret` is shown this once."""

    key: ApiKey
    secret: str


async def make_key(db: Database, *, caller: Caller, wanted: NewKey, now: datetime) -> MadeKey:
    """Make a key that acts as the caller, for as long as they are a member. Raises Problem not_found or not_allowed."""
    secret = PREFIX + secrets.token_urlsafe(32)
    made = ApiKey(
        key_id=uuid4(),
        person_id=caller.person_id,
        name=wanted.name,
        tools=wanted.tools,
        created_at=now,
        last_used_at=None,
    )
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "company", "admin")
        await store.add_key(tx, made.key_id, name=made.name, tools=made.tools, now=now)
        await store.add_token(tx, token_hash(secret), made.key_id)
    return MadeKey(made, secret)


async def list_keys(db: Database, *, caller: Caller) -> list[ApiKey]:
    """The company's keys that aren't revoked, the newest first. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "company", "admin")
        rows = await store.keys(tx)
    return [ApiKey(**dict(row)) for row in rows]


async def revoke_key(db: Database, *, caller: Caller, key_id: UUID, now: datetime) -> None:
    """Let a key do nothing more; revoking again changes nothing. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "company", "admin")
        if not await store.revoke_key(tx, key_id, now):
            raise Problem("not_found")


async def caller_of_key(
    db: Database, *, secret: str, tool: Tool | Literal["any"] | None, level: Level, now: datetime, request_id: str
) -> Caller:
    """Whom a key acts as, where it may by the door's tool, or by "any" of its own; what a door names no tool for is for
    people alone.

    Raises Problem not_signed_in or not_allowed.
    """
    async with db.across_tenants() as tx:
        row = await store.use_key(tx, token_hash(secret), now)
    if row is None:
        raise Problem("not_signed_in")
    held: list[Level] = [each for name, each in row["tools"].items() if tool in (name, "any")]
    if not any(rules.LEVELS.index(each) >= rules.LEVELS.index(level) for each in held):
        raise Problem("not_allowed")
    return Caller(row["person_id"], row["tenant_id"], row["key_id"], request_id, key_id=row["key_id"])
