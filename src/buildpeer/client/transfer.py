"""How far the sending of one file has come: which bytes are there, on their way, permitted, or still to be cut."""

import asyncio
from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from buildpeer.client.ranges import Range, chunks, merged, total, without
from buildpeer.client.shapes import Put

PART = 8 * 1024 * 1024


class Piece(msgspec.Struct, frozen=True):
    """What goes in one request. `part` counts from 1, and is 0 where the form is not `part`."""

    form: Literal["whole", "part", "chunk"]
    what: Range
    part: int = 0


class Bearing(Protocol):
    """What a link bears; see link.Link."""

    def whole(self, size: int) -> bool:
        """Whether so many bytes should travel in one piece."""
        ...


class Transfer:
    """The bytes of one file. A piece is asked for, then permitted, then flying; one that failed rests a while."""

    def __init__(self, size: int, part: int = PART, whole: Put | None = None) -> None:
        self.size = size
        self.part = part
        self.there: list[Range] = []
        self.whole = whole  # permission to send all of it at once
        self.sent_whole = False
        self.asked: set[Piece] = set()
        self.permitted: list[tuple[Piece, Put]] = []
        self.flying: dict[Piece, int] = {}  # and how much of it has gone
        self.resting: set[Piece] = set()
        self.failures: dict[int, tuple[int, int]] = {}  # by offset: how many in a row, what had been delivered then
        self.done: asyncio.Future[None]  # there while somebody waits for it

    @property
    def sent(self) -> int:
        """Bytes that are there or have left."""
        return min(self.size, total(self.there) + sum(self.flying.values()))

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return total(self.there) == self.size

    def has(self, ranges: Iterable[Range]) -> None:
        """S3 holds these bytes as well."""
        self.there = merged([*self.there, *ranges])

    def lacks(self, ranges: Iterable[Range]) -> None:
        """S3 holds all bytes but these, whatever was thought before."""
        self.there = without([Range(0, self.size)], ranges)
        self.permitted, self.whole, self.sent_whole = [], None, False

    def needs(self, piece: Piece) -> bool:
        """Whether any of its bytes is still missing."""
        return bool(without([piece.what], self.there))

    def uncut(self) -> list[Range]:
        """The bytes that nobody has taken on yet."""
        taken = [*self.asked, *(piece for piece, _ in self.permitted), *self.flying, *self.resting]
        return without([Range(0, self.size)], [*self.there, *(piece.what for piece in taken)])

    def cut(self, link: Bearing, most: int, longest: int) -> list[Piece]:
        """The next pieces, `most` of them, as this link bears them; no chunk is longer than `longest` bytes."""
        left = self.uncut()
        everything = Range(0, self.size)
        if self.size <= self.part:
            if left == [everything] and link.whole(self.size):
                return [Piece("whole", everything)]
            return [Piece("chunk", each) for each in self._chunks(left, longest)[:most]]
        found: list[Piece] = []
        for each in left:
            for number in range(each.offset // self.part, -(-each.end // self.part)):
                part = Range(number * self.part, min(self.part, self.size - number * self.part))
                mine = without([each], without([each], [part]))
                if mine == [part] and link.whole(part.length):
                    found.append(Piece("part", part, number + 1))
                else:
                    found += [Piece("chunk", chunk) for chunk in self._chunks(mine, longest)]
                if len(found) >= most:
                    return found[:most]
        return found

    def _chunks(self, left: list[Range], longest: int) -> list[Range]:
        return chunks(left, size=self.size, part=self.part, longest=longest)
