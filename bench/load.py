"""The load generator of `api`: a process of its own, so that what it costs is not counted as the api's.

Raw HTTP/1.1 over asyncio streams, since a full client costs as much as what it measures. It takes a job in JSON on
stdin and gives its numbers in JSON on stdout.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from buildpeer.platform.ids import new_id

WARM_UP_S = 1.0


class Member(msgspec.Struct):
    """Somebody who calls: a token, their project, and documents that they may see."""

    token: str
    project_id: str
    documents: list[str] = []


class Job(msgspec.Struct):
    """What to do: `singles` and `batches` open `uploads` files, `lists` and `details` read for `seconds` over
    `connections`, `steady` mixes both at `rate` requests a second, `streams` listens until stdin ends.
    """

    do: str
    port: int
    members: list[Member]
    connections: int = 32
    seconds: float = 10.0
    uploads: int = 2000
    batch: int = 500
    rate: float = 200.0
    seed: int = 3


class Connection:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """The status and the body of the answer."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"{head}{lines}\r\n".encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        return int(answer[9:12]), await self._reader.readexactly(int(length or 0))

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()


class Caller:
    """Asks the api as its members would, and doesn't take no for an answer."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.dice = random.Random(job.seed)

    async def open_uploads(self, connection: Connection, member: Member, count: int) -> None:
        """Announce new files."""
        body = msgspec.json.encode({"uploads": [declaration(self.dice) for _ in range(count)]})
        headers = _headers(member) | {"Content-Type": "application/json", "Content-Length": str(len(body))}
        status, answer = await connection.ask("POST", f"/v1/projects/{member.project_id}/uploads", headers, body)
        if status != 200 or answer.count(b'"opened"') != count:
            raise RuntimeError(f"{status}: {answer[:300]!r}")

    async def list_documents(self, connection: Connection, member: Member) -> None:
        """The first page of the member's documents."""
        await self._get(connection, member, f"/v1/documents?project_id={member.project_id}")

    async def read_document(self, connection: Connection, member: Member) -> None:
        """One of their documents."""
        await self._get(connection, member, f"/v1/documents/{self.dice.choice(member.documents)}")

    async def _get(self, connection: Connection, member: Member, target: str) -> None:
        status, answer = await connection.ask("GET", target, _headers(member))
        if status != 200:
            raise RuntimeError(f"{status}: {answer[:300]!r}")

    def anybody(self) -> Member:
        """One of the members."""
        return self.dice.choice(self.job.members)


def declaration(dice: random.Random) -> dict[str, object]:
    """What a phone says of a photo."""
    return {
        "upload_id": str(new_id()),
        "kind": "photo",
        "name": f"IMG_{dice.randrange(10**6)}.jpg",
        "size_bytes": 3_000_000,
        "content_type": "image/jpeg",
        "sha256": dice.randbytes(32).hex(),
    }


def _headers(member: Member) -> dict[str, str]:
    return {"Authorization": f"Bearer {member.token}"}


async def opening(job: Job, batch: int) -> dict[str, float]:
    """Open files as one phone does, call after call."""
    caller, connection, member = Caller(job), Connection(job.port), job.members[0]
    await caller.list_documents(connection, member)
    began = time.perf_counter()
    for done in range(0, job.uploads, batch):
        await caller.open_uploads(connection, member, min(batch, job.uploads - done))
    seconds = time.perf_counter() - began
    connection.close()
    return {"per_s": job.uploads / seconds}


async def reading(
    job: Job, read: Callable[[Connection, Member], Awaitable[None]], anybody: Callable[[], Member]
) -> Any:
    """Read as fast as the connections allow."""
    counted = 0
    begins = time.perf_counter() + min(WARM_UP_S, job.seconds / 4)
    ends = begins + job.seconds

    async def one() -> None:
        nonlocal counted
        connection = Connection(job.port)
        while (now := time.perf_counter()) < ends:
            await read(connection, anybody())
            counted += now >= begins
        connection.close()

    await asyncio.gather(*(one() for _ in range(job.connections)))
    return {"per_s": counted / (time.perf_counter() - begins)}


async def steady(job: Job) -> dict[str, float]:
    """Ask at a steady rate, however slowly the answers come; waiting counts from when a request was due."""
    caller = Caller(job)
    idle: list[Connection] = []
    late: list[float] = []

    async def one(due: float) -> None:
        connection = idle.pop() if idle else Connection(job.port)
        kind, member = caller.dice.random(), caller.anybody()
        if kind < 0.45:
            await caller.list_documents(connection, member)
        elif kind < 0.90:
            await caller.read_document(connection, member)
        else:
            await caller.open_uploads(connection, member, 1 if kind < 0.98 else 50)
        late.append(time.perf_counter() - due)
        idle.append(connection)

    begins = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(job.rate * job.seconds)):
            due = begins + number / job.rate
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            group.create_task(one(due))
    return {"p50_ms": share(late, 0.50) * 1e3, "p99_ms": share(late, 0.99) * 1e3, "connections": len(idle)}


async def streams(job: Job) -> dict[str, float]:
    """Follow the events on every connection until stdin ends; says "open" once all streams are."""
    delays: list[float] = []
    opened = [asyncio.Event() for _ in job.members]
    watching = [asyncio.create_task(_watch(job, *pair, delays)) for pair in zip(job.members, opened, strict=True)]
    await asyncio.gather(*(each.wait() for each in opened))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    return {"p50_ms": share(delays, 0.5) * 1e3, "p95_ms": share(delays, 0.95) * 1e3, "arrived": len(delays)}


async def _watch(job: Job, member: Member, opened: asyncio.Event, delays: list[float]) -> None:
    """From `occurred_at`, the begin of the transaction, to the arrival of the whole event."""
    reader, writer = await asyncio.open_connection("127.0.0.1", job.port, limit=2**20)
    lines = "".join(f"{name}: {value}\r\n" for name, value in _headers(member).items())
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{lines}\r\n".encode())
    rest = b""
    while data := await reader.read(2**16):
        now = time.time()
        *frames, rest = (rest + data).split(b"\n\n")
        for frame in frames:
            if b"retry:" in frame:
                opened.set()
            _, found, after = frame.partition(b'"occurred_at":"')
            if found:
                occurred = datetime.fromisoformat(after[: after.index(b'"')].decode())
                delays.append(now - occurred.timestamp())


def share(values: Sequence[float], part: float) -> float:
    """The value that `part` of them don't exceed; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


async def run(job: Job) -> dict[str, float]:
    """Do the job."""
    caller = Caller(job)
    match job.do:
        case "singles":
            return await opening(job, 1)
        case "batches":
            return await opening(job, job.batch)
        case "lists":
            return await reading(job, caller.list_documents, caller.anybody)
        case "details":
            return await reading(job, caller.read_document, caller.anybody)
        case "steady":
            return await steady(job)
        case "streams":
            return await streams(job)
        case _:
            raise ValueError(job.do)


if __name__ == "__main__":
    done = asyncio.run(run(msgspec.json.decode(sys.stdin.readline(), type=Job)))
    print(json.dumps(done), flush=True)
