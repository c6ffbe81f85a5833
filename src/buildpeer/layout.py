"""How a file lies in S3 while it travels: parts, the grid of cells in them, and the keys of chunks.

Offsets and lengths are bytes; offsets are absolute in the file, unless they say otherwise. Shared by the api, which
signs chunks, and by the function that joins them, so that both read a key alike.
"""

import re
from collections.abc import Iterable
from uuid import UUID

import msgspec

MIB = 1024 * 1024
PART_SIZE = 8 * MIB  # a file up to this is one part; S3 wants at least 5 MiB of all but the last
CELL = 128 * 1024  # chunks begin on this grid
MOST_CELLS = 8  # of a chunk

_KEY = re.compile(r"(?:live|bulk)/([0-9a-f-]{36}/[0-9a-f-]{36})", re.ASCII)
_CHUNK = re.compile(r"([0-9]{5})/([0-9]{7})-([0-9]{7})", re.ASCII)


class Range(msgspec.Struct, frozen=True, order=True):
    """`length` bytes of a file from `offset` on."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset of the first byte after it."""
        return self.offset + self.length


def part_count(size_bytes: int) -> int:
    """Into how many parts a file goes."""
    return -(-size_bytes // PART_SIZE)


def part_range(size_bytes: int, number: int) -> Range:
    """Where part `number` (from 1) lies: all are PART_SIZE long, but for the last.

    Raises ValueError for a part that the file doesn't have.
    """
    count = part_count(size_bytes)
    if not 1 <= number <= count:
        raise ValueError(f"The file has parts 1 to {count}, not {number}")
    offset = (number - 1) * PART_SIZE
    return Range(offset, min(PART_SIZE, size_bytes - offset))


def part_of(offset: int) -> int:
    """The number of the part that holds the byte at `offset`."""
    return offset // PART_SIZE + 1


def check_chunk(size_bytes: int, chunk: Range) -> None:
    """A chunk is 1 to MOST_CELLS cells of one part; only at the file's end may the last cell be cut short.

    Raises ValueError, which says what is wrong.
    """
    if chunk.offset < 0 or chunk.offset % CELL:
        raise ValueError(f"A chunk begins at a multiple of {CELL}, not at {chunk.offset}")
    if not 1 <= chunk.length <= MOST_CELLS * CELL:
        raise ValueError(f"A chunk has 1 to {MOST_CELLS * CELL} bytes, not {chunk.length}")
    if chunk.end > size_bytes:
        raise ValueError(f"The file ends at {size_bytes}, the chunk at {chunk.end}")
    if chunk.length % CELL and chunk.end != size_bytes:
        raise ValueError(f"A chunk's length is a multiple of {CELL}, unless it ends with the file")
    if part_of(chunk.offset) != part_of(chunk.end - 1):
        raise ValueError(
            f"A chunk lies in one part of {PART_SIZE} bytes; the one at {chunk.offset} crosses into the next"
        )


def first_chunks(size_bytes: int, length: int, most: int) -> list[Range]:
    """The chunks of a file from its beginning, at most so many, each `length` bytes long unless a part ends before."""
    found: list[Range] = []
    offset = 0
    while offset < size_bytes and len(found) < most:
        part = part_range(size_bytes, part_of(offset))
        found.append(Range(offset, min(length, part.end - offset)))
        offset = found[-1].end
    return found


def tenant_prefixes(tenant_id: UUID) -> list[str]:
    """Under which keys a tenant's originals lie, their pictures in their own bucket, and what its jobs have made."""
    return [f"{root}/{tenant_id}/" for root in ("live", "bulk", "jobs")]


def job_key(tenant_id: UUID, job_id: UUID, tries: int) -> str:
    """Where the file lies, in the bucket of what is derived, that a try of a job has made."""
    return f"jobs/{tenant_id}/{job_id}/{tries}"


def tenant_chunks_prefix(tenant_id: UUID) -> str:
    """Under which keys of the chunks bucket a tenant's chunks lie."""
    return f"{tenant_id}/"


def chunks_prefix(key: str, part: int | None = None) -> str:
    """Under which keys of the chunks bucket the chunks of the object `key` lie: of one part, or all.

    Raises ValueError for a key that is not one of ours.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"not a key of ours: {key!r}")
    return f"{found[1]}/" if part is None else f"{found[1]}/{part:05d}/"


def chunk_key(key: str, chunk: Range) -> str:
    """The key of a chunk of the object `key`; it holds part, offset in the part, and length."""
    return f"{chunks_prefix(key, part_of(chunk.offset))}{chunk.offset % PART_SIZE:07d}-{chunk.length:07d}"


def chunk_of(key: str, size_bytes: int, chunk: str) -> Range | None:
    """Read the key `chunk` of a chunk of the object `key`; None when no such chunk was ever signed."""
    prefix = chunks_prefix(key)
    found = _CHUNK.fullmatch(chunk.removeprefix(prefix)) if chunk.startswith(prefix) else None
    if found is None:
        return None
    part, offset, length = (int(number) for number in found.groups())
    read = Range((part - 1) * PART_SIZE + offset, length)
    try:
        check_chunk(size_bytes, read)
    except ValueError:
        return None
    return read if chunk == chunk_key(key, read) else None


def chunk_owner(chunk: str) -> tuple[UUID, UUID]:
    """Tenant and upload of a key of the chunks bucket.

    Raises ValueError for a key that is not one of ours.
    """
    owner, part, place = chunk.rsplit("/", 2)
    if not _KEY.fullmatch(f"live/{owner}") or not _CHUNK.fullmatch(f"{part}/{place}"):
        raise ValueError(f"not a chunk of ours: {chunk!r}")
    tenant_id, upload_id = (UUID(each) for each in owner.split("/"))
    return tenant_id, upload_id


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes in as few ranges as can be, in order."""
    found: list[Range] = []
    for each in sorted(ranges):
        if found and each.offset <= found[-1].end:
            last = found.pop()
            each = Range(last.offset, max(last.end, each.end) - last.offset)  # noqa: PLW2901 - they have become one
        found.append(each)
    return found


def missing(size_bytes: int, held: Iterable[Range]) -> list[Range]:
    """What of a file `held` leaves out, in order."""
    gaps: list[Range] = []
    reached = 0
    for each in [*merged(held), Range(size_bytes, 0)]:
        if each.offset > reached:
            gaps.append(Range(reached, each.offset - reached))
        reached = each.end
    return gaps
