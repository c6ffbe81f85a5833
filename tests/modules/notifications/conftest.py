"""What is told, made to happen at once and at times that the test chooses."""

import asyncio
import functools
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import Company

from buildpeer.modules.notifications import rules, service
from buildpeer.platform import clock
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.ids import new_id
from buildpeer.platform.messaging import LOG, Outgoing
from buildpeer.platform.outbound import Outbound

WEB = "https://obra.example"
_GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "notifications.md").read_text()
_EXAMPLE = re.findall(r"^```python\n(.*?)^```$", _GUIDE, re.MULTILINE | re.DOTALL)[0]


class Receiver:
    """Another system, on this machine: takes POSTs, answers as it is told to, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[], str] = lambda: "HTTP/1.1 204 No Content\r\n\r\n"
        self.hold = asyncio.Event()
        self.hold.set()
        self.at_once = self.most_at_once = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = [line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line]
            headers = {name.lower(): value for name, value in lines}
            body = await reader.readexactly(int(headers["content-length"]))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await self.hold.wait()
            self.at_once -= 1
            self.got.append((headers, body))
            writer.write(self.answer().encode())
            await writer.drain()
        finally:
            writer.close()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]


@pytest.fixture
async def receive() -> AsyncIterator[Callable[[], Any]]:
    """Starts receivers."""
    servers: list[Any] = []
    receivers: list[Receiver] = []

    async def start() -> Receiver:
        receiver = Receiver()
        server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        servers.append(server)
        receivers.append(receiver)
        return receiver

    yield start
    for receiver in receivers:
        receiver.hold.set()
    for server in servers:
        server.close()
        await server.wait_closed()


class Desk:
    """The worker's part of it, at a time of one's own."""

    def __init__(self, db: Database, settings: Any, wakeups: Any) -> None:
        self.db, self.now, self._wakeups = db, clock.now(), wakeups
        self.outbound = Outbound(may_connect=functools.partial(rules.may_connect, loopback=True), at_once=rules.AT_ONCE)
        self.cipher = Cipher(settings.webhook_key)
        self.deliveries = service.Deliveries(db, self.outbound, self.cipher, now=lambda: self.now)

    async def announce(self, company: Company, *events: tuple[str, dict[str, Any]], **place: Any) -> None:
        project = place.get("project", company.tower)
        async with self.db.transaction(Scope(company.tenant_id, None)) as tx:
            await tx.announce([Outgoing(LOG, type_, body, project, place.get("person")) for type_, body in events])

    async def hear(self) -> None:
        """Relay the log, and tell all that it holds, bursts as well if `later` has made them old enough."""
        while await service.relay_log(self.db, self._wakeups):
            pass
        while await service.hear(self.db, web_url=WEB, now=self.now):
            pass
        while await service.end_bursts(self.db, web_url=WEB, now=self.now):
            pass

    async def deliver(self) -> None:
        """Make what is due now, whatever comes of it."""
        await self.deliveries.settled()
        while await self.deliveries.begin():
            await self.deliveries.settled()

    def later(self, **time: float) -> datetime:
        self.now += timedelta(**time)
        return self.now


@pytest.fixture
async def desk(worker_db: Database, worker_clients: Any, wakeups: Any) -> AsyncIterator[Desk]:
    desk = Desk(worker_db, worker_clients.settings, wakeups)
    yield desk
    await desk.outbound.close()


async def subscribe(http: httpx.AsyncClient, company: Company, owner: Any, url: str, *types: str) -> tuple[UUID, str]:
    """An endpoint, and its secret."""
    endpoint_id = new_id()
    wanted = {"endpoint_id": str(endpoint_id), "url": url, "types": list(types)}
    answer = await http.post("/v1/webhooks", json=wanted, headers=company.bearer(owner))
    assert answer.status_code == 201, answer.text
    return endpoint_id, answer.json()["secret"]


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As the guide tells receivers to check it, on their clock of that moment."""
    room: dict[str, Any] = {}
    exec(_EXAMPLE, room)
    room["time"] = SimpleNamespace(time=lambda: int(headers["webhook-timestamp"]) + 299)
    return room["is_genuine"](secret, headers, body)
