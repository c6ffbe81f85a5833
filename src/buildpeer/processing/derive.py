"""What a clean file gives besides its hash and type: pictures, its words, and what it says of itself.

The file is read by a child process (`reader`), since a reader of untrusted files may crash, hang or be taken
over: it has no credentials and no network, and what goes wrong there costs this file its pictures and nothing
more. What the file said of itself before that is kept.
"""

import os
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from buildpeer.facts import Media, OverlayMade, PageMade, PagePicture, SheetsRead
from buildpeer.processing.children import Child, ChildCrashedError, ChildTimeoutError, Limits, minimal_env
from buildpeer.processing.identify import (
    AVIF,
    DOCX,
    DWG,
    DXF,
    HEIC,
    HEIF,
    IFC,
    JPEG,
    PDF,
    PNG,
    PPTX,
    TIFF,
    WEBP,
    XLSX,
    ZIP,
    content_type_of,
    version_of,
)

CRASHED = "parser_crashed"
TIMED_OUT = "parser_timeout"
DAMAGED = "image_damaged"
TOO_LARGE = "image_too_large"
PDF_DAMAGED = "pdf_damaged"
PDF_ENCRYPTED = "pdf_encrypted"
DRAWING_DAMAGED = "drawing_damaged"
DRAWING_EMPTY = "drawing_empty"
DRAWING_TOO_COMPLEX = "drawing_too_complex"
MODEL_DAMAGED = "model_damaged"
MODEL_TOO_COMPLEX = "model_too_complex"
ARCHIVE_DAMAGED = "archive_damaged"
OFFICE_DAMAGED = "office_damaged"
NO_DWG = "no_preview_for_dwg"
NO_PREVIEW = "no_preview_for_type"

PREVIEW_PX, THUMBNAIL_PX = 1600, 400
PREVIEW = "preview.webp"
THUMBNAIL = "thumbnail.webp"
PAGE = "page.webp"
TILES = "page.pmtiles"
MEDIA = "media.json"  # what the child tells before it decodes
MAX_MEDIA_BYTES = 64 * 1024
TILES_START = b"PMTiles\x03"
MAX_TEXT_BYTES = 96 * 1024  # it travels in an event, which holds 256 KB
# the types that are looked into, and the module of this package that reads them
READERS = {
    JPEG: "pictures",
    PNG: "pictures",
    WEBP: "pictures",
    TIFF: "pictures",
    HEIC: "heif",
    HEIF: "heif",
    AVIF: "heif",
    PDF: "pdf",
    DXF: "dxf",
    IFC: "ifc",
    ZIP: "archive",
    DOCX: "office",
    XLSX: "office",
    PPTX: "office",
}
SHOWN = frozenset(("pictures", "heif", "pdf", "dxf"))  # those of the readers that make pictures
MEMORY_BYTES = 2 * 1024**3
Made = TypeVar("Made", PageMade, OverlayMade, SheetsRead)
FILES_PER_CHILD = 200  # a leak in a decoder never grows for long


class Picture(msgspec.Struct, frozen=True):
    """A WebP file that was made; pixels and bytes."""

    width: int
    height: int
    size: int


class Derived(msgspec.Struct, frozen=True):
    """What a file gave; `reason` is empty, or the code that says why there are no pictures."""

    media: Media = Media()
    thumbnail: Picture | None = None
    preview: Picture | None = None
    reason: str = ""
    text: str = ""


class Request(msgspec.Struct, frozen=True):
    """What the child is asked of a file: its type by content, the folder for the pictures, a page counted from 1, and
    what that is to be laid over.
    """

    path: str
    content_type: str
    folder: str
    page: int = 0
    wants: Literal["file", "page", "sheets", "overlay"] = "file"
    older: "Request | None" = None


class FilePage(msgspec.Struct, frozen=True):
    """A page, counted from 1, of a file of this type by content."""

    path: Path
    content_type: str
    number: int


class Deriver:
    """Derives one file at a time in a child of its own.

    The thread that derives first must outlive it (see Child).
    """

    def __init__(
        self,
        *,
        timeout_s: float = 30.0,
        memory_bytes: int = MEMORY_BYTES,
        files_per_child: int = FILES_PER_CHILD,
        target: str = "buildpeer.processing.reader:answer",
    ) -> None:
        """`timeout_s` is for one file."""
        self._timeout_s = timeout_s
        env = minimal_env(
            {
                # one thread per child: functions share the cores, not the rows of one picture
                "VIPS_CONCURRENCY": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "VIPS_WARNING": "0",
                "MALLOC_ARENA_MAX": "2",
                # no reader keeps settings or caches in anybody's home
                "XDG_CONFIG_HOME": os.devnull,
                "XDG_CACHE_HOME": os.devnull,
            }
        )
        limits = Limits(memory_bytes=memory_bytes, cpu_s=timeout_s, network=False)
        self.child = Child(target, env=env, limits=limits, max_calls=files_per_child)

    def derive(self, path: Path, *, content_type: str, folder: Path) -> Derived:
        """Put `preview.webp` and `thumbnail.webp` into a folder (longest sides 1600 and 400 px).

        Never raises for what is wrong with the file: that is the reason. Raises ChildStartError when there is
        no child.
        """
        if content_type not in READERS:
            media = Media(format_version=version_of(path))
            return Derived(media=media, reason=NO_DWG if content_type == DWG else NO_PREVIEW)
        (folder / MEDIA).unlink(missing_ok=True)
        request = msgspec.json.encode(Request(str(path), content_type, str(folder)))
        try:
            derived = msgspec.json.decode(self.child.call(request, timeout_s=self._timeout_s), type=Derived)
        except ChildTimeoutError:
            return Derived(media=_told(folder), reason=TIMED_OUT)
        except (ChildCrashedError, msgspec.DecodeError):
            return Derived(media=_told(folder), reason=CRASHED)
        made = _is_made(derived.preview, folder / PREVIEW) and _is_made(derived.thumbnail, folder / THUMBNAIL)
        return derived if made else Derived(reason=CRASHED)

    def page(self, path: Path, *, content_type: str, folder: Path, number: int) -> PageMade:
        """Put `page.webp` (longest side 1600 px), and `page.pmtiles` if there is more to see, into a folder.

        Never raises for what is wrong with the file: that is the reason. Raises ChildStartError when there is
        no child.
        """
        if READERS.get(content_type) not in SHOWN:
            return PageMade(reason=NO_PREVIEW)
        made = self._ask(Request(str(path), content_type, str(folder), number, "page"), PageMade)
        return made if _is_whole(made, folder) else PageMade(reason=CRASHED)

    def sheets(self, path: Path, *, content_type: str) -> SheetsRead:
        """What the sheets of a PDF say in their title blocks; of other files nothing.

        Never raises for what is wrong with the file: that is the reason. Raises ChildStartError when there is
        no child.
        """
        if content_type != PDF:
            return SheetsRead()
        return self._ask(Request(str(path), content_type, "", wants="sheets"), SheetsRead)

    def overlay(self, newer: FilePage, older: FilePage, *, folder: Path) -> OverlayMade:
        """Put `page.webp` and `page.pmtiles` into a folder, of one page laid over another (see `overlay`).

        Never raises for what is wrong with a file: that is the reason. Raises ChildStartError when there is no child.
        """
        if not {READERS.get(newer.content_type), READERS.get(older.content_type)} <= SHOWN:
            return OverlayMade(reason=NO_PREVIEW)
        below = Request(str(older.path), older.content_type, "", older.number)
        asked = Request(str(newer.path), newer.content_type, str(folder), newer.number, "overlay", below)
        made = self._ask(asked, OverlayMade)
        return made if _is_whole(made, folder) else OverlayMade(reason=CRASHED)

    def _ask(self, request: Request, shape: type[Made]) -> Made:
        try:
            answer = self.child.call(msgspec.json.encode(request), timeout_s=self._timeout_s)
            return msgspec.json.decode(answer, type=shape)
        except ChildTimeoutError:
            return shape(reason=TIMED_OUT)
        except (ChildCrashedError, msgspec.DecodeError):
            return shape(reason=CRASHED)

    def stop(self) -> None:
        """End the child."""
        self.child.stop()


def searchable(text: str) -> str:
    """What a file is found by: its text if that is short enough, or else each of its words once, as far as they go."""
    words = text.replace("\0", " ").split()
    whole = " ".join(words)
    if len(whole.encode()) > MAX_TEXT_BYTES:
        whole = " ".join(dict.fromkeys(words))
    return whole.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore")


def shown(text: object, *, most: int = 100) -> str:
    """A name that a file gives, as one line for people to read."""
    name = str(text)
    if not name.isprintable():
        name = "".join(c if c.isprintable() else " " for c in name)
    return name.strip()[:most]


def tell(media: Media, folder: Path) -> None:
    """Leave what a file says of itself where it is found should the decoder not survive; for the child."""
    (folder / MEDIA).write_bytes(msgspec.json.encode(media))


def _told(folder: Path) -> Media:
    path = folder / MEDIA
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_MEDIA_BYTES:
        return Media()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Media)
    except msgspec.DecodeError:  # it died over that
        return Media()


def _is_whole(made: PageMade | OverlayMade, folder: Path) -> bool:
    """Whether a page's picture and its tiles are what the child says."""
    return _is_made(made.picture, folder / PAGE) and (
        made.tiles is None or _is_file(folder / TILES, made.tiles.size, TILES_START)
    )


def _is_made(picture: Picture | PagePicture | None, path: Path) -> bool:
    """Whether a picture is what the child says: a file of its own, not a link to one of ours."""
    if picture is None:
        return True
    return _is_file(path, picture.size, b"RIFF") and content_type_of(path) == WEBP


def _is_file(path: Path, size: int, start: bytes) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return file.read(len(start)) == start
