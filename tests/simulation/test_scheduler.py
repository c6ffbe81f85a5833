"""Nothing that Postgres or a process does at an unlucky moment lets a life stand still."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.conftest import eventually
from tests.simulation.scheduler import Connection, Crashed, Process, Scheduler


class Slow:
    """An observer who hears late that somebody's statement was cancelled: when they are at something else already."""

    def __init__(self, real: asyncpg.Connection, scheduler: Scheduler) -> None:
        self.real, self.scheduler = real, scheduler

    async def fetch(self, sql: str, *args: Any) -> Any:
        return await self.real.fetch(sql, *args)

    async def execute(self, sql: str, pid: int) -> None:
        await self.real.execute(sql, pid)

        async def has_gone_on() -> bool:
            return pid not in [each.pid for each in self.scheduler._statements]

        await eventually(has_gone_on, within_s=5)


class UpdatesFirst(random.Random):
    """Dice that let nobody commit before everybody has tried to write."""

    def random(self) -> float:
        return 1.0

    def choice(self, seq: Any) -> Any:
        return next((gate for gate in seq if gate.label.startswith("update")), seq[0])


@pytest.fixture
async def connections(admin: asyncpg.Connection, admin_url: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """Some to a table of one row, and the last for the scheduler."""
    await admin.execute("create table contested as select 0 as n")
    connections = [await asyncpg.connect(admin_url) for _ in range(4)]
    yield connections
    for connection in connections:
        await admin.execute("select pg_terminate_backend($1, 5000)", connection.get_server_pid())
        connection.terminate()
    await admin.execute("drop table contested")


async def test_who_is_told_that_their_time_is_up_is_not_waited_for(connections: list[asyncpg.Connection]) -> None:
    *theirs, observer = connections
    scheduler = Scheduler(UpdatesFirst(), observer, 0)
    scheduler._observer = Slow(observer, scheduler)

    async def add(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("update contested set n = n + 1")

    async def run() -> list[Any]:
        tasks = [scheduler.start(Process(str(n)), add(Connection(scheduler, c))) for n, c in enumerate(theirs)]
        await scheduler.settle()
        while scheduler.gates:
            scheduler.step()
            await scheduler.settle()
        return await asyncio.gather(*tasks, return_exceptions=True)

    async with asyncio.timeout(10):
        results = await run()
    assert [type(each) for each in results].count(asyncpg.QueryCanceledError) == 1
    assert await observer.fetchval("select n from contested") == 2


async def test_a_life_ends_soon_whatever_somebody_waits_for(
    connections: list[asyncpg.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.simulation.scheduler.END_S", 0.2)
    scheduler = Scheduler(random.Random(1), connections[-1], 0)
    never = threading.Event()

    async def at_a_gate() -> None:
        await scheduler.gate("waits")

    async def in_postgres() -> None:
        scheduler.calm = True
        await Connection(scheduler, connections[0]).execute("select pg_sleep(3600)")

    async def elsewhere() -> None:
        await scheduler.in_thread(never.wait)

    tasks = [scheduler.start(Process("p"), each()) for each in (at_a_gate, in_postgres, elsewhere)]
    await eventually(lambda: at_work(connections[0], connections[-1]))
    try:
        async with asyncio.timeout(5):
            assert not await scheduler.end()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        never.set()
    assert [type(each) for each in results] == [Crashed, asyncio.CancelledError, asyncio.CancelledError]


async def at_work(connection: asyncpg.Connection, observer: asyncpg.Connection) -> bool:
    pid = connection.get_server_pid()
    return await observer.fetchval("select wait_event = 'PgSleep' from pg_stat_activity where pid = $1", pid)
