"""Whoever runs BuildPeer: the database as the operator's role, S3 by the operator's key."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.conftest import Clients

from buildpeer.local.stack import Stack
from buildpeer.modules.audit import service as audit
from buildpeer.modules.tenants.service import Buckets
from buildpeer.platform.db import Database
from buildpeer.platform.signing import Signer

BUCKETS = Buckets("buildpeer-uploads", "buildpeer-chunks", "buildpeer-derived")


def silent(_what: str, _done: int, _total: int | None) -> None:
    pass


@pytest.fixture(scope="session")
def operator(stack: Stack, admin_url: str) -> Iterator[Clients]:
    clients = Clients(stack.env("operator"))
    yield clients
    clients.close()


@pytest.fixture(scope="session")
def signer(operator: Clients) -> Signer:
    return Signer(operator.settings.audit_key)


@pytest.fixture(scope="session")
async def operator_db(admin_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(admin_url, size=2, role="buildpeer_operator")
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def snapshots_db(admin_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(admin_url, size=1, role="buildpeer_operator", snapshots=True)
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def auditor_db(admin_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(admin_url, size=2, role="buildpeer_audit")
    yield database
    await database.close()


async def verified(auditor_db: Database, storage: Any, tenant_id: Any, now: Any) -> list[str]:
    """What the verifier of the trail has to say."""
    seals = await audit.published(storage, bucket="buildpeer-audit", tenant_id=tenant_id)
    found = audit.verify(auditor_db, seals, tenant_id=tenant_id, now=now, progress=lambda _done, _total: None)
    return [f"{f.what} {f.number} {f.problem}" async for f in found]
