"""Reads untrusted pictures with libvips, and makes our own; runs in a child process only (see `derive`)."""

from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import msgspec
import pyvips

from buildpeer.facts import Media
from buildpeer.processing.derive import (
    DAMAGED,
    PREVIEW,
    PREVIEW_PX,
    THUMBNAIL,
    THUMBNAIL_PX,
    TOO_LARGE,
    Derived,
    Picture,
    tell,
)
from buildpeer.processing.exif import read_exif
from buildpeer.processing.identify import JPEG, PNG, TIFF, WEBP
from buildpeer.processing.tiles import Looked

MAX_PIXELS = 200_000_000  # twice the largest phone camera
MAX_SCAN_PIXELS = 600_000_000  # an A0 plan scanned at 600 dpi; libvips streams it
ORIENTATIONS = range(1, 9)
SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height

LOADERS = {JPEG: "jpegload", PNG: "pngload", WEBP: "webpload", TIFF: "tiffload"}

# libvips may open these and nothing else, whatever a file pretends to be
pyvips.operation_block_set("VipsForeignLoad", True)
pyvips.operation_block_set("VipsForeignLoadJpeg", False)
pyvips.operation_block_set("VipsForeignLoadPng", False)
pyvips.operation_block_set("VipsForeignLoadWebp", False)
pyvips.operation_block_set("VipsForeignLoadTiff", False)
pyvips.cache_set_max(0)  # every file comes once


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    media = Media()
    try:
        header = pyvips.Image.new_from_file(str(path), access="sequential")  # reads no pixels yet
        if header.get("vips-loader") != LOADERS[content_type]:
            return Derived(reason=DAMAGED)
        media = _media(header, path, content_type)
        tell(media, folder)
        if header.width * header.height > (MAX_SCAN_PIXELS if content_type == TIFF else MAX_PIXELS):
            return Derived(media=media, reason=TOO_LARGE)
        return keep(_shrink(str(path), header, PREVIEW_PX), media, folder)
    except pyvips.Error as exc:
        return Derived(media=media, reason=TOO_LARGE if out_of_memory(exc) else DAMAGED)


def look(path: Path, *, content_type: str, number: int, most_px: int) -> Looked | str:
    """A page, or why there is none; may crash, hang, or fill the memory."""
    try:
        source = f"{path}[page={number - 1}]" if content_type == TIFF else str(path)
        header = pyvips.Image.new_from_file(source, access="sequential")
        if header.get("vips-loader") != LOADERS[content_type]:
            return DAMAGED
        if header.width * header.height > (MAX_SCAN_PIXELS if content_type == TIFF else MAX_PIXELS):
            return TOO_LARGE
        return Looked(_shrink(source, header, most_px))
    except pyvips.Error as exc:
        return TOO_LARGE if out_of_memory(exc) else DAMAGED


def media_of(width: int, height: int, *, orientation: int, exif: bytes | mmap) -> Media:
    """What a camera wrote, with the size once upright."""
    if orientation in SIDEWAYS:
        width, height = height, width
    found = read_exif(exif)
    return Media(
        width=width,
        height=height,
        captured_at=found.captured_at,
        gps_at=found.gps_at,
        latitude=found.latitude,
        longitude=found.longitude,
        camera=found.camera,
    )


def shrink(image: pyvips.Image, longest_px: int = PREVIEW_PX) -> pyvips.Image:
    """The upright picture in sRGB, in memory, of pixels decoded elsewhere; raises pyvips.Error."""
    return image.thumbnail_image(
        longest_px, height=longest_px, size="down", fail_on="error", **_conversion(image)
    ).copy_memory()


def keep(preview: pyvips.Image, media: Media, folder: Path) -> Derived:
    """Write both pictures, of a preview that is in memory; raises pyvips.Error."""
    thumbnail = preview.thumbnail_image(THUMBNAIL_PX, height=THUMBNAIL_PX, size="down")
    return Derived(
        media=media,
        preview=_save(preview, folder / PREVIEW, quality=80),
        thumbnail=_save(thumbnail, folder / THUMBNAIL, quality=75),
    )


def out_of_memory(error: Exception) -> bool:
    """Whether a decoder failed for want of memory, as far as its words tell."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("out of memory", "insufficient memory", "memory allocation", "security limit")
    )


def _media(header: pyvips.Image, path: Path, content_type: str) -> Media:
    orientation, pages = _number(header, "orientation"), _number(header, "n-pages")
    if content_type != TIFF:
        return media_of(header.width, header.height, orientation=orientation, exif=_exif(header))
    with path.open("rb") as file:
        try:
            with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:  # its fields may be anywhere in it
                media = media_of(header.width, header.height, orientation=orientation, exif=mapped)
        except (OSError, ValueError):  # larger than the memory we may have
            media = media_of(header.width, header.height, orientation=orientation, exif=b"")
    return msgspec.structs.replace(media, pages=pages)


def _number(header: pyvips.Image, name: str) -> int:
    number = header.get(name) if header.get_typeof(name) else 1
    return number if isinstance(number, int) else 1


def _exif(header: pyvips.Image) -> bytes:
    blob = header.get("exif-data") if header.get_typeof("exif-data") else b""
    return blob if isinstance(blob, bytes) else b""


def _shrink(source: str, header: pyvips.Image, longest_px: int) -> pyvips.Image:
    """The upright picture in sRGB, in memory: the only time that the file is decoded."""
    return pyvips.Image.thumbnail(
        source, longest_px, height=longest_px, size="down", fail_on="error", **_conversion(header)
    ).copy_memory()


def _conversion(image: pyvips.Image) -> dict[str, Any]:
    """How libvips is asked for sRGB.

    Most photos are plain sRGB and say nothing of it; converting those too took three times as long as the rest.
    """
    plain = image.interpretation == "srgb" and not image.get_typeof("icc-profile-data")
    return {} if plain else {"output_profile": "srgb"}


def _save(image: pyvips.Image, path: Path, *, quality: int) -> Picture:
    image.webpsave(str(path), Q=quality, effort=2, keep=0)
    return Picture(image.width, image.height, path.stat().st_size)
