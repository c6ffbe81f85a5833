"""A phone's link in simulated time: rate, round trip, loss that limits each connection, cuts, outages.

A fluid model in steps of a quarter of a round trip: what matters to the controller is in it (slow start, the share of
each connection, what a cut costs, how long TCP sleeps after an outage), packets are not. `send` drives a Link as
`sending` does.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from buildpeer.client.link import Link
from buildpeer.client.ranges import Range, chunks, total, without

PART = 8 * 1024 * 1024
_SEGMENT = 1460
_SILENT_S = 2.0  # after which the sender no longer counts a connection


@dataclass
class World:
    rate: float  # bytes per second
    round_trip_s: float
    loss: float = 0.0
    between_cuts: float = math.inf  # mean bytes that a connection carries
    silence_s: float = 0.0  # until a cut is noticed
    outages: Sequence[tuple[float, float]] = ()  # beginning and seconds
    seed: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    @property
    def step_s(self) -> float:
        """How finely time is cut."""
        return self.round_trip_s / 4

    @property
    def limit(self) -> float:
        """What loss leaves to one connection (Mathis et al., 1997)."""
        return _SEGMENT * 1.22 / (self.round_trip_s * math.sqrt(self.loss)) if self.loss else math.inf

    def away(self, now: float) -> bool:
        return any(start <= now < start + length for start, length in self.outages)

    def awake_at(self, now: float) -> float:
        """When a connection that sent at the outage's beginning tries again: its timer doubles each time."""
        timer = max(0.3, 2 * self.round_trip_s) * self.dice.uniform(0.8, 1.4)
        start, length = next((s, n) for s, n in self.outages if s <= now < s + n)
        at = start
        while at < start + length:
            at, timer = at + timer, timer * 2
        return at

    def budget(self) -> float:
        return self.dice.expovariate(1 / self.between_cuts) if math.isfinite(self.between_cuts) else math.inf


@dataclass
class Line:
    """A connection: how fast slow start lets it go, how much it will carry before it is cut."""

    window: float = 10 * _SEGMENT
    budget: float = math.inf
    open: bool = False


@dataclass
class Flight:
    file: int
    what: Range
    began: float
    sent: float = 0.0
    ready_at: float = 0.0  # when the connection is there
    answer_at: float = math.inf
    dead_at: float = math.inf
    asleep_until: float = 0.0
    moved_at: float = 0.0
    silent_s: float = 0.0  # while others moved, or nothing else was left to send
    line: Line = field(default_factory=Line)


@dataclass
class Told:
    seconds: list[float]  # when each file was complete
    sent: float
    needed: int
    whole: int

    @property
    def waste(self) -> float:
        return self.sent / self.needed


def send(world: World, link: Link, sizes: Sequence[int], *, setup_trips: int = 6, limit_s: float = 7200.0) -> Told:
    """Send these files, one after another in the queue, all known from the beginning."""
    there: list[list[Range]] = [[] for _ in sizes]
    done: list[float] = [0.0] * len(sizes)
    flights: list[Flight] = []
    lines: list[Line] = []
    told = Told(done, 0.0, sum(sizes), 0)
    now = setup_trips * world.round_trip_s
    blocked_until = 0.0
    idle = False  # nothing is left to begin
    while not all(done):
        assert now < limit_s, "it never ends"
        while now >= blocked_until and len(flights) < 2 * link.connections:
            if sum(now - f.moved_at < _SILENT_S for f in flights) >= link.connections:
                break
            found = _next(link, sizes, there, flights)
            idle = found is None
            if found is None:
                break
            flight = Flight(*found, began=now, moved_at=now)
            told.whole += flight.what.length == sizes[flight.file]
            flight.line = lines.pop() if lines else Line(budget=world.budget())
            flight.ready_at = now + (0 if flight.line.open else world.round_trip_s)
            if world.away(now) and not flight.line.open:
                blocked_until = now + 1.0  # no connection is made: one failure, then a pause
                break
            link.began(now)
            flights.append(flight)
        _carry(world, flights, now, told)
        alive = idle or any(flight.moved_at == now for flight in flights)
        for flight in flights:
            flight.silent_s = 0 if flight.moved_at == now else flight.silent_s + world.step_s * alive
        now += world.step_s
        for flight in list(flights):
            if flight.answer_at <= now:
                flights.remove(flight)
                lines.append(flight.line)
                link.arrived(now, flight.what.length, now - flight.began, world.round_trip_s)
                there[flight.file].append(flight.what)
                if total(there[flight.file]) == sizes[flight.file]:
                    done[flight.file] = now + world.round_trip_s
            elif flight.dead_at <= now or flight.silent_s > (10 if idle else 30):
                flights.remove(flight)
                link.cut(now, int(flight.sent))
                idle = False
    return told


def _next(
    link: Link, sizes: Sequence[int], there: list[list[Range]], flights: list[Flight]
) -> tuple[int, Range] | None:
    for n, size in enumerate(sizes):
        mine = [f.what for f in flights if f.file == n]
        if not there[n] and not mine and size <= PART and link.whole(size):
            return n, Range(0, size)
        left = without([Range(0, size)], [*there[n], *mine])
        if left:
            return n, chunks(left, size=size, part=PART, longest=link.chunk)[0]
    return None


def _carry(world: World, flights: list[Flight], now: float, told: Told) -> None:
    if world.away(now):
        for flight in flights:
            if flight.asleep_until <= now:
                flight.asleep_until = world.awake_at(now)
        return
    sending = [
        f
        for f in flights
        if f.sent < f.what.length and now >= max(f.ready_at, f.asleep_until) and f.dead_at == math.inf
    ]
    caps = {id(f): min(world.limit, f.line.window / world.round_trip_s) * world.step_s for f in sending}
    left = world.rate * world.step_s
    for n, flight in enumerate(sorted(sending, key=lambda f: caps[id(f)])):
        share = min(caps[id(flight)], left / (len(sending) - n), flight.what.length - flight.sent)
        left -= share
        flight.line.open = True
        flight.line.window = min(flight.line.window * 2 ** (world.step_s / world.round_trip_s), 4e6)
        share = min(share, flight.line.budget)
        flight.sent += share
        flight.line.budget -= share
        flight.moved_at = now
        told.sent += share
        if flight.line.budget <= 0:
            flight.dead_at = now + max(world.silence_s, world.round_trip_s)
        elif flight.sent >= flight.what.length - 0.5:
            flight.answer_at = now + world.round_trip_s
