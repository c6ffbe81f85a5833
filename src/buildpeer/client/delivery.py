"""One piece of a file, sent to its signed URL, and what S3's answers mean."""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx

from buildpeer.client.errors import ClientError, NetworkError, retry_after_s
from buildpeer.client.files import FileChangedError, Fingerprint, read_as
from buildpeer.client.ranges import Range
from buildpeer.client.shapes import Put

_BLOCK = 64 * 1024
_SEND_BUFFER = 128 * 1024  # the kernel's own would swallow a whole chunk, and go on sending what was given up
_CONNECT_S = 4.0
_TICK_S = 0.5
_STILL_S, _LATE_S = 2.0, 5.0  # without a byte, or an answer: then it no longer counts among those that send
_SILENT_S = 10.0
_ANSWER_S = 30.0
_DEAD_S = 120.0
_BYTES_ACKED = struct.Struct("=120xQ")  # in Linux's struct tcp_info, after tcpi_max_pacing_rate
_ROUND_TRIP = struct.Struct("=68xI")  # tcpi_rtt, in microseconds
_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")
_CORRUPT = ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch")
_CUT_SHORT = ("RequestTimeout", "IncompleteBody")


class UrlRefusedError(ClientError):
    """The URL has expired or was altered: ask for another."""


class PartsLostError(ClientError):
    """S3 knows nothing (any more) of the upload that this part belongs to."""


class StorageError(ClientError):
    """S3 said no; `passing` if it may say yes later, after `retry_after_s` if it said so."""

    def __init__(self, status: int, code: str, after_s: float | None = None) -> None:
        super().__init__(f"S3 {status} {code}".strip())
        self.passing = status >= 500 or status in (408, 409, 429) or code in _CUT_SHORT
        self.retry_after_s = after_s


class Pulse:
    """Whether the link as a whole lives: `moved_at` is when any connection last got on (monotonic seconds).

    `waiting` says that more is to be sent than is on its way.
    """

    def __init__(self) -> None:
        self.moved_at = 0.0
        self.waiting = False


class Line:
    """One connection to S3, kept alive between pieces; `renew` gives it up for another."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket: Any = None
        self._client = self._new()

    @property
    def acked(self) -> int | None:
        """Bytes that the other side has confirmed since the connection began; None where nobody tells."""
        told = self._info()
        return int(_BYTES_ACKED.unpack_from(told)[0]) if told else None

    @property
    def round_trip_s(self) -> float:
        """As the kernel measured it; 0 where nobody tells."""
        told = self._info()
        return _ROUND_TRIP.unpack_from(told)[0] / 1e6 if told else 0.0

    async def put(self, method: str, url: str, headers: httpx.Headers, body: AsyncGenerator[bytes]) -> httpx.Response:
        """Send it."""
        extensions = {"trace": self._trace}
        return await self._client.request(method, url, headers=headers, content=body, extensions=extensions)

    async def renew(self) -> None:
        """Close the connection; the next piece gets a fresh one."""
        old, self._client, self._socket = self._client, self._new(), None
        await old.aclose()

    async def close(self) -> None:
        """Close the connection for good."""
        await self._client.aclose()

    def _new(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        headers = {"User-Agent": "buildpeer-client"}
        if urllib.request.getproxies().keys() & {"http", "https", "all"}:
            return httpx.AsyncClient(timeout=timeout, headers=headers, verify=self._context)
        transport = httpx.AsyncHTTPTransport(
            verify=self._context,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=20.0),
            socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)],
        )
        return httpx.AsyncClient(timeout=timeout, headers=headers, transport=transport)

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    def _info(self) -> bytes:
        if self._socket is None or sys.platform != "linux":
            return b""
        try:
            told: bytes = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
        except (OSError, ValueError):  # closed meanwhile
            return b""
        return told if len(told) == 128 else b""


class Flight:
    """How one piece gets on. `sent` bytes have gone; `on_move` hears of them, `on_silence` when no more do."""

    def __init__(
        self, line: Line, pulse: Pulse, size: int, *, expected_s: float, on_move: Callable[[int], None]
    ) -> None:
        self.line = line
        self.sent = 0
        self.left = 0  # handed to the kernel, at least
        self.began = self.moved_at = time.monotonic()
        self.silent = False
        self.on_silence: Callable[[], None] = lambda: None
        self._pulse = pulse
        self._size = size
        self._expected_s = expected_s
        self._on_move = on_move
        self._before = line.acked or 0
        self._silent_s = 0.0
        self._deadline = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Raise TimeoutError when nothing has moved for too long, though the link as a whole lives."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TICK_S, self._tick, loop)
        try:
            async with self._deadline:
                yield
        finally:
            self._timer.cancel()

    def look(self) -> None:
        """See how far it has come."""
        acked = self.line.acked
        if acked is not None and acked < self._before:
            self._before = 0  # another connection than the one that was there
        sent = self.left if acked is None else max(0, min(self.left, acked - self._before))
        if sent > self.sent:
            self.sent = sent
            self.moved_at = self._pulse.moved_at = time.monotonic()
            self.silent, self._silent_s = False, 0.0
            self._on_move(sent)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.look()
        now = time.monotonic()
        answering = self.sent >= self._size
        quiet_s = now - self.moved_at
        if not self._pulse.waiting or now - self._pulse.moved_at < 2 * _TICK_S:
            self._silent_s += _TICK_S * (quiet_s > _TICK_S)
        if answering:
            limit = max(_ANSWER_S, 3 * self._expected_s)
        else:
            limit = max(_SILENT_S, 20 * self.line.round_trip_s) * (3 if self._pulse.waiting else 1)
        if self._silent_s > limit or quiet_s > max(_DEAD_S, limit):
            self._deadline.reschedule(loop.time())
            return
        late_s = max(_LATE_S, 2 * self._expected_s) if answering else max(_STILL_S, 6 * self.line.round_trip_s)
        if not self.silent and quiet_s > late_s:
            self.silent = True
            self.on_silence()
        self._timer = loop.call_later(_TICK_S, self._tick, loop)


async def deliver(flight: Flight, put: Put, url: str, what: Range, *, path: Path, wanted: Fingerprint) -> None:
    """Send these bytes of the file; when this returns, S3 holds them (now, or since an earlier try).

    Raises FileChangedError, UrlRefusedError, PartsLostError, StorageError, NetworkError, OSError.
    """
    headers = httpx.Headers(put.headers)
    headers.setdefault("Content-Length", str(what.length))  # S3 takes no chunked encoding
    body = _body(path, wanted, what, flight)
    try:
        async with flight.watched():
            response = await flight.line.put(put.method, url, headers, body)
    except TimeoutError as exc:
        raise NetworkError("silence") from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise NetworkError(str(exc) or type(exc).__name__) from exc
    finally:
        await body.aclose()
    _judge(response)


async def _body(path: Path, wanted: Fingerprint, what: Range, flight: Flight) -> AsyncGenerator[bytes]:
    for start in range(0, what.length, _BLOCK):
        size = min(_BLOCK, what.length - start)
        block = await asyncio.to_thread(read_as, path, wanted, what.offset + start, size)
        yield block
        flight.left = start + size
        flight.look()


def _judge(response: httpx.Response) -> None:
    status = response.status_code
    if status == 412:  # If-None-Match: the key is written, the answer to an earlier try was lost
        return
    if response.is_success:
        if "ETag" not in response.headers:
            raise NetworkError(f"{status}, but not S3's answer")  # a captive portal is glad of any request
        return
    found = _CODE.search(response.content)
    code = found[1].decode() if found else ""
    if code in _CORRUPT:
        raise FileChangedError(code)
    if code == "NoSuchUpload":
        raise PartsLostError(code)
    if status == 403:
        raise UrlRefusedError(code)
    if not code and status < 500 and status not in (408, 429):
        raise NetworkError(f"{status}, but not S3's answer")
    raise StorageError(status, code, retry_after_s(response.headers.get("Retry-After")))
