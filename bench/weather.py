"""What a link is like, and when it is down; `link_tcp` and `link_tun` make links of it."""

import random

import msgspec


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """Rates in bits per second. A connection is cut after about `cut_bytes` (exponential); 0 means never.

    Every `outage_every_s` (exponential, 0 means never) the link is down for `outage_s`. `refused` is the share of
    upload requests that are answered 403, 500 or 503 in S3's place, `loss` the share of packets lost, either way.
    """

    up_bps: float
    down_bps: float
    rtt_s: float
    cut_bytes: float = 0
    outage_s: float = 0
    outage_every_s: float = 0
    refused: float = 0
    loss: float = 0

    @property
    def up_rate(self) -> float:
        """Bytes per second."""
        return self.up_bps / 8

    def faster(self, times: float) -> "Weather":
        """The same weather on a clock that runs so many times faster."""
        return msgspec.structs.replace(
            self,
            up_bps=self.up_bps * times,
            down_bps=self.down_bps * times,
            rtt_s=self.rtt_s / times,
            outage_s=self.outage_s / times,
            outage_every_s=self.outage_every_s / times,
        )


class Outages:
    """When one link is down: by itself now and then, and when told so. All times are of one clock, in seconds."""

    def __init__(self, weather: Weather, dice: random.Random, *, now: float) -> None:
        self._weather = weather
        self._dice = dice
        self._spans: list[tuple[float, float]] = []
        self._next = now + self._gap_s()

    def add(self, begin: float, seconds: float) -> None:
        """Be down then, for so long."""
        self._spans.append((begin, begin + seconds))

    def up_again(self, now: float) -> float:
        """When the link is next up: now, if it is."""
        self._plan(now)
        for begin, end in reversed(self._spans):
            if begin <= now < end:
                return end
        return now

    def within(self, begin: float, end: float) -> float:
        """Seconds between the two in which the link was down."""
        self._plan(end)
        return sum(max(0.0, min(end, down[1]) - max(begin, down[0])) for down in self._spans)

    def _plan(self, until: float) -> None:
        while self._next <= until:
            end = self._next + self._weather.outage_s
            self._spans.append((self._next, end))
            self._next = end + self._gap_s()

    def _gap_s(self) -> float:
        every = self._weather.outage_every_s
        return self._dice.expovariate(1 / every) if every else float("inf")
