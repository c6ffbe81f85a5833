"""Test vectors of the upload protocol, made by the server's and the client's own code; `make vectors` writes them."""

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from buildpeer import layout
from buildpeer.client.api import Patience
from buildpeer.layout import CELL, MIB, MOST_CELLS, PART_SIZE, Range
from buildpeer.modules.uploads import rules
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7, new_id

CHUNK = MOST_CELLS * CELL
EDGES = (CELL, CHUNK, PART_SIZE, 2 * PART_SIZE, 8 * PART_SIZE, 200 * MIB)
SIZES = sorted({1, 2, 307_200, 12_345_678, *(edge + step for edge in EDGES for step in (-1, 0, 1))} - {200 * MIB + 1})
FILE = 20_000_000  # of the examples with ranges: three parts, the last cell cut short


def fails(check: Callable[[], object]) -> str | None:
    """What a check says against its case; None if nothing."""
    try:
        check()
    except (ValueError, Problem) as exc:
        return exc.code if isinstance(exc, Problem) else str(exc)
    return None


def cut(size: int) -> dict[str, Any]:
    count = layout.part_count(size)
    last = layout.part_range(size, count)
    cells = -(-size // CELL)
    return {
        "size_bytes": size,
        "transports": ["parts", "chunks"] if count > 1 else ["whole", "chunks"],
        "parts": count,
        "last_part": last,
        "cells": cells,
        "last_cell": Range((cells - 1) * CELL, size - (cells - 1) * CELL),
        "fewest_chunks": -(-size // CHUNK),
    }


def merging(*ranges: tuple[int, int]) -> dict[str, Any]:
    given = [Range(*each) for each in ranges]
    return {
        "size_bytes": FILE,
        "received": given,
        "merged": layout.merged(given),
        "missing": layout.missing(FILE, given),
    }


def chunk(offset: int, length: int, size: int = FILE) -> dict[str, Any]:
    each = Range(offset, length)
    error = fails(lambda: layout.check_chunk(size, each))
    return {"size_bytes": size, "chunk": each, "valid": error is None, "why_not": error}


def hashing(content: bytes) -> dict[str, str]:
    digest = hashlib.sha256(content)
    return {
        "utf8": content.decode(),
        "sha256": digest.hexdigest(),
        "x-amz-checksum-sha256": base64.b64encode(digest.digest()).decode(),
    }


def uuid7(text: str) -> dict[str, Any]:
    value = UUID(text)
    valid = is_uuid7(value)
    return {"upload_id": text, "valid": valid, "unix_ms": value.int >> 80 if valid else None}


def declared(kind: rules.Kind, size: int) -> dict[str, Any]:
    new = rules.NewUpload(new_id(), kind, "a.pdf", size, "application/pdf", "0" * 64)
    return {"kind": kind, "size_bytes": size, "problem": fails(lambda: rules.check_new(new))}


def key(offset: int, length: int) -> dict[str, Any]:
    each = Range(offset, length)
    place = rules.Place("live", UUID(int=1), UUID("01a208dc-859a-7594-9367-0ff541c54673"))
    return {"chunk": each, "uploads": place.key, "chunks": layout.chunk_key(place.key, each)}


def name(text: str) -> dict[str, Any]:
    return {"name": text, "problem": fails(lambda: rules.check_name(text))}


def pause(failures: int) -> dict[str, Any]:
    most = min(Patience().longest_s, Patience().first_s * 2 ** (failures - 1))
    return {"failures": failures, "least_s": most / 2, "most_s": most}


LAST = FILE // CELL * CELL  # where the last cell begins
VECTORS: dict[str, Any] = {
    "constants": {
        "part_bytes": PART_SIZE,
        "cell_bytes": CELL,
        "most_cells_of_a_chunk": MOST_CELLS,
        "uploads_per_call": rules.MAX_BATCH,
        "urls_per_call": rules.URLS_PER_CALL,
        "urls_per_opening": rules.URLS_PER_BATCH,
        "size_limits": rules.SIZE_LIMITS,
        "failures_in_a_row": Patience().failures,
    },
    "cutting": [cut(size) for size in SIZES],
    "parts": [
        {"size_bytes": FILE, "part_number": number, "range": layout.part_range(FILE, number)}
        for number in range(1, layout.part_count(FILE) + 1)
    ],
    "ranges": [
        merging(),
        merging((0, FILE)),
        merging((0, PART_SIZE)),
        merging((PART_SIZE, PART_SIZE), (0, PART_SIZE)),
        merging((CELL, CELL), (0, CELL), (3 * CELL, CELL)),
        merging((0, 4 * CELL), (2 * CELL, 4 * CELL), (2 * CELL, CELL)),
        merging((0, CELL), (0, CELL)),
        merging((LAST, FILE - LAST)),
        merging((0, LAST)),
        merging((PART_SIZE - CELL, CELL), (PART_SIZE, CELL), (2 * PART_SIZE, FILE - 2 * PART_SIZE)),
    ],
    "chunks": [
        chunk(0, CELL),
        chunk(0, CHUNK),
        chunk(PART_SIZE - CELL, CELL),
        chunk(PART_SIZE, CHUNK),
        chunk(LAST, FILE - LAST),
        chunk(LAST - CELL, FILE - LAST + CELL),
        chunk(0, 1, size=1),
        chunk(0, CELL - 1, size=CELL - 1),
        chunk(0, 0),
        chunk(0, CHUNK + CELL),
        chunk(1, CELL),
        chunk(-CELL, CELL),
        chunk(0, CELL - 1),
        chunk(0, CELL + 1),
        chunk(PART_SIZE - CELL, 2 * CELL),
        chunk(LAST, FILE - LAST - 1),
        chunk(LAST, FILE - LAST + 1),
        chunk(FILE, CELL),
    ],
    "keys": [
        key(0, CHUNK),
        key(3 * CELL, CELL),
        key(PART_SIZE - CELL, CELL),
        key(PART_SIZE, CHUNK),
        key(LAST, FILE - LAST),
    ],
    "declared": [
        declared(kind, size) for kind, limit in rules.SIZE_LIMITS.items() for size in (0, 1, limit, limit + 1)
    ],
    "upload_ids": [
        uuid7("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),  # RFC 9562, A.6
        uuid7("01a208dc-859a-7594-9367-0ff541c54673"),
        uuid7("919108f7-52d1-4320-9bac-f847db4148a8"),  # RFC 9562, A.3
        uuid7("00000000-0000-0000-0000-000000000000"),
        uuid7("017f22e2-79b0-7cc3-d8c4-dc0c0c07398f"),
    ],
    "hashes": [hashing(b"abc"), hashing("Losa Ñuñoa – nível 3".encode())],
    "names": [
        name("Plano Ñ – 3ª fase 👷.pdf"),
        name("Plano N\u0303.pdf"),
        name(""),
        name("  "),
        name(".."),
        name("a/b.jpg"),
        name("a\\b.jpg"),
        name("a\tb.jpg"),
        name("x" * 255),
        name("x" * 256),
    ],
    "pauses": [pause(failures) for failures in range(1, Patience().failures)],
}


def text() -> str:
    """The vectors as JSON, a case a line."""
    plain = msgspec.to_builtins(VECTORS)
    rooms = []
    for title, cases in plain.items():
        if isinstance(cases, list):
            lines = ",\n    ".join(json.dumps(case, ensure_ascii=False) for case in cases)
            rooms.append(f'  "{title}": [\n    {lines}\n  ]')
        else:
            rooms.append(f'  "{title}": {json.dumps(cases)}')
    return "{\n" + ",\n".join(rooms) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(text())
