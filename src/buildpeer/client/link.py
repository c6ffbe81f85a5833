"""What a link bears: how files are cut, and over how many connections they go, from what was measured.

Pure, and without a clock: whoever sends says what happened and when, in seconds of any one clock.
`tests/client/test_link.py` runs it over simulated links.

A file travels in chunks until this network has carried TRUSTED bytes without a cut. Chunks last some round trips
each, so that asking costs little, but are well shorter than what gets through between two cuts, since a cut costs
what was on its way. Connections are added while they bring more, and taken away where cuts make each of them dear.
"""

import msgspec

from buildpeer.client.ranges import CELL, MOST_CELLS

TRUSTED = 8 * 1024 * 1024
_FIRST = 5  # connections: with 3 % loss one fills a third of the link, five all of it, though one awaits an answer
_FEWEST = 2
_CHUNK_S = 1.5
_CHUNK_ROUND_TRIPS = 8
_CHUNKS_BETWEEN_CUTS = 6  # a cut costs half a chunk: a twelfth is sent twice
_PRIOR_BYTES, _PRIOR_CUTS = 1_000_000, 0.25  # what is believed of cuts before anything is known
_REMEMBERED = 32_000_000  # bytes after which what was learnt of cuts begins to fade
_DEAR = 2_000_000  # fewer bytes than these between two cuts: each connection more is one more chunk lost
_WHOLE_S = 8.0  # a file that one connection takes this long for needn't be cut
_GAIN, _LOSS = 1.08, 0.95  # more connections must bring this much more; fewer may cost this much
_HELD_EPOCHS = 8  # for so long what was found best is kept before others are tried
_SMOOTH = 0.25


class Habits(msgspec.Struct, frozen=True):
    """What is worth keeping of a link until next time. Rates in bytes per second."""

    connections: int = _FIRST
    rate: float = 0.0  # of one connection
    carried: float = 0.0
    cuts: float = 0.0
    clean: int = 0  # bytes since the last cut
    round_trip_s: float = 0.0
    fronts: dict[str, float] = {}


class Link:
    """Decides by what it is told. `most` is the greatest number of connections it may ask for."""

    def __init__(self, most: int = 8, habits: Habits | None = None) -> None:
        known = habits or Habits()
        self._most = most
        self._connections = known.connections
        self._rate = known.rate
        self._carried, self._cuts = known.carried, known.cuts
        self._clean = known.clean
        self.round_trip_s = known.round_trip_s
        self._flying = 0
        self._settled = 0  # connections that brought most so far, 0 before the first comparison
        self._settled_rate = 0.0
        self._held = 0
        self._epoch = _Epoch(0.0)

    @property
    def habits(self) -> Habits:
        """What to begin with next time on this network."""
        return Habits(
            connections=self._settled or self._connections,
            rate=self._rate,
            carried=self._carried,
            cuts=self._cuts,
            clean=self._clean,
            round_trip_s=self.round_trip_s,
        )

    @property
    def connections(self) -> int:
        """How many should be sending just now."""
        return max(1, min(self._most, self._connections))

    @property
    def chunk(self) -> int:
        """How long a chunk should be, in bytes: a multiple of CELL."""
        wanted = self._rate * max(_CHUNK_S, _CHUNK_ROUND_TRIPS * self.round_trip_s)
        bearable = self._between_cuts / _CHUNKS_BETWEEN_CUTS
        return max(1, min(MOST_CELLS, int(min(wanted, bearable) // CELL))) * CELL

    @property
    def _between_cuts(self) -> float:
        return (self._carried + _PRIOR_BYTES) / (self._cuts + _PRIOR_CUTS)

    @property
    def trusted(self) -> bool:
        """Whether this network has carried enough without a cut."""
        return self._clean >= TRUSTED

    def whole(self, size: int) -> bool:
        """Whether so many bytes should travel in one piece."""
        return size <= self.chunk or (self.trusted and size <= self._rate * _WHOLE_S)

    def expected_s(self, size: int) -> float:
        """How long one connection takes for so many bytes; 0 while nothing is known."""
        return size / self._rate if self._rate else 0.0

    def began(self, now: float) -> None:
        """A piece begins to fly."""
        self._epoch.flew(now, self._flying)
        self._flying += 1

    def arrived(self, now: float, size: int, seconds: float, round_trip_s: float = 0.0) -> None:
        """A piece of `size` bytes is there, after so many seconds."""
        self._landed(now)
        rate = size / max(seconds, 1e-3)
        self._rate = self._rate + _SMOOTH * (rate - self._rate) if self._rate else rate
        if round_trip_s:
            known = self.round_trip_s or round_trip_s
            self.round_trip_s = known + _SMOOTH * (round_trip_s - known)
        self._clean += size
        self._carried += size
        self._epoch.carried(size)
        if self._carried > _REMEMBERED:
            self._carried, self._cuts = self._carried / 2, self._cuts / 2
        if self._epoch.ended(now, self.connections):
            self._compare(self._epoch.rate(now), full=self._epoch.full(now, self.connections))
            self._epoch = _Epoch(now)

    def cut(self, now: float, lost: int) -> None:
        """A piece was cut when `lost` bytes of it were on their way."""
        self._landed(now)
        self._clean = 0
        self._carried += lost
        self._cuts += 1

    def refused(self, now: float) -> None:
        """A piece did not arrive, and the link is not to blame: it never began, or S3 said no."""
        self._landed(now)

    def _landed(self, now: float) -> None:
        self._epoch.flew(now, self._flying)
        self._flying -= 1

    def _compare(self, rate: float, *, full: bool) -> None:
        """Add connections while that brings more; where cuts are frequent, do with fewer if that is no slower."""
        if not full:
            return
        here, best = self.connections, self._settled
        if not best:
            self._settle(here, rate)
            self._try(self._other(here))
        elif here == best:
            self._settled_rate += _SMOOTH * (rate - self._settled_rate)
            self._held += 1
            if self._held >= _HELD_EPOCHS:
                self._held = 0
                self._try(self._other(here))
        elif rate > self._settled_rate * (_GAIN if here > best else _LOSS):
            further = here + 2 if here > best else here - 1
            self._settle(here, rate)
            self._try(further)
        else:
            self._connections = best

    def _other(self, here: int) -> int:
        return here - 1 if self._between_cuts < _DEAR else here + 2

    def _settle(self, connections: int, rate: float) -> None:
        self._settled, self._settled_rate, self._held = connections, rate, 0

    def _try(self, connections: int) -> None:
        self._connections = max(min(_FEWEST, self._most), min(self._most, connections))


class _Epoch:
    """A while in which a number of connections shows what it brings."""

    def __init__(self, now: float) -> None:
        self._began = self._looked = now
        self._bytes = 0
        self._pieces = 0
        self._flown = 0.0  # connection-seconds

    def flew(self, now: float, flying: int) -> None:
        if not self._looked:
            self._began = self._looked = now
        self._flown += flying * (now - self._looked)
        self._looked = now

    def carried(self, size: int) -> None:
        self._bytes += size
        self._pieces += 1

    def ended(self, now: float, connections: int) -> bool:
        return self._pieces >= 2 * connections + 2 and now - self._began >= 1.0

    def rate(self, now: float) -> float:
        return self._bytes / (now - self._began)

    def full(self, now: float, connections: int) -> bool:
        return self._flown >= 0.8 * connections * (now - self._began)
