"""Pages as deep as people zoom: one picture, and a pyramid of tiles in one file that is read by ranges.

The file is a PMTiles archive, version 3 (https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md): a header of
127 bytes, a directory of the tiles, and the tiles, 512 pixels square, JPEG. Level 0 is one tile; each level doubles the
one before it, down to the page's own pixels at the top left. A tile that isn't there is white.
"""

import gzip
import json
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pyvips

from buildpeer.facts import PageMade, PagePicture
from buildpeer.facts import Tiles as TilesMade
from buildpeer.processing.derive import PAGE, PREVIEW_PX, TILES, TILES_START

TILE_PX = 512
MAX_PX = 8192  # an A0 sheet at 175 dpi, on which letters of 2 mm are 14 pixels high
QUALITY = 75
_JPEG, _GZIPPED, _PLAIN = 3, 2, 1
_HEADER = struct.Struct("<8s11Q6B4iB2i")
_WORLD = (-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000)  # a page lies nowhere on earth

Tile = tuple[int, int, int]  # level, column, row


class Looked(msgspec.Struct, frozen=True):
    """A page in memory, upright and in sRGB, and the size of its sheet where the file knows it."""

    image: pyvips.Image
    size_mm: tuple[int, int] | None = None


def keep_page(image: pyvips.Image, folder: Path) -> PageMade:
    """Write a page that is in memory, upright and in sRGB: its picture, and its tiles if it is twice as large.

    Raises pyvips.Error.
    """
    picture = image.thumbnail_image(PREVIEW_PX, height=PREVIEW_PX, size="down")
    picture.webpsave(str(folder / PAGE), Q=80, effort=2, keep=0)
    made = PagePicture(picture.width, picture.height, (folder / PAGE).stat().st_size)
    if max(image.width, image.height) < 2 * PREVIEW_PX:
        return PageMade(picture=made)
    size = _keep_tiles(image, folder / TILES)
    return PageMade(picture=made, tiles=TilesMade(image.width, image.height, size))


def tile_id(tile: Tile) -> int:
    """The place of a tile in the order of PMTiles: level by level, and along Hilbert's curve within one."""
    level, x, y = tile
    number = (4**level - 1) // 3  # tiles of the levels above
    side = 1 << level
    while side > 1:
        half = side // 2
        right, down = x >= half, y >= half
        number += half * half * (3 * right ^ down)
        x, y = x % half, y % half
        if not down:  # the quarter is turned, so that one end meets the next
            x, y = (half - 1 - y, half - 1 - x) if right else (y, x)
        side = half
    return number


def pack(tiles: Iterable[tuple[Tile, bytes]], to: Path, *, width: int, height: int) -> int:
    """Write tiles as one PMTiles file, in their order; returns its bytes."""
    ordered = sorted(((tile_id(tile), tile[0], data) for tile, data in tiles), key=lambda each: each[0])
    directory = gzip.compress(_directory([(number, len(data)) for number, _, data in ordered]), mtime=0)
    words = gzip.compress(json.dumps({"width": width, "height": height, "tile_size": TILE_PX}).encode(), mtime=0)
    at = _HEADER.size
    places = (at, len(directory), at + len(directory), len(words), 0, 0, at + len(directory) + len(words))
    total, count, deepest = sum(len(data) for *_, data in ordered), len(ordered), max(level for _, level, _ in ordered)
    kinds = (1, _GZIPPED, _PLAIN, _JPEG, 0, deepest)
    with to.open("wb") as file:
        file.write(_HEADER.pack(TILES_START, *places, total, count, count, count, *kinds, *_WORLD, 0, 0, 0))
        file.write(directory + words)
        for *_, data in ordered:
            file.write(data)
    return to.stat().st_size


def _keep_tiles(image: pyvips.Image, to: Path) -> int:
    if image.hasalpha():
        image = image.flatten(background=[255])
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        root = Path(folder, "tiles")
        image.dzsave(
            str(root), layout="google", tile_size=TILE_PX, suffix=f".jpg[Q={QUALITY},keep=none]", background=[255]
        )
        # libvips names them level/row/column
        found = ((file.relative_to(root).with_suffix("").parts, file) for file in root.glob("*/*/*.jpg"))
        tiles = (((int(z), int(x), int(y)), file.read_bytes()) for (z, y, x), file in found)
        return pack(tiles, to, width=image.width, height=image.height)


def _directory(entries: list[tuple[int, int]]) -> bytes:
    """The directory of tiles that lie one behind the other: (id, bytes) each."""
    out = bytearray(_varint(len(entries)))
    last = 0
    for number, _ in entries:
        out += _varint(number - last)
        last = number
    out += b"".join(_varint(1) for _ in entries)  # tiles in a row that are alike: none
    out += b"".join(_varint(size) for _, size in entries)
    out += b"".join(_varint(0 if place else 1) for place in range(len(entries)))  # from 0 on, each behind the last
    return bytes(out)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
