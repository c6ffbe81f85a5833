"""A site whose people ask and answer."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.conftest import Company

from buildpeer.modules.rfis import service
from buildpeer.modules.rfis.rules import Action, Assignee
from buildpeer.modules.rfis.service import NewRfi, RfiChanges, Shown, Wanted
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)  # noon of a Tuesday in Lima


class Site:
    """The tower: who builds it, and what they do with its RFIs at a time of the test's."""

    creator: Caller
    manager: Caller
    first: Caller
    second: Caller
    other: Caller

    def __init__(self, db: Database, company: Company, admin: asyncpg.Connection) -> None:
        self.db, self.company, self.admin, self.now = db, company, admin, NOON

    async def hire(self) -> "Site":
        self.manager = await self.company.hire("residente")
        self.creator, self.first, self.second, self.other = [await self.company.hire() for _ in range(4)]
        self.owner = await self.company.hire("owner")
        return self

    def new(self, **said: Any) -> NewRfi:
        asked = [Assignee(self.first.person_id), Assignee(self.second.person_id)]
        given = {"rfi_id": new_id(), "subject": "Losa", "question": "¿Qué espesor?", "assignees": asked}
        return NewRfi(**(given | {"manager_id": self.manager.person_id} | said))

    async def create(self, by: Caller | None = None, new: NewRfi | None = None, **said: Any) -> Shown:
        return await service.create(
            self.db,
            caller=by or self.creator,
            project_id=self.company.tower,
            new=new or self.new(**said),
            now=self.now,
        )

    async def act(self, by: Caller, rfi_id: UUID, action: Action, **said: Any) -> Shown:
        return await service.act(self.db, caller=by, rfi_id=rfi_id, wanted=Wanted(action=action, **said), now=self.now)

    async def reply(self, by: Caller, rfi_id: UUID, body: str = "20 cm", reply_id: UUID | None = None) -> Shown:
        return await service.reply(
            self.db, caller=by, rfi_id=rfi_id, reply_id=reply_id or new_id(), body=body, attached=[], now=self.now
        )

    async def change(self, by: Caller, rfi_id: UUID, version: int | None = None, **said: Any) -> Shown:
        return await service.change(
            self.db, caller=by, rfi_id=rfi_id, version=version, changes=RfiChanges(**said), now=self.now
        )

    async def opened(self, **said: Any) -> Shown:
        """An RFI that the assignees are asked."""
        rfi_id = (await self.create(**said)).rfi.rfi_id
        await self.act(self.creator, rfi_id, "submit")
        return await self.act(self.manager, rfi_id, "open")

    async def news(self, kind: str) -> list[dict[str, Any]]:
        """What was announced of that kind, oldest first."""
        rows = await self.admin.fetch(
            "select body::text from outbox where tenant_id = $1 and type = $2 order by outbox_id",
            *(self.company.tenant_id, kind),
        )
        return [json.loads(row[0]) for row in rows]

    def later(self, **passed: float) -> None:
        self.now += timedelta(**passed)

    async def rest_on(self, day: date) -> None:
        await self.admin.execute(
            "insert into calendar_days (tenant_id, project_id, day, works) values ($1, $2, $3, false)",
            *(self.company.tenant_id, self.company.tower, day),
        )


@pytest.fixture
async def site(db: Database, admin: asyncpg.Connection, found_company: Callable[[], Awaitable[Company]]) -> Site:
    return await Site(db, await found_company(), admin).hire()
