"""One connection to S3: it can be opened before there is anything to send, and says how far the bytes have come."""

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
import urllib.request
from collections.abc import AsyncGenerator, Iterable
from typing import Any, cast
from urllib.parse import urlsplit

import httpcore
import httpx

_SEND_BUFFER = 128 * 1024  # the kernel's own would swallow a whole chunk, and go on sending what was given up
_CONNECT_S = 4.0
_KEPT_S = 60.0  # idle; most servers close sooner, which is seen before the connection is used again
_BYTES_ACKED = struct.Struct("=120xQ")  # in Linux's struct tcp_info, after tcpi_max_pacing_rate
_ROUND_TRIP = struct.Struct("=68xI")  # tcpi_rtt, in microseconds
_DROPPED = struct.pack("ii", 1, 0)  # struct linger: what is unsent when a connection is closed stays so
_OPTIONS: list[httpcore.SOCKET_OPTION] = [
    (socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER),
    (socket.SOL_SOCKET, socket.SO_LINGER, _DROPPED),
]


class Line:
    """One connection, kept alive between pieces; `renew` gives it up for another.

    `fresh`: the last request opened it, so it can't have been closed by the other side while it lay idle.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket: Any = None
        self._dialler = _Dialler()
        self._client = self._new()
        self.fresh = False

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

    def dial(self, origin: str) -> None:
        """Begin to connect to this origin (`https://host:port`); nothing is sent."""
        parts = urlsplit(origin)
        if parts.hostname and not _proxied():
            self._dialler.dial(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))

    async def put(self, method: str, url: str, headers: httpx.Headers, body: AsyncGenerator[bytes]) -> httpx.Response:
        """Send it."""
        self.fresh = False
        extensions = {"trace": self._trace}
        return await self._client.request(method, url, headers=headers, content=body, extensions=extensions)

    async def renew(self) -> None:
        """Close the connection; the next piece gets a fresh one."""
        old, self._client, self._socket = self._client, self._new(), None
        await old.aclose()

    async def close(self) -> None:
        """Close the connection for good."""
        await self._dialler.hang_up()
        await self._client.aclose()

    def _new(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        headers = {"User-Agent": "buildpeer-client"}
        if _proxied():
            return httpx.AsyncClient(timeout=timeout, headers=headers, verify=self._context)
        transport = _Transport(self._context, self._dialler)
        return httpx.AsyncClient(timeout=timeout, headers=headers, transport=transport)

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.fresh = True
            self._socket = info["return_value"].get_extra_info("socket")

    def _info(self) -> bytes:
        if self._socket is None or sys.platform != "linux":
            return b""
        try:
            told: bytes = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
        except (OSError, ValueError):  # closed meanwhile
            return b""
        return told if len(told) == 128 else b""


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own, over one connection that somebody else may have opened: httpx has no option for that."""

    def __init__(self, context: ssl.SSLContext, dialler: "_Dialler") -> None:
        super().__init__(verify=context)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=_KEPT_S,
            network_backend=dialler,
            socket_options=_OPTIONS,
        )


class _Dialler(httpcore.AsyncNetworkBackend):
    """Opens connections, one of them ahead of need."""

    def __init__(self) -> None:
        self._real: httpcore.AsyncNetworkBackend = cast(Any, httpcore.AnyIOBackend())
        self._ahead: asyncio.Task[httpcore.AsyncNetworkStream] | None = None
        self._place = ("", 0)

    def dial(self, host: str, port: int) -> None:
        connect = self._real.connect_tcp(host, port, timeout=_CONNECT_S, socket_options=_OPTIONS)
        self._ahead, self._place = asyncio.ensure_future(connect), (host, port)

    async def hang_up(self) -> None:
        """Close what was opened ahead and never used."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            with contextlib.suppress(asyncio.CancelledError, httpcore.NetworkError, httpcore.TimeoutException):
                await (await ahead).aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """The connection opened ahead, if it leads there and still stands, or a new one."""
        if self._ahead is not None and self._place == (host, port):
            ahead, self._ahead = self._ahead, None
            with contextlib.suppress(httpcore.NetworkError, httpcore.TimeoutException):
                stream = await ahead
                if not stream.get_extra_info("is_readable"):  # before anything was asked that is its end
                    return stream
                await stream.aclose()
        await self.hang_up()
        return await self._real.connect_tcp(host, port, timeout, local_address, socket_options)


def _proxied() -> bool:
    return bool(urllib.request.getproxies().keys() & {"http", "https", "all"})
