"""Which bytes of a file: the arithmetic of ranges, and the grid on which files are cut. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

CELL = 128 * 1024
MOST_CELLS = 8


class Range(msgspec.Struct, frozen=True, order=True):
    """`length` bytes of a file from `offset` on."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.length


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes in the fewest ranges, in order."""
    found: list[Range] = []
    for each in sorted(ranges):
        if each.length <= 0:
            continue
        if found and each.offset <= found[-1].end:
            last = found.pop()
            found.append(Range(last.offset, max(last.end, each.end) - last.offset))
        else:
            found.append(each)
    return found


def without(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """The bytes of `ranges` that none of the others has, in order."""
    left: list[Range] = []
    holes = merged(others)
    for each in merged(ranges):
        start = each.offset
        for hole in holes:
            if hole.end <= start or hole.offset >= each.end:
                continue
            if hole.offset > start:
                left.append(Range(start, hole.offset - start))
            start = hole.end
        if start < each.end:
            left.append(Range(start, each.end - start))
    return left


def total(ranges: Iterable[Range]) -> int:
    """How many bytes these are, each counted once."""
    return sum(each.length for each in merged(ranges))


def chunks(missing: Sequence[Range], *, size: int, part: int, longest: int) -> list[Range]:
    """What is missing of a file of `size` bytes, cut as the server takes it: on the grid, within a part each.

    No chunk has more than `longest` bytes, which is a multiple of CELL. What begins or ends off the grid is
    widened to it: the server never says so of its own, and a byte too many does no harm.
    """
    wide = merged(_on_grid(each, size) for each in missing)
    found: list[Range] = []
    for each in wide:
        start = each.offset
        while start < each.end:
            end = min(start + longest, each.end, (start // part + 1) * part)
            found.append(Range(start, end - start))
            start = end
    return found


def _on_grid(each: Range, size: int) -> Range:
    start = each.offset // CELL * CELL
    end = min(-(-each.end // CELL) * CELL, size)
    return Range(start, end - start)
