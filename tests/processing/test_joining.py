from hypothesis import given
from hypothesis import strategies as st

from buildpeer.processing.joining import join

PIECES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=10)


@given(st.binary(min_size=1, max_size=40), PIECES)
def test_a_part_comes_whole_and_true_or_not_at_all(part: bytes, places: list[tuple[int, int]]) -> None:
    chunks = sorted((at, part[at : at + length]) for at, length in places if part[at : at + length])
    covered = {byte for at, chunk in chunks for byte in range(at, at + len(chunk))}
    assert join(len(part), chunks) == (part if covered == set(range(len(part))) else "incomplete")


@given(st.binary(min_size=4, max_size=40), st.data())
def test_one_wrong_byte_under_an_overlap_is_seen(part: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(part) - 1))
    end = data.draw(st.integers(start + 1, len(part)))
    wrong = data.draw(st.integers(start, end - 1))
    other = bytearray(part)
    other[wrong] ^= 1
    chunks = sorted([(0, part), (start, bytes(other[start:end]))])
    assert join(len(part), chunks) == "differ"


def test_what_reaches_beyond_the_part_is_no_part() -> None:
    assert join(3, [(0, b"abcd")]) == "incomplete"
    assert join(3, []) == "incomplete"
