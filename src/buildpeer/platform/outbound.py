"""POST to addresses that customers have given us, which may point anywhere, inside as well.

Names are resolved here, every address is judged, and the connection goes to one that was judged: a name that answers
differently the next time gains nothing (OWASP, Server-Side Request Forgery Prevention). No redirects, no proxies, no
cookies; little time, and little of the answer.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import httpcore
import msgspec

TIMEOUT_S = 10.0
MOST_ANSWER = 64 * 1024  # bytes that are read
ANSWER_KEPT = 1000  # characters that are kept


class Answer(msgspec.Struct, frozen=True):
    """How a POST ended: a `status` with the beginning of the answer, or without one an `error`."""

    status: int | None
    text: str
    error: str | None
    duration_ms: int


class AddressRefused(Exception):  # noqa: N818
    """The name leads to an address that nothing may be sent to."""


class Outbound:
    """Sends to addresses for which `may_connect` is true; at most `at_once` at a time."""

    def __init__(
        self, *, may_connect: Callable[[str], bool], at_once: int, trusted: ssl.SSLContext | None = None
    ) -> None:
        self._lookups = ThreadPoolExecutor(3 * at_once, "lookup")  # one that is given up goes on for a while
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            max_connections=at_once,
            max_keepalive_connections=0,
            network_backend=_Judging(may_connect, self._lookups),
        )

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, and wait TIMEOUT_S for the answer; raises nothing but being cancelled."""
        began = time.monotonic()
        status, text, error = None, "", None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, text = await self._post(url, headers, body)
        except TimeoutError:
            error = "timeout"
        except AddressRefused:
            error = "address_refused"
        except socket.gaierror:
            error = "name_not_found"
        except httpcore.ConnectError as exc:
            error = "tls_failed" if isinstance(exc.__cause__, ssl.SSLError) else "connection_refused"
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError):
            error = "connection_broke"
        return Answer(status, text, error, round((time.monotonic() - began) * 1000))

    async def close(self) -> None:
        """Let go of all connections."""
        self._lookups.shutdown(wait=False, cancel_futures=True)
        await self._pool.aclose()

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        found = bytearray()
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with self._pool.stream("POST", url, headers=sent, content=body) as response:
            async for chunk in response.aiter_stream():
                found += chunk[: MOST_ANSWER - len(found)]
                if len(found) >= MOST_ANSWER:
                    break
        text = found.decode(errors="replace").replace("\x00", "�")
        return response.status, text[:ANSWER_KEPT]


class _Judging(httpcore.AsyncNetworkBackend):
    def __init__(self, may_connect: Callable[[str], bool], lookups: ThreadPoolExecutor) -> None:
        self._real: httpcore.AsyncNetworkBackend = cast(Any, httpcore.AnyIOBackend())
        self._may_connect = may_connect
        self._lookups = lookups

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._lookups, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if not addresses or not all(self._may_connect(address) for address in addresses):
            raise AddressRefused
        for address in addresses[:-1]:
            try:
                return await self._real.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await self._real.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
