"""Reads untrusted pictures with libvips; runs in a child process only (see `derive`)."""

from pathlib import Path

import msgspec
import pyvips

from buildpeer.facts import Media
from buildpeer.processing.derive import (
    DAMAGED,
    NO_PREVIEW,
    PICTURED,
    PREVIEW,
    THUMBNAIL,
    TOO_LARGE,
    Derived,
    Picture,
    Request,
)
from buildpeer.processing.exif import read_exif

MAX_PIXELS = 200_000_000  # twice the largest phone camera
PREVIEW_PX = 1600
THUMBNAIL_PX = 400
ORIENTATIONS = range(1, 9)
SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height

# libvips may open these and nothing else, whatever a file pretends to be
pyvips.operation_block_set("VipsForeignLoad", True)
pyvips.operation_block_set("VipsForeignLoadJpeg", False)
pyvips.operation_block_set("VipsForeignLoadPng", False)
pyvips.cache_set_max(0)  # every file comes once


def answer(request: bytes) -> bytes:
    """The child's door: a Request to a Derived, in msgpack."""
    asked = msgspec.msgpack.decode(request, type=Request)
    return msgspec.msgpack.encode(render(Path(asked.path), content_type=asked.content_type, folder=Path(asked.folder)))


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    if content_type not in PICTURED:
        return Derived(reason=NO_PREVIEW)
    media = Media()
    try:
        header = pyvips.Image.new_from_file(str(path), access="sequential")  # reads no pixels yet
        media = _media(header)
        if header.width * header.height > MAX_PIXELS:
            return Derived(media=media, reason=TOO_LARGE)
        preview = _shrink(path)
        return Derived(
            media=media,
            preview=_save(preview, folder / PREVIEW, quality=80),
            thumbnail=_save(_fit(preview, THUMBNAIL_PX), folder / THUMBNAIL, quality=75),
        )
    except pyvips.Error as exc:
        return Derived(media=media, reason=TOO_LARGE if _out_of_memory(exc) else DAMAGED)


def _media(header: pyvips.Image) -> Media:
    orientation = header.get("orientation") if header.get_typeof("orientation") else 1
    width, height = header.width, header.height
    if orientation in SIDEWAYS:
        width, height = height, width
    exif = read_exif(_exif(header))
    return Media(
        width=width,
        height=height,
        captured_at=exif.captured_at,
        latitude=exif.latitude,
        longitude=exif.longitude,
        camera=exif.camera,
    )


def _exif(header: pyvips.Image) -> bytes:
    blob = header.get("exif-data") if header.get_typeof("exif-data") else b""
    return blob if isinstance(blob, bytes) else b""


def _shrink(path: Path) -> pyvips.Image:
    """The upright preview in sRGB, in memory: the only time that the file is decoded."""
    return pyvips.Image.thumbnail(
        str(path),
        PREVIEW_PX,
        height=PREVIEW_PX,
        size="down",
        output_profile="srgb",
        fail_on="error",
    ).copy_memory()


def _fit(image: pyvips.Image, pixels: int) -> pyvips.Image:
    return image.thumbnail_image(pixels, height=pixels, size="down")


def _save(image: pyvips.Image, path: Path, *, quality: int) -> Picture:
    image.webpsave(str(path), Q=quality, effort=3, keep=0)
    return Picture(image.width, image.height, path.stat().st_size)


def _out_of_memory(error: pyvips.Error) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "insufficient memory" in text
