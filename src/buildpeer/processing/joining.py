"""Chunks in, one part out."""

from collections.abc import Iterable
from typing import Literal


def join(length: int, chunks: Iterable[tuple[int, bytes]]) -> bytes | Literal["incomplete", "differ"]:
    """The `length` bytes of a part, from chunks sorted by their offsets in it; or why they make none.

    Takes one chunk at a time, so that a part and a chunk are all there is in memory. incomplete: bytes are missing.
    differ: two chunks say otherwise of the same bytes.
    """
    part = bytearray()
    for offset, chunk in chunks:
        if offset > len(part):
            return "incomplete"
        known = bytes(part[offset : offset + len(chunk)])
        if not chunk.startswith(known):
            return "differ"
        part += chunk[len(known) :]
    return bytes(part) if len(part) == length else "incomplete"
