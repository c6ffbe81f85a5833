"""Two sheets in one picture: what only the older one has is red, what only the newer one has is blue, the rest grey."""

from pathlib import Path

import pyvips

from buildpeer.facts import Alignment, OverlayMade
from buildpeer.processing.tiles import Looked, keep_page

OVERLAY_PX = 5000  # an A1 sheet at 150 dpi
SAME = 0.02  # by how much sides or shapes may differ and still count as the same
GREY = 0.45  # how dark is what both have, of 1


def keep_overlay(newer: Looked, older: Looked, folder: Path) -> OverlayMade:
    """Write a page laid over another: its picture and tiles, like those of a page. Raises pyvips.Error."""
    image, alignment = lay_over(newer, older)
    made = keep_page(image, folder)
    return OverlayMade(picture=made.picture, tiles=made.tiles, alignment=alignment)


def lay_over(newer: Looked, older: Looked) -> tuple[pyvips.Image, Alignment]:
    """One picture of two pages; ink within a pixel of the other page's is the same ink. Raises pyvips.Error."""
    alignment, sizes = _aligned(newer, older)
    width, height = (max(side) for side in zip(*sizes, strict=True))
    scale = min(OVERLAY_PX / max(width, height), newer.image.width / sizes[0][0])
    canvas = max(1, round(width * scale)), max(1, round(height * scale))
    new, old = (_ink(looked.image, size[0] * scale, canvas) for looked, size in zip((newer, older), sizes, strict=True))
    near_new, near_old = new.rank(3, 3, 8), old.rank(3, 3, 8)
    added, removed = _beyond(new, near_old), _beyond(old, near_new)
    in_both = (new - added).cast("uchar")
    kept = (255 - in_both * GREY).copy_memory()
    picture = (kept - added).bandjoin([kept - added - removed, kept - removed]).cast("uchar")
    return picture.copy(interpretation="srgb").copy_memory(), alignment


def _aligned(newer: Looked, older: Looked) -> tuple[Alignment, tuple[tuple[float, float], tuple[float, float]]]:
    """How they lie on each other, and the sizes of both in one unit."""
    new, old = _size(newer), _size(older)
    if newer.size_mm and older.size_mm and all(abs(a / b - 1) < SAME for a, b in zip(new, old, strict=True)):
        return "same_size", (new, old)
    if abs((new[0] / new[1]) / (old[0] / old[1]) - 1) < SAME:
        return "same_width", (new, (new[0], old[1] * new[0] / old[0]))
    if newer.size_mm and older.size_mm:
        return "top_left", (new, old)
    return "top_left", (new, (new[0], old[1] * new[0] / old[0]))  # no scale to be had: at least as wide


def _size(looked: Looked) -> tuple[float, float]:
    width, height = looked.size_mm or (looked.image.width, looked.image.height)
    return max(width, 1), max(height, 1)


def _ink(image: pyvips.Image, width: float, canvas: tuple[int, int]) -> pyvips.Image:
    """How much ink there is, 0 to 255, at the top left of a canvas without any."""
    flat = image.flatten(background=[255]) if image.hasalpha() else image
    grey = flat.colourspace("b-w")[0].resize(width / image.width)
    return grey.invert().embed(0, 0, *canvas).copy_memory()


def _beyond(ink: pyvips.Image, covered: pyvips.Image) -> pyvips.Image:
    return (ink > covered).ifthenelse(ink - covered, 0).cast("uchar")
