"""Doors for operators."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, MediaType, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer import wiring
from buildpeer.modules.operations import service
from buildpeer.modules.operations.store import DeadLetter
from buildpeer.modules.uploads.facade import Quarantined
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    Cursor,
    DatabaseDep,
    Limit,
    NowDep,
    OperatorDep,
    Page,
    SettingsDep,
    page,
    read_cursor,
)

LETTERS = "buildpeer_dead_letters"
UNSEALED = "buildpeer_unsealed_tenants"


class Redrive(msgspec.Struct):
    """Of which queue to send every open letter again."""

    queue: str


class Ordered(msgspec.Struct):
    """How many letters the order was new to."""

    letters: int


class OperationsController(Controller):
    """For the people who run BuildPeer, by an operator's key."""

    path = "/v1/ops"
    tags = ("operations",)

    @get("/dead-letters", summary="Messages that nobody could work on")
    async def list_letters(
        self,
        *,
        operator: OperatorDep,
        db: DatabaseDep,
        queue: Annotated[str | None, QueryParameter(name="queue", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DeadLetter]:
        """Those that nothing was done about yet, the oldest first."""
        after = read_cursor(cursor, tuple[UUID])
        found = await service.list_letters(db, queue=queue, after=after[0] if after else None, limit=limit + 1)
        return page(list(found), limit, lambda letter: [letter.letter_id])

    @get("/dead-letters/{letter_id:uuid}", summary="One such message")
    async def get_letter(self, letter_id: FromPath[UUID], operator: OperatorDep, db: DatabaseDep) -> DeadLetter:
        """The message, and who has ordered what about it."""
        return await service.get_letter(db, letter_id=letter_id)

    @post("/dead-letters/{letter_id:uuid}/redrive", summary="Send it again", status_code=202)
    async def redrive(self, letter_id: FromPath[UUID], operator: OperatorDep, db: DatabaseDep) -> DeadLetter:
        """The worker sends it to where it died, within seconds; asking again changes nothing."""
        return await service.order(db, letter_id=letter_id, verb="redrive", by=operator)

    @delete("/dead-letters/{letter_id:uuid}", summary="Drop it", status_code=202)
    async def drop(self, letter_id: FromPath[UUID], operator: OperatorDep, db: DatabaseDep) -> DeadLetter:
        """It is worked on no more; its record stays."""
        return await service.order(db, letter_id=letter_id, verb="drop", by=operator)

    @post("/redrives", summary="Send a queue's dead letters again", status_code=202)
    async def redrive_all(self, data: JSONBody[Redrive], operator: OperatorDep, db: DatabaseDep) -> Ordered:
        """Every open letter of a queue."""
        return Ordered(await service.order_all(db, queue=data.queue, verb="redrive", by=operator))

    @get("/quarantine", summary="Files that are locked away")
    async def list_quarantined(
        self, *, operator: OperatorDep, db: DatabaseDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[Quarantined]:
        """Those in which a scanner has found something, of all companies, and who wants which released."""
        found = await service.list_quarantined(db, after=read_cursor(cursor, tuple[UUID, UUID]), limit=limit + 1)
        return page(list(found), limit, lambda each: [each.tenant_id, each.upload_id])

    @post(
        "/quarantine/{tenant_id:uuid}/{upload_id:uuid}/release",
        summary="Release it if it is clean by now",
        status_code=202,
    )
    async def release(
        self,
        *,
        tenant_id: FromPath[UUID],
        upload_id: FromPath[UUID],
        operator: OperatorDep,
        db: DatabaseDep,
        settings: SettingsDep,
    ) -> Quarantined:
        """It is scanned once more. Only a clean verdict on that very order releases it."""
        return await service.release(
            db, verdicts=settings.verdicts, tenant_id=tenant_id, upload_id=upload_id, by=operator
        )

    @get("/metrics", summary="What an alarm looks at", media_type=MediaType.TEXT)
    async def metrics(self, operator: OperatorDep, db: DatabaseDep, settings: SettingsDep, now: NowDep) -> str:
        """Open dead letters by queue, and companies whose audit trail waits for its seal for more than 5 minutes, as
        Prometheus reads them (text format 0.0.4).
        """
        open_letters = await service.count(db)
        topology = wiring.topology(uploads_bucket=settings.uploads_bucket, verdicts=settings.verdicts)
        lines = [
            *_gauge(LETTERS, "Messages that nobody could work on."),
            *(f'{LETTERS}{{queue="{q.name}"}} {open_letters.get(q.name, 0)}' for q in topology.queues),
            *_gauge(UNSEALED, "Companies whose audit trail waits too long for its seal."),
            f"{UNSEALED} {await service.count_unsealed(db, now=now)}",
        ]
        return "\n".join([*lines, ""])


def _gauge(name: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} gauge"]
