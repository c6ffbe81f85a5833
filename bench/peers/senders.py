"""How others bring a file to S3: a whole signed PUT, signed parts of 5 MiB, tus. Each tries as long as ours does.

Their patience is that of `buildpeer push`: eight refusals in a row without progress, or a quarter of an hour in which
the network let nothing through.
"""

import asyncio
import random
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

CONNECTIONS = 8
PART = 5 * 1024 * 1024
_FAILURES, _FIRST_S, _LONGEST_S = 8, 1.0, 60.0
_AWAY_S, _PROBE_S = 900.0, 4.0
_TIMEOUT = httpx.Timeout(30.0, connect=4.0, pool=None)
_BLOCK = 64 * 1024
# as ours: what the kernel holds back would look sent, and the answer late
_SMALL_BUFFER = (socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
_TUS = {"Tus-Resumable": "1.0.0"}


class Piece(msgspec.Struct, frozen=True):
    """What goes in one request: `length` bytes of a file from `start` on."""

    path: Path
    start: int
    length: int


class GaveUpError(Exception):
    """Nothing has got through for the whole patience."""


class Refused(Exception):  # noqa: N818  (an answer, not a mistake)
    """The other side said no."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Patience:
    """Counts failures in a row."""

    def __init__(self) -> None:
        self.progress()

    def progress(self) -> None:
        """Something got through."""
        self._failures = self._refusals = 0
        self._progress_at = time.monotonic()

    async def failed(self, error: Exception) -> None:
        """Pause before the next try, longer each time; raises GaveUpError when it was the last."""
        refused = isinstance(error, Refused)
        self._failures += 1
        self._refusals += refused
        if self._refusals >= _FAILURES or time.monotonic() - self._progress_at > _AWAY_S:
            raise GaveUpError(str(error) or type(error).__name__) from error
        if isinstance(error, Refused) and error.status == 403 and self._failures == 1:
            return  # a fresh URL may do at once
        longest_s = _LONGEST_S if refused else _PROBE_S
        await asyncio.sleep(min(longest_s, _FIRST_S * 2.0 ** min(self._failures - 1, 16)) * random.uniform(0.5, 1))


async def send(how: str, api: str, file: Piece) -> str:
    """Bring the whole file to S3 as `how` (put, multipart or tus) does; the key it has there. Raises GaveUpError."""
    ways = {"put": _put, "multipart": _multipart, "tus": _tus}
    limits = httpx.Limits(max_connections=CONNECTIONS)
    transport = httpx.AsyncHTTPTransport(limits=limits, socket_options=[_SMALL_BUFFER])
    async with httpx.AsyncClient(timeout=_TIMEOUT, transport=transport) as http:
        return await ways[how](http, api, file)


async def _put(http: httpx.AsyncClient, api: str, file: Piece) -> str:
    name = file.path.name

    async def once() -> None:
        signed = await _asked(http, f"{api}/puts", {"name": name, "size": file.length})
        await _send(http, "PUT", signed["url"], file)

    await _patiently(once)
    return name


async def _multipart(http: httpx.AsyncClient, api: str, file: Piece) -> str:
    if file.length < PART:
        return await _put(http, api, file)
    name, size = file.path.name, file.length
    pieces = {
        str(number): Piece(file.path, start, min(PART, size - start))
        for number, start in enumerate(range(0, size, PART), 1)
    }
    begun = await _patiently(lambda: _asked(http, f"{api}/multiparts", {"name": name, "parts": len(pieces)}))
    urls: dict[str, str] = begun["urls"]

    async def part(number: str) -> str:
        async def once() -> str:
            try:
                return (await _send(http, "PUT", urls[number], pieces[number])).headers["etag"]
            except Refused as error:
                if error.status == 403:
                    signed = await _asked(http, f"{api}/parts", begun | {"parts": [int(number)], "urls": {}})
                    urls.update(signed["urls"])
                raise

        return await _patiently(once)

    etags = await asyncio.gather(*map(part, pieces))
    await _patiently(lambda: _asked(http, f"{api}/completions", begun | {"etags": etags, "urls": {}}))
    return name


async def _tus(http: httpx.AsyncClient, api: str, file: Piece) -> str:
    """https://tus.io/protocols/resumable-upload: create, PATCH from the offset, after a fault HEAD for the offset."""
    size = file.length

    async def create() -> str:
        made = await http.post(f"{api}/files", headers=_TUS | {"Upload-Length": str(size)})
        return str(httpx.URL(api).join(_checked(made).headers["location"]))

    url = await _patiently(create)
    patience, offset, unsure = Patience(), 0, False
    while offset < size:
        try:
            if unsure:
                found = int(_checked(await http.head(url, headers=_TUS)).headers["upload-offset"])
                if found > offset:
                    patience.progress()
                offset, unsure = found, False
                continue
            headers = _TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            answer = await _send(http, "PATCH", url, Piece(file.path, offset, size - offset), headers)
            offset = int(answer.headers["upload-offset"])
        except (httpx.HTTPError, Refused) as error:
            unsure = True
            await patience.failed(error)
    return url.rsplit("/", 1)[1]


async def _patiently(attempt: Callable[[], Awaitable[Any]]) -> Any:
    patience = Patience()
    while True:
        try:
            return await attempt()
        except (httpx.HTTPError, Refused) as error:
            await patience.failed(error)


async def _asked(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Any:
    return _checked(await http.post(url, json=body)).json()


async def _send(
    http: httpx.AsyncClient, method: str, url: str, piece: Piece, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    async def body() -> AsyncGenerator[bytes]:
        with piece.path.open("rb") as file:
            file.seek(piece.start)
            for sent in range(0, piece.length, _BLOCK):
                yield file.read(min(_BLOCK, piece.length - sent))

    content = body()
    try:
        named = {"Content-Length": str(piece.length)} | dict(headers or {})
        return _checked(await http.request(method, url, content=content, headers=named))
    finally:
        await content.aclose()


def _checked(response: httpx.Response) -> httpx.Response:
    if not response.is_success:
        raise Refused(response.status_code)
    return response
