"""Reads untrusted HEIC and AVIF, the photos of newer phones; runs in a child process only (see `derive`).

HEIC comes from libheif with libde265 (pi-heif, a decoder and no GPL encoder), AVIF from Pillow, which takes two thirds
of libvips's time for it. Both turn their pixels into libvips images.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pi_heif
import pyvips
from PIL import AvifImagePlugin, Image

from buildpeer.processing.derive import DAMAGED, TOO_LARGE, Derived, tell
from buildpeer.processing.identify import AVIF
from buildpeer.processing.pictures import MAX_PIXELS, ORIENTATIONS, keep, media_of, out_of_memory, shrink
from buildpeer.processing.tiles import Looked

MAX_BOXES = 1000
MAX_BYTES = 128 * 1024 * 1024  # both readers hold the whole file
ORIENTATION = 0x0112
# whatever the two readers and libvips raise over a file; their documents name these
_FAULTS = (pyvips.Error, ValueError, EOFError, SyntaxError, RuntimeError, OSError, LookupError, MemoryError)

pi_heif.options.DECODE_THREADS = 1  # as everywhere in a child: functions share the cores
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
Image.MAX_IMAGE_PIXELS = None  # ours is MAX_PIXELS


class Photo(msgspec.Struct, frozen=True):
    """A photo whose pixels aren't decoded yet; `mode` is Pillow's, `orientation` EXIF's and still to be applied."""

    size: tuple[int, int]
    mode: str
    orientation: int
    exif: bytes
    icc: bytes
    decode: Callable[[], bytes]


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    if path.stat().st_size > MAX_BYTES:
        return Derived(reason=TOO_LARGE)
    derived = Derived(reason=DAMAGED)
    if not _is_whole(path):
        return derived
    try:
        photo = _open_avif(path) if content_type == AVIF else _open_heic(path)
        width, height = photo.size
        media = media_of(width, height, orientation=photo.orientation, exif=photo.exif)
        derived = msgspec.structs.replace(derived, media=media)
        tell(media, folder)
        if width * height > MAX_PIXELS:
            return msgspec.structs.replace(derived, reason=TOO_LARGE)
        return keep(shrink(_pixels(photo)), media, folder)
    except _FAULTS as exc:
        return msgspec.structs.replace(derived, reason=TOO_LARGE) if out_of_memory(exc) else derived


def look(path: Path, *, content_type: str, number: int, most_px: int) -> Looked | str:
    """A page, or why there is none; may crash, hang, or fill the memory."""
    try:
        photo = _open_avif(path) if content_type == AVIF else _open_heic(path)
        if path.stat().st_size > MAX_BYTES or photo.size[0] * photo.size[1] > MAX_PIXELS:
            return TOO_LARGE
        return Looked(shrink(_pixels(photo), most_px))
    except _FAULTS as exc:
        return TOO_LARGE if out_of_memory(exc) else DAMAGED


def _is_whole(path: Path) -> bool:
    """Whether the boxes with the picture end within the file; libheif shows what is missing as gray, with no error."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for _ in range(MAX_BOXES):
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4])
            if length == 1:
                length = int.from_bytes(head[8:16])
            if length < 8:  # to the end of the file, or no box at all: some phones append what they like
                return True
            at += length
            if at > size:
                return head[4:8] not in (b"mdat", b"meta")
    return False


def _open_heic(path: Path) -> Photo:
    images = pi_heif.open_heif(path)
    image = images[images.primary_index]

    def decode() -> bytes:
        return image.data

    return Photo(
        size=image.size,
        mode=image.mode,
        orientation=1,  # the file's own turns are applied by libheif, and its EXIF's don't count
        exif=image.info.get("exif") or b"",
        icc=image.info.get("icc_profile") or b"",
        decode=decode,
    )


def _open_avif(path: Path) -> Photo:
    image = Image.open(path, formats=["AVIF"])
    orientation = image.getexif().get(ORIENTATION, 1)  # where Pillow puts the file's own turns
    return Photo(
        size=image.size,
        mode=image.mode,
        orientation=orientation if orientation in ORIENTATIONS else 1,
        exif=image.info.get("exif") or b"",
        icc=image.info.get("icc_profile") or b"",
        decode=image.tobytes,
    )


def _pixels(photo: Photo) -> pyvips.Image:
    pixels, (width, height) = photo.decode(), photo.size
    image = pyvips.Image.new_from_memory(pixels, width, height, len(photo.mode), "uchar")
    image = image.copy(interpretation="srgb" if len(photo.mode) > 2 else "b-w")
    image.set_type(pyvips.GValue.gint_type, "orientation", photo.orientation)
    if photo.icc:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", photo.icc)  # pyright: ignore[reportArgumentType] # pyvips forgot bytes
    return image
