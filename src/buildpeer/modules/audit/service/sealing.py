"""Closing entries into batches, and laying the seals in a second place."""

import asyncio
from uuid import UUID

import asyncpg
import msgspec
import structlog

from buildpeer.modules.audit import rules, store
from buildpeer.modules.audit.store import Head
from buildpeer.platform.db import Database
from buildpeer.platform.storage import Storage

TENANTS_AT_ONCE = 10_000  # all of them: the first must not keep the others waiting
SEALS_AT_ONCE = 200
_PUTS_AT_ONCE = 4
MONTHS_AHEAD = 3
ROWS_AT_ONCE = 20_000
_log = structlog.get_logger()


class Seal(msgspec.Struct, frozen=True):
    """A seal in the second place, as its key tells it."""

    number: int
    hash: bytes


async def seal(db: Database, storage: Storage, *, bucket: str) -> int:
    """Close what is in no batch yet, and publish the newest seals; returns how many batches were closed.

    Several workers may do it at once. A crash at any point costs nothing: what is not closed or published comes again.
    A tenant whose entries can't be closed, or whose seal can't be laid, holds no other up; the log tells of each, and
    `facade.behind` counts them.
    """
    closed = 0
    for tenant_id in await store.unsealed(db, TENANTS_AT_ONCE):
        try:
            while await store.seal(db, tenant_id):
                closed += 1
        except asyncpg.PostgresConnectionError:
            raise
        except (asyncpg.PostgresError, TimeoutError) as exc:
            _log.error("seal_failed", tenant_id=str(tenant_id), exc_info=exc)
    await _publish(db, storage, bucket)
    return closed


async def keep_partitions(db: Database) -> None:
    """Make the months ahead, and give months that already began in the default partition one of their own."""
    while await store.settle_rest(db, ROWS_AT_ONCE):
        pass
    await store.ensure_partitions(db, MONTHS_AHEAD)


async def published(storage: Storage, *, bucket: str, tenant_id: UUID) -> list[Seal]:
    """The seals of a tenant in the second place, by number."""
    listed = await storage.list_objects(bucket=bucket, prefix=_folder(tenant_id))
    return sorted((_read(each.key) for each in listed), key=lambda seal: seal.number)


async def _publish(db: Database, storage: Storage, bucket: str) -> None:
    at_work = asyncio.Semaphore(_PUTS_AT_ONCE)

    async def one(head: Head) -> None:
        async with at_work:
            try:
                await storage.put_once(
                    bucket=bucket, key=_key(head), content=_content(head), content_type="application/json"
                )
                await store.published(db, head)
            except Exception as exc:
                _log.error("seal_not_published", tenant_id=str(head.tenant_id), number=head.number, exc_info=exc)

    async with asyncio.TaskGroup() as group:
        for head in await store.unpublished(db, SEALS_AT_ONCE):
            group.create_task(one(head))


def _folder(tenant_id: UUID) -> str:
    return f"seals/{tenant_id}/"


def _key(head: Head) -> str:
    """Number and hash stand in the key, so that a listing tells all, and two seals of one number both show."""
    return f"{_folder(head.tenant_id)}{head.number:012d}-{head.hash.hex()}.json"


def _read(key: str) -> Seal:
    number, _, digest = key.rsplit("/", 1)[1].removesuffix(".json").partition("-")
    return Seal(int(number), bytes.fromhex(digest))


def _content(head: Head) -> bytes:
    return msgspec.json.encode(
        {
            "v": 1,
            "tenant_id": head.tenant_id,
            "number": head.number,
            "hash": head.hash.hex(),
            "sealed_at": rules.stamp(head.sealed_at),
        }
    )
