"""The files of a push, what is known of each, and who looks on."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from buildpeer.client.files import Fingerprint
from buildpeer.client.shapes import Upload
from buildpeer.client.transfer import Transfer

Stage = Literal["waiting", "hashing", "announcing", "queued", "sending", "pausing", "checking", "done"]

FINE = frozenset(("ready", "known", "duplicate", "skipped"))


class Outcome(msgspec.Struct, frozen=True):
    """What became of a file. `size` in bytes.

    `result` is a state in which uploads end, or `known` (there already since an earlier push), `skipped`, or
    `pending` (safe on the server, but no news of its end). `reason` is a sentence for people, or empty.
    """

    path: Path
    size: int
    result: str
    reason: str = ""
    upload_id: str = ""
    document_id: str | None = None

    @property
    def fine(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self.result in FINE


class Item(msgspec.Struct, eq=False):
    """A file on its way."""

    path: Path
    kind: str
    file: Fingerprint
    stage: Stage = "waiting"
    upload_id: str = ""
    upload: Upload | None = None
    transfer: Transfer = msgspec.field(default_factory=lambda: Transfer(0))
    waits_for: str = ""  # while pausing: `network` or `server`
    reopened: bool = False  # S3 has lost bytes of it after it had all of them
    outcome: Outcome | None = None
    asked_at: float = 0.0
    checking_at: float = 0.0  # since when
    moved: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    @property
    def sent(self) -> int:
        """Bytes that have left in the present try of each piece, or arrived in an earlier one."""
        return self.transfer.sent

    @property
    def arrived(self) -> bool:
        """Whether the server needs no more bytes of it."""
        return self.upload is not None and self.upload.arrived


class View(Protocol):
    """Who looks on; `ui` has one for terminals and one for logs."""

    def began(self, items: Sequence[Item]) -> None:
        """These files are to be sent."""
        ...

    def moved(self, item: Item) -> None:
        """Something about this file has changed."""
        ...


class Silent:
    """Nobody looks on."""

    def began(self, items: Sequence[Item]) -> None:
        """See View."""

    def moved(self, item: Item) -> None:
        """See View."""


class Board:
    """Where all that happens to the files is written down; the view hears of it.

    `news_at` is when something was last heard of any of them, by the monotonic clock.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._items: dict[str, Item] = {}
        self.news_at = 0.0

    def announced(self, item: Item) -> None:
        """From now on what is heard of its upload id is about this file."""
        self._items[item.upload_id] = item

    def at(self, stage: Stage) -> list[Item]:
        """The files at this stage."""
        return [item for item in self._items.values() if item.stage == stage]

    def unfinished(self) -> list[Item]:
        """The announced files that have no outcome yet."""
        return [item for item in self._items.values() if item.outcome is None]

    def stage(self, item: Item, stage: Stage) -> None:
        """The file is at this stage now."""
        if item.stage != stage:
            item.stage = stage
            self._view.moved(item)

    def sent(self, item: Item) -> None:
        """More of its bytes have left."""
        self.news_at = time.monotonic()
        self._view.moved(item)

    def heard(self, upload: Upload) -> None:
        """The server says this; old news and news of what has its outcome change nothing."""
        item = self._items.get(upload.upload_id)
        if item is None or item.outcome or item.upload_id != upload.upload_id or not upload.newer_than(item.upload):
            return
        item.reopened |= item.upload is not None and upload.reopened_since(item.upload)
        item.upload = upload
        item.asked_at = self.news_at = time.monotonic()
        item.moved.set()
        self._view.moved(item)
