"""Pages and their tiles: what a phone fetches to open a large sheet, found by a reader after the format's book."""

import gzip
import io
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.samples import make_photo, make_plan
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops
from tests.processing.pictures import distance, noisy, opened, save, scene
from tests.processing.zoo import pdf

from buildpeer.facts import PageMade
from buildpeer.processing.derive import Deriver
from buildpeer.processing.identify import content_type_of
from buildpeer.processing.tiles import pack, tile_id

HEAD = 16 * 1024  # what readers of PMTiles fetch first: the header and the directory must be in it
SCREEN_PX = 1080  # across a phone


class Reader:
    """Reads a PMTiles file by ranges, and counts their bytes; written from the format's description alone."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read, self.fetched, self.requests = read, 0, 0
        head = self.range(0, HEAD)
        assert head[:8] == b"PMTiles\x03"
        numbers = struct.unpack("<11Q", head[8:96])
        at, length, words_at, words_length, _, _, self._tiles_at, self.tiles_length, *self.counts = numbers
        assert at + length <= HEAD
        assert head[96:100] == bytes((1, 2, 1, 3))  # clustered, gzip within, tiles as they are, JPEG
        self.deepest = head[101]
        self.words = json.loads(gzip.decompress(head[words_at : words_at + words_length]))
        self.places = directory(gzip.decompress(head[at : at + length]))

    def range(self, start: int, length: int) -> bytes:
        data = self._read(start, length)
        self.fetched += len(data)
        self.requests += 1
        return data

    def tile(self, level: int, x: int, y: int) -> Image.Image | None:
        place = self.places.get(number(level, x, y))
        return None if place is None else Image.open(io.BytesIO(self.range(self._tiles_at + place[0], place[1])))

    def level(self, level: int) -> Image.Image:
        """A whole level, as a screen shows it."""
        scale = 2 ** (self.deepest - level)
        width, height = (-(-self.words[side] // scale) for side in ("width", "height"))
        image = Image.new("RGB", (width, height), "white")
        for x in range(-(-width // 512)):
            for y in range(-(-height // 512)):
                if tile := self.tile(level, x, y):
                    image.paste(tile, (x * 512, y * 512))
        return image


def directory(data: bytes) -> dict[int, tuple[int, int]]:
    """Tile id to offset and length."""
    values, at = list[int](), 0
    while at < len(data):
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        values.append(value)
    count = values.pop(0)
    deltas, runs, lengths, offsets = (values[n * count : (n + 1) * count] for n in range(4))
    assert runs == [1] * count
    places, tile, end = dict[int, tuple[int, int]](), 0, 0
    for delta, length, offset in zip(deltas, lengths, offsets, strict=True):
        tile += delta
        start = end if offset == 0 else offset - 1
        places[tile] = (start, length)
        end = start + length
    return places


def number(level: int, x: int, y: int) -> int:
    """The id of a tile, by walking Hilbert's curve from its beginning until the tile is met."""
    before = sum(4**above for above in range(level))
    for step in range(4**level):
        if walked(level, step) == (x, y):
            return before + step
    raise AssertionError


def walked(level: int, step: int) -> tuple[int, int]:
    x = y = 0
    side = 1
    while side < 2**level:
        right = 1 & (step // 2)
        down = 1 & (step ^ right)
        if down == 0:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        x, y = x + side * right, y + side * down
        step //= 4
        side *= 2
    return x, y


def test_tiles_stand_in_the_order_of_the_format() -> None:
    # the ids that the format's description gives as examples
    assert [tile_id(each) for each in ((0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0), (2, 0, 0))] == list(
        range(6)
    )
    assert tile_id((12, 3423, 1763)) == 19078479
    for level in range(5):
        for x in range(2**level):
            for y in range(2**level):
                assert tile_id((level, x, y)) == number(level, x, y)


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 7), st.integers(0, 0), st.integers(0, 0)), st.binary(max_size=300), min_size=1
    )
)
def test_what_is_packed_is_found(tmp_path_factory: pytest.TempPathFactory, tiles: dict) -> None:
    path = tmp_path_factory.mktemp("packed") / "tiles"
    size = pack(tiles.items(), path, width=10, height=20)
    data = path.read_bytes()
    reader = Reader(lambda start, length: data[start : start + length])
    assert (size, reader.words) == (len(data), {"width": 10, "height": 20, "tile_size": 512})
    at = len(data) - reader.tiles_length
    found = {id_: data[at + start : at + start + length] for id_, (start, length) in reader.places.items()}
    assert found == {tile_id(tile): content for tile, content in tiles.items()}


@pytest.fixture
def look(deriver: Deriver, tmp_path: Path) -> Callable[..., PageMade]:
    def run(data: bytes, number: int = 1) -> PageMade:
        path = tmp_path / "file"
        path.write_bytes(data)
        return deriver.page(path, content_type=content_type_of(path), folder=tmp_path, number=number)

    return run


def reader_of(folder: Path) -> Reader:
    def read(start: int, length: int) -> bytes:
        with (folder / "page.pmtiles").open("rb") as file:
            file.seek(start)
            return file.read(length)

    return Reader(read)


@pytest.fixture(scope="module")
def photo() -> bytes:
    return make_photo(random.Random(5), size=4_000_000)


@pytest.mark.parametrize("drawn_over_a_photo", [True, False])
def test_a_phone_opens_an_a0_sheet_of_50_mb_by_fetching_under_300_kb(
    look, deriver: Deriver, tmp_path: Path, photo: bytes, drawn_over_a_photo: bool
) -> None:
    small = save(Image.new("RGB", (400, 300), "white"))
    sheet = make_plan(random.Random(6), photo if drawn_over_a_photo else small, 50_000_000)
    assert len(sheet) > 50_000_000
    made = look(sheet)
    assert made.tiles and (made.tiles.width, made.picture.width) == (8192, 1600)
    reader = reader_of(tmp_path)
    level = next(n for n in range(reader.deepest + 1) if 512 * 2**n >= SCREEN_PX * 0.9)
    first_view = reader.level(level)
    assert first_view.width >= SCREEN_PX * 0.9
    assert reader.fetched < 300_000 and reader.requests <= 5
    assert peak_mb(deriver) < 600


def peak_mb(deriver: Deriver) -> float:
    path = Path(f"/proc/{deriver.child.pid}/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0)


def test_every_level_shows_the_page_and_white_tiles_are_left_out(look, tmp_path: Path) -> None:
    drawn = b"1 0 0 rg 0 0 600 600 re f 0 0 1 rg 1200 900 600 600 re f"
    made = look(pdf(sheet=b"[0 0 2384 1684]").replace(b"BT /F1", drawn + b" BT /F1"))
    reader, picture = reader_of(tmp_path), opened(tmp_path / "page.webp").convert("RGB")
    assert made.tiles.size == (tmp_path / "page.pmtiles").stat().st_size
    for level in range(reader.deepest + 1):
        shown = reader.level(level)
        assert distance(shown.resize(picture.size), picture) < 8, level
    columns, rows = -(-made.tiles.width // 512), -(-made.tiles.height // 512)
    finest = [tile for tile in reader.places if tile >= (4**reader.deepest - 1) // 3]
    assert 0 < len(finest) < columns * rows * 0.7


def test_pages_are_of_the_number_that_is_asked(look, tmp_path: Path) -> None:
    first, second = scene(300, 200), ImageChops.invert(scene(300, 200))
    out = io.BytesIO()
    first.save(out, "TIFF", save_all=True, append_images=[second])
    for number, expected in ((1, first), (2, second)):
        assert look(out.getvalue(), number).reason == ""
        assert distance(opened(tmp_path / "page.webp"), expected) < 6
    assert look(out.getvalue(), 3).reason == "image_damaged"
    assert look(pdf(), 2).reason == "pdf_damaged"


def test_a_turned_photo_is_tiled_upright(look, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = scene(2400, 3300)
    made = look(save(upright.transpose(Image.Transpose.ROTATE_90), exif=exif))
    assert (made.tiles.width, made.tiles.height) == (2400, 3300)
    assert distance(reader_of(tmp_path).level(0), upright.resize((300, 413))) < 10


def test_small_pages_have_a_picture_alone_and_damaged_ones_a_reason(look) -> None:
    small = look(pdf(sheet=b"[0 0 595 842]"))
    assert (small.picture.height, small.tiles, small.reason) == (1600, None, "")
    broken = save(noisy(3400, 200))
    assert look(broken[: len(broken) // 2]) == PageMade(reason="image_damaged")
    assert look(b"PK\x03\x04") == PageMade(reason="no_preview_for_type")
