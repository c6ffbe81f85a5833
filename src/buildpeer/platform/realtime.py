"""Waking open screens: a Valkey channel says in which tenant something new stands in the event log.

A wake-up carries no content and may be lost: whoever wakes reads the log under its own row-level security, and looks
now and then unasked.
"""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Generator, Iterable
from uuid import UUID

import redis.asyncio as valkey
import redis.exceptions
import structlog

_CHANNEL = "buildpeer:news"
_log = structlog.get_logger()


class Wakeups:
    """One subscription per process, shared by every stream in it."""

    def __init__(self, url: str) -> None:
        self._subscriber = valkey.Redis.from_url(url, socket_connect_timeout=2, health_check_interval=15)
        self._publisher = valkey.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
        self._waiting: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._streams: Counter[UUID] = Counter()
        self.stopping = False

    async def publish(self, tenants: Iterable[UUID]) -> None:
        """Wake the streams of these tenants, in every process; when Valkey is away they wake by themselves later."""
        try:
            for tenant_id in tenants:
                await self._publisher.publish(_CHANNEL, tenant_id.bytes)
        except (redis.exceptions.RedisError, OSError) as exc:
            _log.warning("wakeup_not_sent", error=str(exc))

    def stop(self) -> None:
        """Wake everybody for the last time: streams look at `stopping` and end, so that the process can."""
        self.stopping = True
        self._wake_all()

    def streams_of(self, tenant_id: UUID, person_id: UUID) -> tuple[int, int]:
        """How many streams are open in this process: of a person, wherever, and in a tenant."""
        return self._streams[person_id], len(self._waiting.get(tenant_id, ()))

    @contextlib.contextmanager
    def listen(self, tenant_id: UUID, person_id: UUID) -> Generator[asyncio.Event, None, None]:
        """An event that is set whenever there is news in the tenant, for one stream of a person."""
        event = asyncio.Event()
        self._waiting[tenant_id].add(event)
        self._streams[person_id] += 1
        try:
            yield event
        finally:
            self._streams[person_id] -= 1
            if not self._streams[person_id]:
                del self._streams[person_id]
            self._waiting[tenant_id].discard(event)
            if not self._waiting[tenant_id]:
                del self._waiting[tenant_id]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Listen for as long as the block lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._subscriber.aclose()
        await self._publisher.aclose()

    async def _run(self) -> None:
        while True:
            try:
                async with self._subscriber.pubsub() as channel:
                    await channel.subscribe(_CHANNEL)
                    self._wake_all()  # something may have come while nobody listened
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._wake(UUID(bytes=message["data"]))
            except Exception as exc:  # whatever comes by the channel, screens go on
                _log.warning("wakeups_lost", error=repr(exc))
                await asyncio.sleep(1)

    def _wake(self, tenant_id: UUID) -> None:
        for event in self._waiting.get(tenant_id, ()):
            event.set()

    def _wake_all(self) -> None:
        for tenant_id in self._waiting:
            self._wake(tenant_id)
