"""Reads the words and the properties of untrusted Office files (ECMA-376); runs in a child process only (see `derive`).

Their parts are XML in a ZIP. A part with a document type is refused, since no Office writes one; should one be
hidden, expat itself stops entities that grow, and fetches nothing.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from buildpeer.facts import Media
from buildpeer.processing.archive import ZIP_FAULTS
from buildpeer.processing.derive import NO_PREVIEW, OFFICE_DAMAGED, Derived, searchable, shown, tell
from buildpeer.processing.identify import DOCX, PPTX, XLSX

CORE = "docProps/core.xml"
MAX_PART = 256 * 1024 * 1024
MAX_PARTS = 500
MAX_TEXT = 4_000_000  # characters; what is found by is far less
CHUNK = 64 * 1024

# the parts with words, and where the main one must be
_WORDS = {
    DOCX: re.compile(r"word/(document|header\d*|footer\d*|footnotes|comments)\.xml"),
    XLSX: re.compile(r"xl/(sharedStrings|workbook|worksheets/sheet\d+)\.xml"),
    PPTX: re.compile(r"ppt/(slides/slide|notesSlides/notesSlide)\d+\.xml"),
}
_PAGES = {PPTX: re.compile(r"ppt/slides/slide\d+\.xml"), XLSX: re.compile(r"xl/worksheets/sheet\d+\.xml")}
_NAMES = {DOCX: "Word", XLSX: "Excel", PPTX: "PowerPoint"}


_DOCTYPE = re.compile(rb"<!(DOCTYPE|ENTITY)")  # it stands before all else, or expat refuses it


class _DamagedError(Exception):
    """This is no Office file that Office would open."""


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    media = Media()
    try:
        with zipfile.ZipFile(path) as archive:
            media = _media(archive, content_type)
            tell(media, folder)
            text = _text(archive, content_type)
    except (_DamagedError, *ZIP_FAULTS, ET.ParseError):
        return Derived(media=media, reason=OFFICE_DAMAGED)
    return Derived(media=media, reason=NO_PREVIEW, text=text)


def _media(archive: zipfile.ZipFile, content_type: str) -> Media:
    said: dict[str, str] = {}
    if CORE in archive.namelist():
        said = {name: text for name, text in _elements(archive, CORE) if name in ("title", "creator")}
    pages = _PAGES.get(content_type)
    return Media(
        format_version=_NAMES[content_type],
        title=shown(said.get("title", "")) or None,
        author=shown(said.get("creator", "")) or None,
        pages=sum(1 for name in archive.namelist() if pages.fullmatch(name)) if pages else None,
    )


def _text(archive: zipfile.ZipFile, content_type: str) -> str:
    pieces, size = list[str](), 0
    parts = [name for name in archive.namelist() if _WORDS[content_type].fullmatch(name)]
    if not parts:
        raise _DamagedError
    for part in parts[:MAX_PARTS]:
        for name, text in _elements(archive, part):
            if name == "t":
                pieces.append(text)
                size += len(text) + 1
            elif name in ("p", "tab", "br"):
                pieces.append(" ")
            if size > MAX_TEXT:
                return searchable("".join(pieces))
        pieces.append(" ")
    return searchable("".join(pieces) if content_type != XLSX else " ".join(pieces))


def _elements(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str]]:
    """Name of each element of a part, in the order in which they end, and the text right before that; no tree is built.

    Raises _DamagedError, and what zipfile and the parser raise.
    """
    told, read = _Told(), 0
    parser = ET.XMLParser(target=told)  # noqa: S314 # see above
    with archive.open(part) as file:
        while chunk := file.read(CHUNK):
            if read == 0 and _DOCTYPE.search(chunk):
                raise _DamagedError
            read += len(chunk)
            if read > MAX_PART:
                raise _DamagedError
            parser.feed(chunk)
            yield from told.ended
            told.ended.clear()
    parser.close()


class _Told:
    """Takes down what the parser meets."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self._text: list[str] = []
        self._names: dict[str, str] = {}

    def data(self, text: str) -> None:
        """Text, or a piece of one."""
        self._text.append(text)

    def end(self, tag: str) -> None:
        """An element ends; `tag` is `{namespace}name`."""
        name = self._names.get(tag)
        if name is None:
            name = self._names[tag] = tag.rpartition("}")[2]
        self.ended.append((name, "".join(self._text)))
        self._text.clear()

    def close(self) -> None:
        """The part ends."""
