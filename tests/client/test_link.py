"""What the controller promises, over simulated links. Times are simulated seconds."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import PART, Told, World, send

from buildpeer.client.link import TRUSTED, Link
from buildpeer.client.ranges import CELL, Range, chunks, merged, total, without

FILE = 5_000_000
RUNS = 20


def over(make: Callable[[int], World], *, files: int = 1, known: Link | None = None) -> list[Told]:
    """A push each over as many links of the same kind; a phone that knows the network begins with its habits."""
    habits = known.habits if known else None
    return [send(make(seed), Link(8, habits), [FILE] * files) for seed in range(RUNS)]


def p95(times: list[float]) -> float:
    return sorted(times)[math.ceil(len(times) * 0.95) - 1]


def obra(seed: int) -> World:
    return World(rate=125_000, round_trip_s=0.2, loss=0.03, seed=seed)


def lte(seed: int) -> World:
    return World(rate=375_000, round_trip_s=0.08, loss=0.01, outages=[(2 + seed % 9, 5)], seed=seed)


def cutting(seed: int) -> World:
    return World(rate=500_000, round_trip_s=0.1, between_cuts=4_000_000, silence_s=3, seed=seed)


def satellite(seed: int) -> World:
    outages = [(20 + seed + n * 180, 60) for n in range(9)]
    return World(
        rate=32_000, round_trip_s=0.6, loss=0.01, between_cuts=700_000, silence_s=1, outages=outages, seed=seed
    )


def office(seed: int) -> World:
    return World(rate=6_250_000, round_trip_s=0.02, seed=seed)


def accustomed(make: Callable[[int], World]) -> Link:
    """A link that has carried some files on this network before."""
    link = Link(8)
    send(make(1000), link, [FILE] * 6)
    return link


@pytest.mark.parametrize("make", [obra, lte])
@pytest.mark.parametrize("known", [False, True])
def test_a_file_takes_little_longer_than_the_link_itself(make: Callable[[int], World], known: bool) -> None:
    told = over(make, known=accustomed(make) if known else None)
    outage = sum(length for _, length in make(0).outages)
    assert p95([t.seconds[0] for t in told]) <= 1.25 * (FILE / make(0).rate + outage)
    assert max(t.waste for t in told) < 1.15


@pytest.mark.parametrize("make", [cutting, satellite])
@pytest.mark.parametrize("known", [False, True])
def test_with_cuts_it_takes_half_of_what_a_whole_file_retry_takes(make: Callable[[int], World], known: bool) -> None:
    ours = over(make, known=accustomed(make) if known else None)
    plain = [whole_retry(make(seed)) for seed in range(RUNS)]
    assert p95([t.seconds[0] for t in ours]) <= p95(plain) / 2
    assert sum(t.sent for t in ours) / sum(t.needed for t in ours) < 1.15


def whole_retry(world: World) -> float:
    """A client that begins the file anew after each cut; given up on after two simulated hours."""

    class Whole(Link):
        chunk = property(lambda self: PART)  # type: ignore[assignment]
        connections = property(lambda self: 1)  # type: ignore[assignment]

    try:
        return send(world, Whole(1), [FILE]).seconds[0]
    except AssertionError:
        return 7200.0
