"""How many requests somebody may make: counted in this process, and added up with the others' in Valkey once a second.

So a request costs no round trip, and all processes together let through at most what comes within a second more than
the limit. While Valkey is away each process counts for itself: N processes let through at most N times as many, and
nobody is kept out because a cache is down. Fixed windows, aligned to the clock; the headers are those of
draft-ietf-httpapi-ratelimit-headers-10.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec
import redis.asyncio as valkey
import redis.exceptions
import structlog

from buildpeer.platform.limits import Limit

EXCHANGE_EVERY_S = 1.0
_KEPT = 100_000
_log = structlog.get_logger()


class Taken(msgspec.Struct, frozen=True):
    """What one request came to: whether it is within the limit, how many are left, and in how many seconds all are."""

    limit: Limit
    allowed: bool
    left: int
    resets_in_s: int


class _Window(msgspec.Struct):
    number: int
    mine: int = 0
    told: int = 0  # how many of mine Valkey knows
    others: int = 0


class Rates:
    """Counts requests by limit and key; a limit with a quota of 0 is none."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._valkey = valkey.Redis.from_url(url, socket_connect_timeout=0.5, socket_timeout=0.5)
        self._clock = clock
        self._windows: dict[tuple[Limit, str], _Window] = {}
        self._away = False

    def take(self, limit: Limit, key: str) -> Taken:
        """Count a request by `key`; what is over the limit isn't counted, nor who comes when too many are counted."""
        taken = self.look(limit, key)
        if taken.allowed:
            self._window(limit, key).mine += 1
        return msgspec.structs.replace(taken, left=max(taken.left - 1, 0))

    def look(self, limit: Limit, key: str) -> Taken:
        """What a request by `key` would come to, without counting one."""
        window = self._window(limit, key)
        left = limit.quota - window.mine - window.others
        return Taken(limit, left > 0, max(left, 0), max(limit.window_s - int(self._clock() % limit.window_s), 1))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Exchange counts with the other processes meanwhile."""
        task = asyncio.create_task(self._exchange_for_ever())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._valkey.aclose()

    async def exchange(self) -> None:
        """Tell Valkey what was counted here, learn what the others have counted, and forget windows that are over."""
        now = self._clock()
        self._windows = {
            place: window for place, window in self._windows.items() if window.number >= int(now // place[0].window_s)
        }
        telling = [(place, window, window.mine) for place, window in self._windows.items() if window.mine > window.told]
        if not telling:
            return
        try:
            async with self._valkey.pipeline(transaction=False) as pipe:
                for (limit, key), window, mine in telling:
                    name = _name(limit, key, window.number)
                    pipe.incrby(name, mine - window.told)
                    pipe.expire(name, 2 * limit.window_s)
                sums = (await pipe.execute())[::2]
        except (redis.exceptions.RedisError, OSError) as exc:
            if not self._away:
                _log.warning("rates_are_local", error=str(exc))
            self._away = True
            return
        self._away = False
        for (_, window, mine), total in zip(telling, sums, strict=True):
            window.told, window.others = mine, max(int(total) - mine, 0)

    async def _exchange_for_ever(self) -> None:
        while True:
            await asyncio.sleep(EXCHANGE_EVERY_S)
            try:
                await self.exchange()
            except Exception:
                _log.exception("rates_not_exchanged")

    def _window(self, limit: Limit, key: str) -> _Window:
        number = int(self._clock() // limit.window_s)
        window = self._windows.get((limit, key))
        if window is None or window.number != number:
            window = _Window(number)
            if len(self._windows) < _KEPT or (limit, key) in self._windows:
                self._windows[limit, key] = window
        return window


def headers(taken: Sequence[Taken]) -> list[tuple[str, str]]:
    """What every answer tells: the limits, and how much of each is left."""
    policies = ", ".join(f'"{t.limit.name}";q={t.limit.quota};w={t.limit.window_s}' for t in taken)
    states = ", ".join(f'"{t.limit.name}";r={t.left};t={t.resets_in_s}' for t in taken)
    return [("ratelimit-policy", policies), ("ratelimit", states)] if taken else []


def _name(limit: Limit, key: str, number: int) -> str:
    return f"buildpeer:rate:{limit.name}:{number}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"
