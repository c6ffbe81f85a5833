"""The grid of a file, against sets of bytes; sizes are scaled so that a set is small."""

import itertools
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer import layout
from buildpeer.layout import CELL, MIB, MOST_CELLS, PART_SIZE, Range

RANGES = st.lists(st.builds(Range, st.integers(0, 60), st.integers(0, 20)), max_size=8)
SIZES = st.integers(1, 200 * MIB)
KEY = "live/0197a3c1-6a50-7c52-9d40-53a1f7d3b001/0197a3c1-6a50-7c52-9d40-53a1f7d3b002"


def numbers(ranges: list[Range]) -> set[int]:
    return {byte for each in ranges for byte in range(each.offset, each.end)}


@given(RANGES.map(lambda ranges: [each for each in ranges if each.length]))
def test_merging_keeps_every_byte_and_leaves_gaps_between_ranges(ranges: list[Range]) -> None:
    merged = layout.merged(ranges)
    assert numbers(merged) == numbers(ranges)
    assert all(left.end < right.offset for left, right in itertools.pairwise(merged))


@given(st.integers(1, 80), RANGES)
def test_what_is_missing_is_what_was_not_held(size: int, held: list[Range]) -> None:
    held = [each for each in held if each.length and each.end <= size]
    missing = layout.missing(size, held)
    assert numbers(missing) == set(range(size)) - numbers(held)
    assert layout.merged(missing) == missing


@given(SIZES)
def test_parts_lie_end_to_end_and_fill_the_file(size: int) -> None:
    parts = [layout.part_range(size, number) for number in range(1, layout.part_count(size) + 1)]
    assert layout.merged(parts) == [Range(0, size)]
    assert sum(part.length for part in parts) == size
    assert all(part.length == PART_SIZE for part in parts[:-1])


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_part_that_the_file_does_not_have_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="parts 1 to 2"):
        layout.part_range(PART_SIZE + 1, number)


@given(st.data(), SIZES)
def test_every_chunk_of_the_grid_is_read_back_from_its_key(data: st.DataObject, size: int) -> None:
    cell = data.draw(st.integers(0, (size - 1) // CELL))
    offset = cell * CELL
    room = layout.part_range(size, layout.part_of(offset)).end - offset
    chunk = Range(offset, min(room, data.draw(st.integers(1, MOST_CELLS)) * CELL))
    layout.check_chunk(size, chunk)
    key = layout.chunk_key(KEY, chunk)
    assert layout.chunk_of(KEY, size, key) == chunk
    assert key.startswith(layout.chunks_prefix(KEY, layout.part_of(offset)))
    assert layout.chunk_of(KEY.replace("live", "bulk"), size, key) == chunk  # the lane is none of its business
    assert layout.chunk_of(f"live/{uuid4()}/{uuid4()}", size, key) is None


@given(SIZES, st.integers(-CELL, 201 * MIB), st.integers(-1, 2 * MIB))
def test_a_chunk_is_some_cells_of_one_part_or_refused(size: int, offset: int, length: int) -> None:
    end = offset + length
    fits = 0 <= offset < end <= size and (length % CELL == 0 or end == size) and length <= MOST_CELLS * CELL
    fits = fits and offset % CELL == 0 and offset // PART_SIZE == (end - 1) // PART_SIZE
    try:
        layout.check_chunk(size, Range(offset, length))
    except ValueError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize(
    "key",
    [
        "00001/0000000-0131072/more",
        "00001/0000000-131072",
        "00000/0000000-0131072",
        "00001/0000001-0131072",
        "00001/0000000-0131071",
        "00001/8388608-0131072",  # the second part, by another name
        "00003/0000000-0131072",
        "../00001/0000000-0131072",
        "",
    ],
)
def test_a_key_that_was_never_signed_is_no_chunk(key: str) -> None:
    assert layout.chunk_of(KEY, 2 * PART_SIZE, layout.chunks_prefix(KEY) + key) is None


@pytest.mark.parametrize("key", ["", "a/b", "other/" + KEY, KEY + "/x", KEY.removeprefix("live/"), KEY.upper()])
def test_only_keys_of_ours_have_chunks(key: str) -> None:
    with pytest.raises(ValueError, match="not a key of ours"):
        layout.chunks_prefix(key)


@given(SIZES, st.integers(1, MOST_CELLS), st.integers(1, 200))
def test_the_first_chunks_lie_end_to_end_from_the_beginning_and_each_is_one(size: int, cells: int, most: int) -> None:
    chunks = layout.first_chunks(size, cells * CELL, most)
    for chunk in chunks:
        layout.check_chunk(size, chunk)
    assert layout.merged(chunks) == [Range(0, sum(chunk.length for chunk in chunks))]
    assert len(chunks) == most or chunks[-1].end == size
