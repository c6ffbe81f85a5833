from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.conftest import Clients, Company

from buildpeer.local.stack import Stack
from buildpeer.modules.audit import service
from buildpeer.platform import clock
from buildpeer.platform.db import Database
from buildpeer.platform.storage import Storage

BUCKET = "buildpeer-audit"


@pytest.fixture(scope="session")
def auditor_storage(stack: Stack, admin_url: str) -> Iterator[Storage]:
    """S3 as the verifier may use it."""
    clients = Clients(stack.env("auditor"))
    yield clients.storage
    clients.close()


@pytest.fixture(scope="session")
async def auditor_db(admin_url: str) -> AsyncIterator[Database]:
    """Postgres as the role that owns the trail."""
    database = await Database.connect(admin_url, size=2, role="buildpeer_audit")
    yield database
    await database.close()


class Trail:
    """The trail of one company: sealed, and verified."""

    def __init__(self, company: Company, worker_db: Database, worker_s3: Storage, db: Database, s3: Storage) -> None:
        self.company = company
        self._worker = (worker_db, worker_s3)
        self._auditor = (db, s3)

    async def seal(self) -> int:
        return await service.seal(*self._worker, bucket=BUCKET)

    async def findings(self, progress: Callable[[int, int], None] = lambda _done, _total: None) -> list[str]:
        db, s3 = self._auditor
        tenant_id: UUID = self.company.tenant_id
        seals = await service.published(s3, bucket=BUCKET, tenant_id=tenant_id)
        found = service.verify(db, seals, tenant_id=tenant_id, now=clock.now(), progress=progress)
        return [f"{f.what} {f.number} {f.problem}" async for f in found]


@pytest.fixture
def trail(company: Company, worker_db: Any, worker_clients: Clients, auditor_db: Any, auditor_storage: Any) -> Trail:
    return Trail(company, worker_db, worker_clients.storage, auditor_db, auditor_storage)
