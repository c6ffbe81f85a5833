"""How often somebody may try: counted in Valkey for all processes, and in this one alone while Valkey is away.

A fixed window per name and key. The headers are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from weakref import WeakValueDictionary

import redis.asyncio as valkey
import redis.exceptions
import structlog

from buildpeer.platform.errors import Problem
from buildpeer.platform.limits import Limit

_KEPT = 100_000
_log = structlog.get_logger()


class Throttle:
    """Counts tries. While Valkey is away each process counts for itself, with the same limits: N processes let through
    at most N times as many, and nobody is kept out because a cache is down.
    """

    def __init__(self, url: str) -> None:
        self._valkey = valkey.Redis.from_url(url, socket_connect_timeout=0.5, socket_timeout=0.5)
        self._local: dict[str, tuple[int, float]] = {}
        self._lines: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def close(self) -> None:
        """Close the connections."""
        await self._valkey.aclose()

    async def take(self, limit: Limit, key: str) -> None:
        """Count a try by `key`, which is kept as a hash only.

        Raises Problem too_many_tries, with the seconds to wait, once there were more than the limit allows.
        """
        count, left_s = await self._count(_name(limit, key), limit.window_s)
        if count > limit.quota:
            raise _too_many(limit, left_s)

    async def is_first(self, limit: Limit, key: str) -> bool:
        """Count a comer by `key`: whether it is one of the first in its window, of whom the limit has so many."""
        count, _ = await self._count(_name(limit, key), limit.window_s)
        return count <= limit.quota

    async def attempt(self, proof: Callable[[], Awaitable[bool]], *counted: tuple[Limit, str]) -> bool:
        """Ask for a proof, and count it, by each limit and key, if it fails.

        Raises Problem too_many_tries, whatever the proof, where as many as a limit allows have failed before, or fail
        meanwhile: so however many try at once, no more than that learn that they were wrong, and nobody who is right is
        kept out by others who are. In one process no more than that are looked at together; the others wait in line.
        """
        async with contextlib.AsyncExitStack() as lines:
            for limit, key in counted:
                await lines.enter_async_context(self._line(limit, key))
            await self._check(counted)
            proved = await proof()
            if proved:
                await self._check(counted)
            else:
                counts = [await self._count(_name(limit, key), limit.window_s) for limit, key in counted]
                for (limit, _), (count, left_s) in zip(counted, counts, strict=True):
                    if count > limit.quota:
                        raise _too_many(limit, left_s)
        return proved

    def _line(self, limit: Limit, key: str) -> asyncio.Semaphore:
        return self._lines.setdefault(_name(limit, key), asyncio.Semaphore(limit.quota))

    async def _check(self, counted: tuple[tuple[Limit, str], ...]) -> None:
        for limit, key in counted:
            count, left_s = await self._look(_name(limit, key))
            if count >= limit.quota:
                raise _too_many(limit, left_s)

    async def _look(self, name: str) -> tuple[int, int]:
        try:
            async with self._valkey.pipeline() as pipe:
                pipe.get(name)
                pipe.ttl(name)
                kept, kept_s = await pipe.execute()
        except (redis.exceptions.RedisError, OSError) as exc:
            _log.warning("throttle_is_local", error=str(exc))
            return self._look_here(name)
        return int(kept or 0), max(int(kept_s), 1)

    async def _count(self, name: str, window_s: int) -> tuple[int, int]:
        try:
            async with self._valkey.pipeline() as pipe:
                pipe.set(name, 0, ex=window_s, nx=True)
                pipe.incr(name)
                pipe.ttl(name)
                _, count, left_s = await pipe.execute()
            return int(count), max(int(left_s), 1)
        except (redis.exceptions.RedisError, OSError) as exc:
            _log.warning("throttle_is_local", error=str(exc))
            return self._count_here(name, window_s)

    def _count_here(self, name: str, window_s: int) -> tuple[int, int]:
        now = time.monotonic()
        if len(self._local) >= _KEPT:
            self._local = {key: kept for key, kept in self._local.items() if kept[1] > now}
        count, ends_at = self._local.get(name, (0, 0.0))
        if ends_at <= now:
            count, ends_at = 0, now + window_s
        self._local[name] = (count + 1, ends_at)
        return count + 1, max(round(ends_at - now), 1)

    def _look_here(self, name: str) -> tuple[int, int]:
        count, ends_at = self._local.get(name, (0, 0.0))
        left_s = ends_at - time.monotonic()
        return (count, max(round(left_s), 1)) if left_s > 0 else (0, 1)


def _too_many(limit: Limit, left_s: int) -> Problem:
    problem = Problem("too_many_tries", retry_after_s=left_s)
    problem.headers = headers(limit, left_s)
    return problem


def headers(limit: Limit, left_s: int) -> Mapping[str, str]:
    """What to tell somebody who has used a limit up."""
    return {
        "retry-after": str(left_s),
        "ratelimit-policy": f'"{limit.name}";q={limit.quota};w={limit.window_s}',
        "ratelimit": f'"{limit.name}";r=0;t={left_s}',
    }


def _name(limit: Limit, key: str) -> str:
    return f"buildpeer:tries:{limit.name}:{hashlib.sha256(key.encode()).hexdigest()}"
