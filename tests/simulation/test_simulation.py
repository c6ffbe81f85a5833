"""Every file ends as it should, whatever happens: seeded lives of the whole house.

A failure prints what replays just that life:
`BUILDPEER_SIMULATION_SEED=<seed> .venv/bin/pytest tests/simulation -k whatever_happens`.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import pytest
import structlog
from tests.conftest import Company
from tests.simulation.world import Places, Violation, World

from buildpeer.local.stack import Stack
from buildpeer.modules.uploads import events, rules, service, store
from buildpeer.modules.uploads.service import settling
from buildpeer.platform import migrate
from buildpeer.platform.auth import Tokens

ONE = os.environ.get("BUILDPEER_SIMULATION_SEED")
SEEDS = range(int(ONE), int(ONE) + 1) if ONE else range(300)
GROUP = 15
SECONDS_A_SEED = 30  # of which it takes a quarter of one
# Its locks come when they like, and a life must go the same way twice.
NO_VACUUM = """
do $$
declare
  name regclass;
begin
  for name in select c.oid::regclass from pg_class c where c.relkind = 'r'
    and c.relnamespace::regnamespace::text in ('public', 'audit')
  loop
    execute format('alter table %s set (autovacuum_enabled = off)', name);
  end loop;
end
$$
"""


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    """The house logs every fault, and here faults are the point."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
async def places(stack: Stack, admin: asyncpg.Connection, quiet: None) -> AsyncIterator[Places]:
    """A database of our own in the same Postgres: sweeper and relay look at everybody's rows."""
    await admin.execute("create database simulation")
    urls = [
        stack.env(process)[f"BUILDPEER_{name}"].rpartition("/")[0] + "/simulation"
        for process, name in (("admin", "ADMIN_DATABASE_URL"), ("api", "DATABASE_URL"), ("worker", "DATABASE_URL"))
    ]
    await migrate.migrate(urls[0], migrate.read())
    places = Places(*urls)
    await places.connect()
    await places.admin.execute(NO_VACUUM)
    yield places
    places.close()
    await admin.execute("drop database simulation with (force)")


Live = Callable[..., Any]


@pytest.fixture
def live(places: Places, tokens: Tokens, password_hash: str) -> Live:
    """Lives one seed; gives what happened, line by line. Raises Violation."""

    async def lived(seed: int, *, kickoff: int = 0) -> list[str]:
        for table in ("outbox", "erasures", "documents", "uploads"):
            await places.admin.execute(f"delete from {table}")
        company = await Company(places.admin, tokens, password_hash).found()
        caller = await company.hire()
        world = World(seed, places, company, caller, kickoff=kickoff)
        with pytest.MonkeyPatch.context() as patch:
            world.build(patch)
            try:
                async with asyncio.timeout(SECONDS_A_SEED):
                    await world.run()
            except BaseException as exc:
                exc.add_note("\n".join([*world.scheduler.trace[-60:], world.scheduler.standing()]))
                which = "wiped" if kickoff else "whatever_happens"
                exc.add_note(f"BUILDPEER_SIMULATION_SEED={seed} .venv/bin/pytest tests/simulation -k {which}")
                if not await world.scheduler.end():
                    await places.connect()
                raise
        return world.scheduler.trace

    return lived


async def live_all(live: Live, seeds: range) -> None:
    for seed in seeds:
        await live(seed)


@pytest.mark.parametrize("first", SEEDS[::GROUP])
async def test_every_file_ends_as_it_should_whatever_happens(live: Live, first: int) -> None:
    await live_all(live, range(first, min(first + GROUP, SEEDS.stop)))


@pytest.mark.parametrize("seed", SEEDS if ONE else [1, 2, 3])
async def test_a_kickoff_whose_queues_and_processes_are_wiped_ends_ready_all_the_same(live: Live, seed: int) -> None:
    await live(seed, kickoff=20)


@pytest.mark.long
@pytest.mark.parametrize("first", range(300, 5000, 100))
async def test_every_file_ends_as_it_should_in_thousands_of_lives(live: Live, first: int) -> None:
    await live_all(live, range(first, first + 100))


@pytest.mark.parametrize("seed", [3, 8, 17, 24])
async def test_a_seed_replays(live: Live, seed: int) -> None:
    assert await live(seed) == await live(seed)


async def _no_sweep(*_: Any, **__: Any) -> int:
    return 0


def _no_mismatch(upload: Any) -> Any:
    state, reason = _SETTLE(upload)
    return ("ready", "") if state == "mismatched" else (state, reason)


async def _told_again(tx: Any, upload: Any, facts: Any, **named: Any) -> Any:
    if upload.state == "ready":
        await tx.announce([events.news(events.CHANGED, upload)])
    return await _BECOME(tx, upload, facts, **named)


_SETTLE, _BECOME = rules._settle, settling.become
# What must hold, and a fault in the code under which it does not.
FAULTS: dict[str, tuple[Any, str, Any]] = {
    "lost": (service, "sweep", _no_sweep),
    "wrong state": (rules, "_settle", _no_mismatch),
    "went back": (store, "STORED", store.STORED.replace("'receiving')", "'receiving', 'scanning', 'deriving')")),
    "ready event": (settling, "become", _told_again),
}
TRIGGERS = {"quota": "released", "audit": "audit_change"}


async def found(live: Live, name: str) -> None:
    """Some seed shows it, and by that name."""
    with pytest.raises(Violation) as caught:
        await live_all(live, range(120))
    assert caught.value.name == name


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_in_the_code_is_found(live: Live, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(*FAULTS[name])
    await found(live, name)


@pytest.mark.parametrize("name", TRIGGERS)
async def test_a_fault_in_the_database_is_found(live: Live, places: Places, name: str) -> None:
    await places.admin.execute(f"alter table uploads disable trigger {TRIGGERS[name]}")
    try:
        await found(live, name)
    finally:
        await places.admin.execute(f"alter table uploads enable trigger {TRIGGERS[name]}")
