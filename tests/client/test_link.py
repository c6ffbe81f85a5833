"""What the controller promises, over simulated links. Times are simulated seconds."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.client.link import TRUSTED, Link
from buildpeer.client.ranges import CELL, Range, chunks, merged, total, without
from simulation import PART, Told, World, send

FILE = 5_000_000
RUNS = 12


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
    send(make(1000), link, [FILE] * 3)
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
    """A client that begins the file anew after each cut; it is watched for twenty simulated minutes."""

    class Whole(Link):
        chunk = property(lambda self: PART)  # type: ignore[assignment]
        connections = property(lambda self: 1)  # type: ignore[assignment]

    try:
        return send(world, Whole(1), [FILE], limit_s=1200).seconds[0]
    except AssertionError:
        return 1200.0


def plain_parallel(world: World, files: int) -> float:
    """A client that sends whole files, four at a time, on a link without cuts."""

    class Plain(Link):
        chunk = property(lambda self: PART)  # type: ignore[assignment]
        connections = property(lambda self: 4)  # type: ignore[assignment]

    return max(send(world, Plain(4), [FILE] * files, setup_trips=3).seconds)


def test_in_the_office_it_is_as_fast_as_plain_files_side_by_side() -> None:
    ours = send(office(0), Link(8), [FILE] * 20)
    assert max(ours.seconds) <= 1.05 * plain_parallel(office(0), 20)
    assert ours.whole >= 15, "what travels whole needs no joining"
    assert ours.waste < 1.001


def test_nothing_is_whole_before_the_network_has_carried_enough() -> None:
    link = Link(8)
    size = 1024 * 1024
    for second in range(7):
        link.began(second)
        link.arrived(second + 0.1, size, 0.1)
    assert not link.whole(2 * size)
    link.began(8)
    link.arrived(8.1, size, 0.1)
    assert link.trusted
    assert link.whole(2 * size)
    link.began(9)
    link.cut(9.1, 1000)
    assert not link.whole(2 * size), "one cut is enough"


def test_whole_is_left_when_the_rate_disappoints() -> None:
    link = Link(8)
    for second in range(9):
        link.began(second)
        link.arrived(second + 0.1, 1024 * 1024, 0.1)
    assert link.whole(FILE)
    for second in range(10, 30):
        link.began(second)
        link.arrived(second + 10, FILE, 10)
    assert not link.whole(FILE)


def test_an_unknown_link_begins_with_small_chunks_over_a_few_connections() -> None:
    assert (Link(8).chunk, Link(8).connections) == (CELL, 5)
    assert Link(2).connections == 2


def test_what_was_learnt_serves_again() -> None:
    assert not Link(8, accustomed(cutting).habits).trusted
    again = Link(8, accustomed(office).habits)
    assert again.trusted
    assert again.chunk == 8 * CELL


def test_cuts_make_chunks_small_again() -> None:
    link = Link(8)
    for second in range(20):
        link.began(second)
        link.arrived(second + 1, 8 * CELL, 1)
    assert link.chunk == 8 * CELL
    for second in range(30, 60):
        link.began(second)
        link.cut(second + 1, 500_000)
    assert link.chunk < 3 * CELL
    assert link.habits.clean < TRUSTED


ranges = st.builds(Range, st.integers(0, 40), st.integers(0, 20))


@given(st.lists(ranges), st.lists(ranges))
def test_ranges_are_sets_of_bytes(some: list[Range], others: list[Range]) -> None:
    def held(of: list[Range]) -> set[int]:
        return {n for each in of for n in range(each.offset, each.end)}

    assert held(merged(some)) == held(some)
    assert held(without(some, others)) == held(some) - held(others)
    assert total(some) == len(held(some))
    assert all(a.end < b.offset for a, b in zip(merged(some), merged(some)[1:], strict=False))


@given(st.integers(1, 5 * CELL * 8 + 17), st.integers(1, 8), st.integers(1, 9))
def test_chunks_cover_what_is_missing_and_keep_to_the_grid(size: int, cells: int, part_cells: int) -> None:
    part = part_cells * CELL
    found = chunks([Range(0, size)], size=size, part=part, longest=cells * CELL)
    assert merged(found) == [Range(0, size)]
    assert sum(each.length for each in found) == size
    for each in found:
        assert each.offset % CELL == 0
        assert each.length % CELL == 0 or each.end == size
        assert each.length <= cells * CELL
        assert each.offset // part == (each.end - 1) // part
