"""One piece of a file, sent to its signed URL, and what S3's answers mean."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import httpx

from buildpeer.client.errors import ClientError, NetworkError, SilenceError, retry_after_s
from buildpeer.client.files import FileChangedError, Fingerprint, read_as
from buildpeer.client.line import Line
from buildpeer.client.ranges import Range
from buildpeer.client.shapes import Put

_BLOCK = 64 * 1024
_TICK_S = 0.5
_STILL_S, _LATE_S = 2.0, 5.0  # without a byte, or an answer: then it no longer counts among those that send
_BEHIND_S, _DEAD_S = 30.0, 120.0  # so long behind others, or without a byte at all: then it is given up
_UNKNOWN_S = 10.0  # that a piece may take on a link of which nothing is known yet
_HASTE = 4  # so much faster than usual a connection may have been since it was looked at
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

    @property
    def alive(self) -> bool:
        """Whether something has got on just now."""
        return self.still_s < 2 * _TICK_S

    @property
    def still_s(self) -> float:
        """For how long nothing has got on."""
        return time.monotonic() - self.moved_at


class Flight:
    """How one piece gets on. `sent` bytes have gone; `on_move` hears of them, `on_silence` when no more do.

    A connection that stands still is to blame only while others get on: when none does, the link is away, or what is
    under way waits in its queues, and to send it once more would only make that longer. `only`: there won't be another
    try beside this one, so it is also to blame when there is nothing else to send.
    """

    def __init__(
        self,
        line: Line,
        pulse: Pulse,
        size: int,
        *,
        expected_s: float,
        on_move: Callable[[int], None],
        grace: int = 1,
        only: bool = True,
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
        self._usual_s = expected_s or _UNKNOWN_S
        self._on_move = on_move
        self._grace = grace  # how many times as long as usual silence is borne
        self._only = only
        self._before = line.acked or 0
        self._told = False  # by the kernel, and when
        self._told_at = self.began
        self._behind_s = 0.0
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

    @property
    def perhaps_there(self) -> bool:
        """Whether all of a piece that was cut may have arrived, by what was confirmed and may have been since."""
        unseen_s = time.monotonic() - self._told_at if self._told else 0.0
        unseen = _HASTE * self._size * unseen_s / self._expected_s if self._expected_s else self._size
        return self.left >= self._size and self.sent + unseen >= self._size

    def begin_again(self) -> None:
        """Nothing of it has got anywhere, and it goes by a fresh connection."""
        self.left = self._before = 0

    def look(self) -> None:
        """See how far it has come."""
        acked = self.line.acked
        if acked is None and self._told:
            return  # the connection is closed; what it had confirmed is known
        if acked is not None:
            self._told, self._told_at = True, time.monotonic()
        if acked is not None and acked < self._before:
            self._before = 0  # another connection than the one that was there
        sent = self.left if acked is None else max(0, min(self.left, acked - self._before))
        if sent > self.sent:
            self.sent = sent
            self.moved_at = self._pulse.moved_at = time.monotonic()
            self.silent, self._behind_s = False, 0.0
            self._on_move(sent)

    @property
    def behind(self) -> bool:
        """Whether others have got on for as long as this one would have had to be heard of."""
        return self.silent and self._behind_s > self._patience_s

    @property
    def adrift(self) -> bool:
        """Whether nothing at all has got on for twice as long: queues let bytes through by spurts."""
        return self.silent and self._pulse.still_s > 2 * self._patience_s

    @property
    def unsent(self) -> bool:
        """Whether the kernel still holds bytes of it, as far as it tells."""
        self.look()
        return self._told and self.sent < self._size

    @property
    def _patience_s(self) -> float:
        if self.sent >= self._size:
            return max(_LATE_S, 2 * self._usual_s)
        return max(_STILL_S, 6 * self.line.round_trip_s, self._usual_s / 2)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.look()
        quiet_s = time.monotonic() - self.moved_at
        if quiet_s > _TICK_S and (self._pulse.alive or (self._only and not self._pulse.waiting)):
            self._behind_s += _TICK_S
        limit = max(_BEHIND_S, 20 * self.line.round_trip_s, 3 * self._usual_s) * self._grace
        if self._behind_s > limit or quiet_s > max(_DEAD_S, limit):
            self._deadline.reschedule(loop.time())
            return
        if quiet_s > self._patience_s:
            self.silent = True
            self.on_silence()
        self._timer = loop.call_later(_TICK_S, self._tick, loop)


async def deliver(flight: Flight, put: Put, url: str, what: Range, *, path: Path, wanted: Fingerprint) -> None:
    """Send these bytes of the file; when this returns, S3 holds them (now, or since an earlier try).

    Raises FileChangedError, UrlRefusedError, PartsLostError, StorageError, NetworkError, OSError.
    """
    headers = httpx.Headers(put.headers)
    headers.setdefault("Content-Length", str(what.length))  # S3 takes no chunked encoding
    try:
        async with flight.watched():
            try:
                response = await _send(flight, put.method, url, headers, _body(path, wanted, what, flight))
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if flight.line.fresh or flight.sent:
                    raise
                await flight.line.renew()  # it was closed while it lay idle: that is nobody's failure
                flight.begin_again()
                response = await _send(flight, put.method, url, headers, _body(path, wanted, what, flight))
    except TimeoutError as exc:
        raise SilenceError("silence") from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise NetworkError(str(exc) or type(exc).__name__) from exc
    if not response.is_success and flight.unsent:
        await flight.line.renew()  # what was refused goes no further
    _judge(response)


async def _send(
    flight: Flight, method: str, url: str, headers: httpx.Headers, body: AsyncGenerator[bytes]
) -> httpx.Response:
    async with contextlib.aclosing(body):
        return await flight.line.put(method, url, headers, body)


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
