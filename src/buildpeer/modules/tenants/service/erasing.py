"""Erasing a tenant, in steps that each may be repeated, so that a crash at any moment only means running it again.

Nobody belongs to the tenant from the first step on. Bytes go before the rows that name them, rows before the tenant's
own, which they refer to, and the trail after everything that still writes to it. Its sealed batches keep their roots.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import asyncpg
import msgspec

from buildpeer import layout
from buildpeer.modules.tenants import rules, store
from buildpeer.modules.tenants.rules import TenantError
from buildpeer.modules.tenants.store import Erasure, Table
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.signing import Signer, read_signed
from buildpeer.platform.storage import WRITE_LIFE, Listed, Storage

FORMAT = "buildpeer-erasure-1"
BACKUPS_LIVE = timedelta(days=35)  # locked, so that nobody deletes one of them before
_ROWS_AT_ONCE = 2000
_ROUNDS = 100
_INVENTORY, _LATE = "objects", "late_objects"

Report = Callable[[str, int, int | None], None]
_Listing = Literal["version", "multipart", "object"]


class Buckets(msgspec.Struct, frozen=True):
    """Where the bytes of a region lie."""

    uploads: str
    chunks: str
    derived: str


async def doomed(db: Database, *, tenant_id: UUID) -> Erasure:
    """What erasing would be about: the tenant, or how far it is. Raises TenantError if there is none."""
    async with db.transaction(_scope(tenant_id)) as tx:
        begun, tenant = await store.erasure(tx), await store.find(tx)
    if begun is not None:
        return begun
    if tenant is None:
        raise TenantError(f"there is no tenant {tenant_id}")
    return Erasure(tenant_id, tenant.name, tenant.data_region, tenant.created_at, tenant.created_at, {}, None, None)


async def erase(
    db: Database,
    storage: Storage,
    *,
    tenant_id: UUID,
    buckets: Buckets,
    signer: Signer,
    progress: Report,
    now: datetime,
) -> Erasure:
    """Erase a tenant, or go on with it; without a certificate while write URLs given out before may still bring bytes:
    then run it again after `writable_until`. Once it is certified, it gives the same certificate again.

    `progress` hears what is being erased, how much of it has been, and how much there is. Raises TenantError if there
    is no such tenant.
    """
    erasure = await _begin(db, tenant_id, now=now)
    if erasure.certificate is not None:
        return erasure
    await _empty_buckets(db, storage, erasure, buckets, progress)
    await _empty_tables(db, tenant_id, progress)
    await _erase_letters(db, tenant_id)
    await _erase_people(db, tenant_id)
    await _erase_trail(db, tenant_id, progress)
    if now < erasure.writable_until:
        return erasure
    return await _certify(db, tenant_id, signer, now=now)


def certified(certificate: str, public: dict[str, Any]) -> dict[str, Any]:
    """What a certificate says, flat, for a text. Raises SignatureError if this key didn't sign it."""
    said = msgspec.json.decode(read_signed(certificate, public), type=dict[str, Any])
    return {**said, **said["removed"], **said["people"], **said["audit"]}


def certificate_file(certificate: str, public: dict[str, Any]) -> bytes:
    """A certificate for whoever keeps it: what it says, the signature (a JWS over it), and the public key."""
    said = msgspec.json.decode(read_signed(certificate, public))
    return msgspec.json.format(msgspec.json.encode({"says": said, "signed": certificate, "public_key": public})) + b"\n"


async def _begin(db: Database, tenant_id: UUID, *, now: datetime) -> Erasure:
    async with db.transaction(_scope(tenant_id)) as tx:
        erasure = await store.erasure(tx)
        if erasure is None:
            await store.begin(tx, now=now, url_life=WRITE_LIFE)
            erasure = await store.erasure(tx)
            if erasure is None:
                raise TenantError(f"there is no tenant {tenant_id}")
            await store.shut(tx)
    return erasure


async def _empty_buckets(db: Database, storage: Storage, erasure: Erasure, buckets: Buckets, progress: Report) -> None:
    """Remove every version, piece and picture. What there was is counted before anything goes, once; what came after
    that is counted as it goes.
    """
    tenant_id, removed = erasure.tenant_id, erasure.removed
    places = list(_places(tenant_id, buckets))
    async with db.transaction(_scope(tenant_id)) as tx:
        elsewhere = await store.elsewhere(tx)
    if _INVENTORY not in removed:
        objects, size = len(elsewhere), 0
        for listing, bucket, prefix in places:
            async for page in storage.walk(listing, bucket=bucket, prefix=prefix):
                objects, size = objects + len(page), size + sum(each.size for each in page)
                progress("counting objects", objects, None)
        async with db.transaction(_scope(tenant_id)) as tx:
            await store.count(tx, {_INVENTORY: objects, "object_bytes": size})
        removed = removed | {_INVENTORY: objects}
    gone = 0
    for each in elsewhere:
        await storage.delete(bucket=each.bucket, key=each.key, version_id=each.version_id or None)
        gone += 1
    for listing, bucket, prefix in places:
        async for page in storage.walk(listing, bucket=bucket, prefix=prefix):
            await _delete(storage, listing, bucket, page)
            gone += len(page)
            progress("objects", gone, max(gone, removed[_INVENTORY]))
    async with db.transaction(_scope(tenant_id)) as tx:
        await store.count(tx, {_LATE: gone if _LATE in removed else 0})


def _places(tenant_id: UUID, buckets: Buckets) -> Iterable[tuple[_Listing, str, str]]:
    for prefix in layout.tenant_prefixes(tenant_id):
        yield "version", buckets.uploads, prefix
        yield "multipart", buckets.uploads, prefix
        yield "object", buckets.derived, prefix
    yield "object", buckets.chunks, layout.tenant_chunks_prefix(tenant_id)


async def _delete(storage: Storage, listing: _Listing, bucket: str, page: list[Listed]) -> None:
    if listing == "multipart":
        for each in page:
            await storage.abort_multipart(bucket=bucket, key=each.key, multipart_id=each.version_id)
    else:
        await storage.delete_versions(bucket=bucket, doomed=page)


async def _empty_tables(db: Database, tenant_id: UUID, progress: Report) -> None:
    """Remove all rows. Rows may still bring others forth (a deleted document leaves the order to look after its bytes,
    and the worker may be at work), so it goes on until it finds none.
    """
    async with db.transaction(_scope(tenant_id)) as tx:
        tables = {table.name: table for table in await store.tables(tx) if not table.name.startswith("audit.")}
        order = rules.emptying_order(tables, await store.references(tx))
    gone = 0
    for _ in range(_ROUNDS):
        before = gone
        try:
            for name in order:
                gone = await _empty_table(db, tenant_id, tables[name], gone, progress)
        except asyncpg.ForeignKeyViolationError:  # of a row that has come since its table was emptied
            continue
        if gone == before:
            return
    raise TenantError("rows keep coming; is something restoring them?")


async def _empty_table(db: Database, tenant_id: UUID, table: Table, gone: int, progress: Report) -> int:
    while True:
        async with db.transaction(_scope(tenant_id)) as tx:
            count = await store.erase_rows(tx, table, _ROWS_AT_ONCE)
            if count:
                await store.count(tx, {"rows": count, table.name.removeprefix("public."): count})
        gone += count
        progress("rows", gone, None)
        if not count:
            return gone


async def _erase_letters(db: Database, tenant_id: UUID) -> None:
    """Messages of the tenant's that died in a queue belong to no tenant's table; those that die later aren't kept."""
    async with db.transaction(_scope(tenant_id)) as tx:
        gone = await store.erase_letters(tx)
        await store.count(tx, {"rows": gone, "dead_letters": gone})


async def _erase_people(db: Database, tenant_id: UUID) -> None:
    async with db.transaction(_scope(tenant_id)) as tx:
        gone, kept = await store.erase_people(tx)
        await store.count(tx, {"people": gone, "people_kept": kept})


async def _erase_trail(db: Database, tenant_id: UUID, progress: Report) -> None:
    """Seal what is not sealed yet, so that the chain is whole, then let the entries go."""
    gone, waiting = 0, True
    while waiting:
        async with db.transaction(_scope(tenant_id)) as tx:
            while await store.seal(tx):
                pass
            waiting = await store.is_pending(tx)
        count = 1
        while count:
            async with db.transaction(_scope(tenant_id)) as tx:
                count = await store.erase_audit(tx, _ROWS_AT_ONCE)
                await store.count(tx, {"audit_entries": count})
            gone += count
            progress("audit entries", gone, None)


async def _certify(db: Database, tenant_id: UUID, signer: Signer, *, now: datetime) -> Erasure:
    async with db.transaction(_scope(tenant_id)) as tx:
        erasure = await store.erasure(tx)
        assert erasure is not None  # noqa: S101 - this erasing has begun it
        removed, head = erasure.removed, await store.head(tx)
        statement = {
            "format": FORMAT,
            "tenant_id": tenant_id,
            "name": erasure.name,
            "data_region": erasure.data_region,
            "began_at": f"{erasure.began_at:%Y-%m-%d %H:%M:%S} UTC",
            "erased_at": f"{now:%Y-%m-%d %H:%M:%S} UTC",
            "removed": {
                "rows": removed.get("rows", 0),
                "documents": removed.get("documents", 0),
                "objects": removed[_INVENTORY] + removed[_LATE],
                "object_bytes": removed["object_bytes"],
                "audit_entries": removed["audit_entries"],
            },
            "people": {"people": removed["people"], "people_kept": removed["people_kept"]},
            "audit": {"batches": head[0] if head else 0, "head": head[1].hex() if head else ""},
            "backups_gone_by": f"{now + BACKUPS_LIVE:%Y-%m-%d}",
        }
        await store.end(tx, now=now, certificate=signer.sign(msgspec.json.encode(statement)))
        certified = await store.erasure(tx)
    assert certified is not None  # noqa: S101 - the same row
    return certified


def _scope(tenant_id: UUID) -> Scope:
    return Scope(tenant_id, None, "operator:erase")
