"""What went over the wire: every request of a client, and the signed URLs that it was given."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

PART = 8 * 1024 * 1024  # bytes
Piece = tuple[str, int, int]  # upload, offset and length


class Grant(msgspec.Struct, frozen=True):
    """A signed URL as the API gave it, and the bytes of which upload it takes (absolute, in bytes)."""

    upload_id: str
    kind: Literal["whole", "part", "chunk"]
    offset: int
    length: int
    url: str
    headers: dict[str, str]
    expires_at: datetime

    @property
    def piece(self) -> Piece:
        """What it takes, whichever URL it is."""
        return self.upload_id, self.offset, self.length

    @property
    def target(self) -> str:
        """Path and query, which the signature covers and the proxy keeps."""
        return target_of(self.url)


class Exchange(msgspec.Struct, kw_only=True):
    """One request and its answer; times in seconds of the loop's clock, header names in lower case.

    `status` is what the client was told (0: nothing), `stored` whether S3 holds the bytes after it, `fault` what was
    done to it, and `gone` that the client hung up. `body` is kept of the API's requests only.
    """

    door: Literal["api", "s3"]
    method: str
    target: str
    headers: dict[str, str]
    began: float
    grant: Grant | None = None
    body: bytes = b""
    received: int = 0
    status: int = 0
    stored: bool = False
    fault: str = ""
    retry_after_s: float = 0.0
    gone: bool = False
    ended: float = 0.0
    run: int = 1

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def is_put(self) -> bool:
        """Whether it brought bytes to a URL that was given."""
        return self.door == "s3" and self.method == "PUT" and self.grant is not None

    @property
    def acknowledged(self) -> bool:
        """Whether the client was told that S3 holds the bytes."""
        return self.stored and self.status in (200, 412)


class Traffic:
    """All that one scenario saw, in the order in which requests began."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.grants: dict[str, Grant] = {}
        self.connections = self.most_connections = 0
        self.run = 1  # counts up when the client is started again
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def puts(self) -> list[Exchange]:
        """Every request that brought bytes to S3."""
        return [x for x in self.exchanges if x.is_put]

    def calls(self, method: str, ending: str) -> list[Exchange]:
        """The requests of the API with this method and end of path."""
        return [x for x in self.exchanges if x.door == "api" and x.method == method and x.path.endswith(ending)]

    def begin(self, exchange: Exchange) -> None:
        """A request has come."""
        exchange.run = self.run
        self.exchanges.append(exchange)
        if exchange.door == "s3":
            self.connections += 1
            self.most_connections = max(self.most_connections, self.connections)
        self.look()

    def end(self, exchange: Exchange) -> None:
        """Nothing more will happen to it."""
        exchange.ended = asyncio.get_running_loop().time()
        self.connections -= exchange.door == "s3"
        self.look()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the traffic has made this true."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, waiting))
        self.look()
        await waiting

    def look(self) -> None:
        """Wake those whose condition has come true."""
        for condition, waiting in self._waiting:
            if not waiting.done() and condition():
                waiting.set_result(None)


def target_of(url: str) -> str:
    """Path and query of a URL."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def signed_in(path: str, answer: Any) -> Iterator[tuple[dict[str, Any], Grant]]:
    """Every signed URL in the API's answer to a call of `path`, with what it is for."""
    words = path.strip("/").split("/")
    if words[-1] == "uploads":
        for result in answer.get("results") or ():
            yield from _grants(result.get("put"), result["upload_id"], "whole", 0)
    elif words[-1] == "urls":
        yield from _grants(answer.get("put"), words[-2], "whole", 0)
        for part in answer.get("parts") or ():
            yield from _grants(part["put"], words[-2], "part", (part["part_number"] - 1) * PART)
        for chunk in answer.get("chunks") or ():
            yield from _grants(chunk["put"], words[-2], "chunk", chunk["offset"])


def _grants(
    put: dict[str, Any] | None, upload_id: str, kind: Literal["whole", "part", "chunk"], offset: int
) -> Iterator[tuple[dict[str, Any], Grant]]:
    if put:
        headers = {name.lower(): value for name, value in put["headers"].items()}
        until = datetime.fromisoformat(put["expires_at"])
        yield put, Grant(upload_id, kind, offset, int(headers["content-length"]), put["url"], headers, until)


def overlap(pieces: Sequence[Piece], other: Piece) -> int:
    """How many bytes of `other` lie in `pieces`, each byte counted once."""
    upload_id, offset, length = other
    covered, at = 0, offset
    for name, start, size in sorted(pieces):
        low, high = max(start, at), min(start + size, offset + length)
        if name == upload_id and low < high:
            covered, at = covered + high - low, high
    return covered
