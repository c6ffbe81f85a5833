"""Somebody who sends a file in whatever pieces, and the house's own part of it: relay, assemble, worker, sweeper."""

import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from tests.conftest import Company, declare

from buildpeer import facts, wiring
from buildpeer.entrypoints.functions import assemble
from buildpeer.entrypoints.functions import aws as functions_aws
from buildpeer.local.stack import Stack
from buildpeer.modules.documents.handlers import on_upload_ready
from buildpeer.modules.uploads import handlers, service
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.storage import Storage

UPLOADS, CHUNKS = "buildpeer-uploads", "buildpeer-chunks"


class File:
    """One file of one sender, and what the api says of it."""

    def __init__(self, http: httpx.AsyncClient, company: Company, caller: Caller, content: bytes, kind: str) -> None:
        self.http, self.company, self.caller, self.content = http, company, caller, content
        self.item = declare(content, kind=kind)
        self.upload_id: str = self.item["upload_id"]
        self.opened: dict[str, Any] = {}

    async def open(self) -> "File":
        path = f"/v1/projects/{self.company.tower}/uploads"
        answer = await self.http.post(path, json={"uploads": [self.item]}, headers=self.bearer)
        [self.opened] = answer.json()["results"]
        return self

    @property
    def bearer(self) -> dict[str, str]:
        return self.company.bearer(self.caller)

    @property
    def key(self) -> str:
        return f"{self.opened['upload']['lane']}/{self.company.tenant_id}/{self.upload_id}"

    async def post(self, what: str, body: Any = None) -> httpx.Response:
        json = {} if body is None else {"json": body}
        return await self.http.post(f"/v1/uploads/{self.upload_id}/{what}", headers=self.bearer, **json)

    async def view(self) -> dict[str, Any]:
        return (await self.http.get(f"/v1/uploads/{self.upload_id}", headers=self.bearer)).json()

    async def sign(self, *places: tuple[int, int]) -> list[dict[str, Any]]:
        answer = await self.post("urls", {"chunks": [{"offset": at, "length": length} for at, length in places]})
        assert answer.status_code == 200, answer.text
        return answer.json()["chunks"]

    async def put(self, signed: dict[str, Any], content: bytes) -> int:
        """Send bytes by a signed URL, as a phone does."""
        return (await self.http.put(signed["url"], content=content, headers=signed["headers"])).status_code

    async def send(self, *places: tuple[int, int], content: bytes | None = None) -> list[int]:
        """Send chunks of the file, or of another content."""
        source = self.content if content is None else content
        return [
            await self.put(each["put"], source[each["offset"] : each["offset"] + each["length"]])
            for each in await self.sign(*places)
        ]

    async def send_parts(self, *numbers: int) -> list[int]:
        answer = await self.post("urls", {"parts": list(numbers)})
        size = 8 * 1024 * 1024
        return [
            await self.put(each["put"], self.content[(each["part_number"] - 1) * size :][:size])
            for each in answer.json()["parts"]
        ]

    async def send_whole(self) -> int:
        return await self.put((await self.post("urls")).json()["put"], self.content)


class House:
    """What happens behind the api, one step at a time and only when told to."""

    def __init__(self, stack: Stack, db: Database, storage: Storage, admin: asyncpg.Connection) -> None:
        self.s3 = stack.ministack.client("s3")
        self.db, self.storage, self.admin = db, storage, admin
        self.facts: list[tuple[facts.PartAssembled, str]] = []

    async def wanted(self, file: File) -> list[dict[str, Any]]:
        """What waits in the outbox to be assembled; it stays there."""
        rows = await self.admin.fetch(
            """select destination, body from outbox where tenant_id = $1 and destination like 'buildpeer-assemble-%'
            and body #>> '{detail,object,key}' = $2 order by outbox_id""",
            *(file.company.tenant_id, file.key),
        )
        assert {row["destination"] for row in rows} <= {f"buildpeer-assemble-{file.key.split('/')[0]}"}
        return [json.loads(row["body"]) for row in rows]

    async def forget_wanted(self, file: File) -> None:
        """As if the queue had lost everything."""
        await self.admin.execute(
            "delete from outbox where tenant_id = $1 and destination <> 'log'", file.company.tenant_id
        )

    def assemble(self, *messages: dict[str, Any]) -> list[facts.PartAssembled]:
        """Run the real handler on messages; returns what it announced."""
        told = len(self.facts)
        records = [{"messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(messages)]
        assert assemble.handler({"Records": records}, None) == {"batchItemFailures": []}
        return [fact for fact, _ in self.facts[told:]]

    async def tell(self, *announced: facts.PartAssembled) -> None:
        """Give the worker what assemble announced."""
        for fact in announced:
            event = facts.event(facts.SOURCE_ASSEMBLE, facts.PART_ASSEMBLED, fact)
            body = msgspec.json.encode({"id": "x", **event}).decode()
            await handlers.on_facts(self.db, self.storage, [body], on_ready=on_upload_ready, now=clock.now())

    async def join(self, file: File) -> list[str]:
        """Everything that was asked for, once through; returns the outcomes."""
        announced = self.assemble(*await self.wanted(file))
        await self.forget_wanted(file)
        await self.tell(*announced)
        return [fact.outcome for fact in announced]

    async def sweep(self, file: File, *, now: datetime | None = None, waiting: int = 0, **columns: Any) -> str:
        """Let the sweeper look at the file; returns its state after."""
        for name, value in {"check_at": clock.now() - timedelta(seconds=1), **columns}.items():
            await self.admin.execute(f"update uploads set {name} = $2 where upload_id = $1", file.upload_id, value)
        queues = frozenset(wiring.queue_name(step, lane) for step in wiring.STEPS for lane in wiring.LANES)

        async def backlog(_queue: str) -> int:
            return waiting

        now = now or clock.now()
        while await service.sweep(
            self.db, self.storage, queues=queues, backlog=backlog, on_ready=on_upload_ready, now=now
        ):
            pass
        return await self.state(file)

    async def state(self, file: File) -> str:
        return await self.admin.fetchval("select state from uploads where upload_id = $1", file.upload_id)

    def stored(self, file: File) -> bytes | None:
        """What S3 holds under the file's key."""
        try:
            return self.s3.get_object(Bucket=UPLOADS, Key=file.key)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None

    def chunks(self, file: File) -> list[str]:
        prefix = file.key.partition("/")[2] + "/"
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=CHUNKS, Prefix=prefix).get("Contents", [])]

    def multiparts(self, file: File) -> list[dict[str, Any]]:
        listed = self.s3.list_multipart_uploads(Bucket=UPLOADS).get("Uploads", [])
        return [each for each in listed if each["Key"] == file.key]


@pytest.fixture
def house(
    stack: Stack,
    worker_db: Database,
    worker_clients: Any,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    house = House(stack, worker_db, worker_clients.storage, admin)
    env = stack.env("functions")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, env[f"BUILDPEER_ASSEMBLE_{name}"])
    for name, value in env.items():
        if name.startswith("BUILDPEER_"):
            monkeypatch.setenv(name, value)
    functions_aws.aws.cache_clear()

    def announce(_self: Any, fact: facts.PartAssembled, *, source: str, detail_type: str) -> None:
        assert (source, detail_type) == (facts.SOURCE_ASSEMBLE, facts.PART_ASSEMBLED)
        house.facts.append((fact, source))

    monkeypatch.setattr(functions_aws.Aws, "announce", announce)
    yield house
    functions_aws.aws.cache_clear()


OpenFile = Callable[..., Awaitable[File]]


@pytest.fixture
def open_file(http: httpx.AsyncClient, company: Company) -> OpenFile:
    """Opens a file of somebody new."""

    async def opened(content: bytes, kind: str = "photo") -> File:
        return await File(http, company, await company.hire(), content, kind).open()

    return opened
