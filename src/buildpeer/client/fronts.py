"""Which of S3's front doors is faster from here: the plain one, or the accelerated one where there is one. Pure."""

from collections.abc import Mapping

_PLAIN, _FAST = "plain", "accelerated"
_TRIES = 3  # pieces by which a front is first judged
_AGAIN = 64  # pieces after which the slower one is tried once more
_BANNED_S = 300.0
_SMOOTH = 0.25


class Fronts:
    """Learns from real pieces. `known` are rates by front, in bytes per second and connection."""

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        self.rates = dict(known or {})
        self._tries = dict.fromkeys(self.rates, _TRIES)
        self._since = 0
        self._banned_until = 0.0

    def pick(self, now: float) -> str:
        """By which front the next piece goes, where there are two."""
        if now < self._banned_until:
            return _PLAIN
        for front in (_FAST, _PLAIN):
            if self._tries.get(front, 0) < _TRIES:
                self._tries[front] = self._tries.get(front, 0) + 1
                return front
        self._since += 1
        fast, plain = self.rates.get(_FAST, 0.0), self.rates.get(_PLAIN, 0.0)
        better, other = (_FAST, _PLAIN) if fast > plain else (_PLAIN, _FAST)
        if self._since >= _AGAIN:
            self._since = 0
            return other
        return better

    def arrived(self, front: str, rate: float) -> None:
        """A piece came through it, so many bytes in a second."""
        known = self.rates.get(front)
        self.rates[front] = rate if known is None else known + _SMOOTH * (rate - known)

    def failed(self, front: str, now: float) -> None:
        """Nothing came through it: the accelerated one is left alone for a while."""
        if front == _FAST:
            self._banned_until = now + _BANNED_S
