"""Beginning, suspending, limiting, and all of them in a list."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer.modules.tenants import rules, store
from buildpeer.modules.tenants.rules import Summary, Tenant, TenantError
from buildpeer.platform.db import Database, Scope, Transaction

InviteOwner = Callable[[Transaction, str], Awaitable[bool]]


class Created(msgspec.Struct, frozen=True):
    """A tenant, whether it is new, and whether its first owner was invited just now."""

    tenant: Tenant
    is_new: bool
    invited: bool


async def create(
    db: Database,
    *,
    tenant_id: UUID,
    name: str,
    region: str,
    regions: frozenset[str],
    storage_limit_bytes: int | None,
    uploads_per_day: int | None,
    invite_owner: InviteOwner,
    now: datetime,
) -> Created:
    """Make a tenant in one of the `regions` that have buckets, and invite its first owner.

    Idempotent by id: the same again changes nothing, but for an invitation that nobody accepted in time, which goes out
    anew. Raises TenantError for a region without buckets, or an id that another tenant has or had.
    """
    name = rules.check_name(name)
    if region not in regions:
        raise TenantError(f"there are no buckets in {region}; regions that have them: {', '.join(sorted(regions))}")
    async with db.transaction(_scope(tenant_id, "create")) as tx:
        if await store.erasure(tx):
            raise TenantError(f"{tenant_id} was erased, or is being erased; take another id")
        is_new = await store.found(
            tx,
            name=name,
            region=region,
            storage_limit_bytes=storage_limit_bytes,
            uploads_per_day=uploads_per_day,
        )
        tenant = await _find(tx)
        if (tenant.name, tenant.data_region) != (name, region):
            raise TenantError(f"{tenant_id} is {tenant.name} in {tenant.data_region} already")
        return Created(tenant, is_new, await invite_owner(tx, name))


async def find(db: Database, *, tenant_id: UUID) -> Tenant:
    """A tenant. Raises TenantError if there is none."""
    async with db.transaction(_scope(tenant_id, "show")) as tx:
        return await _find(tx)


async def list_all(db: Database) -> list[Summary]:
    """Every tenant, also one whose erasing is under way, by name."""
    async with db.across_tenants("operator:list") as tx:
        return await store.summaries(tx)


async def suspend(db: Database, *, tenant_id: UUID, now: datetime) -> Tenant:
    """Let nobody write to a tenant from now on; again changes nothing. Raises TenantError if there is none."""
    async with db.transaction(_scope(tenant_id, "suspend")) as tx:
        await _find(tx)
        await store.suspend(tx, now)
        return await _find(tx)


async def resume(db: Database, *, tenant_id: UUID) -> Tenant:
    """Let a suspended tenant work again; again changes nothing. Raises TenantError if there is none."""
    async with db.transaction(_scope(tenant_id, "resume")) as tx:
        await _find(tx)
        await store.resume(tx)
        return await _find(tx)


async def limit(
    db: Database,
    *,
    tenant_id: UUID,
    storage_limit_bytes: int | Literal["as it is"] | None = "as it is",
    uploads_per_day: int | Literal["as it is"] | None = "as it is",
) -> Tenant:
    """Set what a tenant may use; None lifts a limit. What it has already stays. Raises TenantError if there is none."""
    async with db.transaction(_scope(tenant_id, "limits")) as tx:
        await _find(tx)
        if storage_limit_bytes != "as it is":
            await store.limit_storage(tx, storage_limit_bytes)
        if uploads_per_day != "as it is":
            await store.limit_uploads(tx, uploads_per_day)
        return await _find(tx)


async def _find(tx: Transaction) -> Tenant:
    found = await store.find(tx)
    if found is None or await store.erasure(tx):
        raise TenantError(f"there is no tenant {tx.tenant_id}, or it is being erased")
    return found


def _scope(tenant_id: UUID, what: str) -> Scope:
    return Scope(tenant_id, None, f"operator:{what}")
