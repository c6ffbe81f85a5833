"""What was learnt of each network this machine has been on, kept beside the journal."""

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from buildpeer.client.fronts import Fronts
from buildpeer.client.journal import Journal
from buildpeer.client.link import Habits, Link


class Network:
    """One network: its link, and the way to S3 that is faster from there."""

    def __init__(self, habits: Habits | None, most: int) -> None:
        self.link = Link(most, habits)
        self.fronts = Fronts(habits.fronts if habits else None)

    @property
    def habits(self) -> Habits:
        """What to begin with next time."""
        return msgspec.structs.replace(self.link.habits, fronts=self.fronts.rates)


class Learnt:
    """The networks met; `whereabouts` gives the name of the present one."""

    def __init__(self, journal: Journal, most: int, whereabouts: Callable[[], str]) -> None:
        self._journal = journal
        self._most = most
        self._whereabouts = whereabouts
        self._networks: dict[str, Network] = {}
        self._last = ""
        self._storage = journal.place("storage", str) or ""

    @property
    def storage(self) -> str:
        """Where S3 was last, as `https://host:port`; empty while nobody knows."""
        return self._storage

    def went_to(self, url: str) -> None:
        """A piece has arrived there."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin != self._storage:
            self._storage = origin
            self._journal.note_place("storage", origin)

    def here(self) -> Network:
        """The network that this machine is on now; while there is none, the last one."""
        name = self._whereabouts() or self._last
        if name not in self._networks:
            self._networks[name] = Network(self._journal.habits(name), self._most)
        self._last = name
        return self._networks[name]

    def keep(self) -> None:
        """Write down what was learnt."""
        for name, network in self._networks.items():
            self._journal.note_habits(name, network.habits)
