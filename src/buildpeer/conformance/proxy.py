"""Two doors on loopback: one before the API, one before S3, through which a client's every byte goes.

Signed URLs in the API's answers are rewritten to the S3 door, which sends each request on to where it was signed for,
with the Host that was signed. Bodies are streamed. One connection carries one request.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from buildpeer.conformance.traffic import Exchange, Grant, Traffic, signed_in

_BLOCK = 32 * 1024
_HOP = frozenset(("connection", "keep-alive", "expect", "host", "accept-encoding", "proxy-connection"))
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close with RST


class Answer(msgspec.Struct, frozen=True):
    """Take the body, send nothing on, and answer this."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


class Cut(msgspec.Struct, frozen=True):
    """Reset the connection when this share of the body has come."""

    after: float


class Lost(msgspec.Struct, frozen=True):
    """Do everything, then reset the connection in place of the answer."""


class Silence(msgspec.Struct, frozen=True):
    """When this share of the body has come, do something, take nothing for some seconds, then go on."""

    after: float
    seconds: float
    doing: Callable[[], None] = lambda: None


class Link:
    """A thin link that all share: `rate` in bytes a second."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def carry(self, size: int) -> None:
        """Wait as long as the link needs for so many bytes."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size / self._rate
        await asyncio.sleep(self._free_at - now)


Fault = Answer | Cut | Lost | Silence | Link
Judge = Callable[[Exchange], Fault | None]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class SeveredError(Exception):
    """This connection ends with a reset."""


class Door:
    """One loopback port; it keeps its number when it is closed and opened again."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_BLOCK * 4)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and reset those that there are."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (SeveredError, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        finally:
            writer.close()


class Proxy:
    """The doors before the API at `api_url` and before S3; `judge` says what befalls a request."""

    def __init__(self, api_url: str, traffic: Traffic, judge: Judge) -> None:
        self._api_url = api_url
        self._traffic = traffic
        self._judge = judge
        self.api = Door(lambda reader, writer: self._serve("api", reader, writer))
        self.s3 = Door(lambda reader, writer: self._serve("s3", reader, writer))

    async def __aenter__(self) -> "Proxy":
        await self.api.open()
        await self.s3.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()
        await self.s3.close()

    @property
    def url(self) -> str:
        """Where a client finds the API."""
        return f"http://127.0.0.1:{self.api.port}{urlsplit(self._api_url).path.rstrip('/')}"

    async def _serve(
        self, door: Literal["api", "s3"], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            first, headers = await _read_head(reader)
        except asyncio.IncompleteReadError:
            return  # a connection that was opened ahead and not needed
        method, target, _ = first.split(" ", 2)
        now = asyncio.get_running_loop().time()
        x = Exchange(door=door, method=method, target=target, headers=headers, began=now)
        x.grant = self._traffic.grants.get(target) if door == "s3" else None
        self._traffic.begin(x)
        try:
            await self._exchange(x, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            x.gone = True
            raise
        finally:
            self._traffic.end(x)

    async def _exchange(self, x: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if x.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if x.door == "s3" and (x.grant is None or "transfer-encoding" in x.headers):
            await _reply(x, writer, Answer(403, body=b"<Error><Code>AccessDenied</Code></Error>"))
            return
        if x.door == "api":
            x.body = b"".join([block async for block in _blocks(reader, x.headers)])
            x.received = len(x.body)
        fault = self._judge(x)
        x.fault = "" if fault is None or isinstance(fault, Link) else type(fault).__name__.lower()
        if isinstance(fault, Answer):
            async with contextlib.aclosing(self._body(x, reader, fault)) as blocks:
                async for _ in blocks:
                    pass
            await _reply(x, writer, fault)
            return
        await self._forward(x, reader, writer, fault)

    async def _forward(
        self, x: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
    ) -> None:
        place = urlsplit(x.grant.url if x.grant else self._api_url)
        headers = {name: value for name, value in x.headers.items() if name not in _HOP}
        headers |= {"host": place.netloc, "connection": "close", "accept-encoding": "identity"}
        if x.door == "api":
            headers.pop("transfer-encoding", None)
            headers |= {"content-length": str(len(x.body))} if x.body else {}
        port = place.port or (443 if place.scheme == "https" else 80)
        above, up = await asyncio.open_connection(place.hostname, port, ssl=place.scheme == "https" or None)
        try:
            up.write(_head(f"{x.method} {x.target} HTTP/1.1", headers))
            async with contextlib.aclosing(self._body(x, reader, fault)) as blocks:
                async for block in blocks:
                    with contextlib.suppress(ConnectionError):  # it may have answered early; its answer counts
                        up.write(block)
                        await up.drain()
            await self._answer(x, above, writer, lost=isinstance(fault, Lost))
        finally:
            up.transport.abort()

    async def _body(self, x: Exchange, reader: asyncio.StreamReader, fault: Fault | None) -> AsyncGenerator[bytes]:
        """The request's body as it comes, with what the fault does to it on its way."""
        if x.door == "api":
            if isinstance(fault, Cut):
                raise SeveredError
            yield x.body
            return
        size = int(x.headers.get("content-length", 0))
        turn = fault.after * size if isinstance(fault, Cut | Silence) else size + 1.0
        async for block in _blocks(reader, x.headers):
            x.received += len(block)
            if isinstance(fault, Link):
                await fault.carry(len(block))
            if x.received >= turn:
                turn = size + 1.0
                if isinstance(fault, Cut):
                    raise SeveredError
                if isinstance(fault, Silence):
                    fault.doing()
                    await asyncio.sleep(fault.seconds)
            self._traffic.look()
            yield block

    async def _answer(
        self, x: Exchange, above: asyncio.StreamReader, writer: asyncio.StreamWriter, *, lost: bool
    ) -> None:
        first, headers = await _read_head(above)
        status = int(first.split(" ")[1])
        x.stored = x.is_put and (status == 412 or (status == 200 and "etag" in headers))
        if lost:
            async for _ in _blocks(above, headers, to_the_end=True):
                pass
            raise SeveredError
        x.status = status
        if x.door == "api" and x.method == "POST" and "json" in headers.get("content-type", "") and status == 200:
            body = b"".join([block async for block in _blocks(above, headers, to_the_end=True)])
            headers.pop("transfer-encoding", None)
            body = self._rewritten(x, body)
            writer.write(_head(first, headers | {"content-length": str(len(body)), "connection": "close"}) + body)
            await writer.drain()
            return
        writer.write(_head(first, headers | {"connection": "close"}))
        left = int(headers["content-length"]) if "content-length" in headers else None
        while left != 0 and (block := await above.read(_BLOCK)):  # as it stands, chunked or not
            left = None if left is None else left - len(block)
            writer.write(block)
            await writer.drain()

    def _rewritten(self, x: Exchange, body: bytes) -> bytes:
        answer = msgspec.json.decode(body)
        for put, grant in signed_in(x.path, answer):
            self._give(grant)
            put["url"] = self._here(grant.url)
            if put.get("accelerated_url"):
                self._give(msgspec.structs.replace(grant, url=put["accelerated_url"]))
                put["accelerated_url"] = self._here(put["accelerated_url"])
        return msgspec.json.encode(answer)

    def _give(self, grant: Grant) -> None:
        self._traffic.grants[grant.target] = grant

    def _here(self, url: str) -> str:
        parts = urlsplit(url)
        return urlunsplit(("http", f"127.0.0.1:{self.s3.port}", parts.path, parts.query, ""))


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first, {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}


def _head(first: str, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{first}\r\n{lines}\r\n".encode("latin-1")


async def _blocks(
    reader: asyncio.StreamReader, headers: dict[str, str], *, to_the_end: bool = False
) -> AsyncGenerator[bytes]:
    """A message's body (RFC 9112 §6); `to_the_end`: without a length it goes on until the connection ends."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        left = int(headers["content-length"])
        while left:
            block = await reader.read(min(left, _BLOCK))
            if not block:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(block)
            yield block
    elif to_the_end:
        while block := await reader.read(_BLOCK):
            yield block


async def _reply(x: Exchange, writer: asyncio.StreamWriter, answer: Answer) -> None:
    x.status = answer.status
    x.retry_after_s = float(answer.headers.get("Retry-After", 0))
    headers: dict[str, Any] = answer.headers | {"Content-Length": str(len(answer.body)), "Connection": "close"}
    writer.write(_head(f"HTTP/1.1 {answer.status} -", headers) + answer.body)
    await writer.drain()
