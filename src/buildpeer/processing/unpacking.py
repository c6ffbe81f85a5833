"""Unpacks what lies within untrusted files for the scanners; runs in a child process only (see `scanners`).

A scanner's own limits let things pass: clamd calls an archive clean whose one member is larger than it looks at. So
here every member of a ZIP (Office files are ZIPs) is unpacked under limits of ours, archives within archives too,
whoever scans it. What can't be unpacked whole is said to be so, and nobody gets it. No name in an archive becomes a
path.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import msgspec
import yara_x

from buildpeer.processing.archive import ZIP_FAULTS
from buildpeer.processing.identify import (
    BZIP2,
    CAB,
    DOCX,
    GZIP,
    OLE,
    PDF,
    PPTX,
    RAR,
    SEVEN_ZIP,
    TAR,
    XLSX,
    XZ,
    ZIP,
    ZSTD,
    content_type_of,
)

ENCRYPTED = "archive_encrypted"
TOO_LARGE = "archive_too_large"
TOO_DEEP = "archive_too_deep"
DAMAGED = "archive_unreadable"
UNKNOWN = "archive_unsupported"

MAX_MEMBER = 200 * 1024 * 1024  # as much as the largest file that we take
MAX_TOTAL = 1024 * 1024 * 1024
MAX_MEMBERS = 10_000  # of all archives within each other
MAX_DEPTH = 3
MAX_RATIO = 200  # of what is unpacked to the file itself, from FREE_BYTES on; text packs to a tenth, drawings to less
FREE_BYTES = 32 * 1024 * 1024

UNPACKED = (ZIP, DOCX, XLSX, PPTX)
CLOSED = (RAR, SEVEN_ZIP, GZIP, BZIP2, XZ, ZSTD, TAR, CAB)  # archives that nobody here can look into
_OFFICE_PASSWORD = "EncryptedPackage".encode("utf-16-le")  # a stream's name in what Office then wraps its file into
_CHUNK = 256 * 1024
_ENCRYPTED_FLAG = 0x1
_STREAM = re.compile(rb"stream(?:\r\n?|\n)")
_DICTIONARY = 2048  # bytes before a stream that may say what it is


class Request(msgspec.Struct, frozen=True):
    """A file, a folder to unpack into, and, for who scans here, rules of YARA-X; `timeout_s` is for each member."""

    path: str
    folder: str
    rules: str = ""
    timeout_s: int = 30


class Within(msgspec.Struct, frozen=True):
    """What lies within: `infected` names the rule that something there meets, `reason` why not all was looked at."""

    infected: str = ""
    reason: str = ""


class _RefusedError(Exception):
    """Not all can be looked at; the text is the reason's code."""


def answer(request: bytes) -> bytes:
    """A Request to a Within, in JSON; may crash, hang, or fill the memory."""
    asked = msgspec.json.decode(request, type=Request)
    look = _Look(asked)
    try:
        look.into(Path(asked.path), depth=0)
    except _RefusedError as refused:
        return msgspec.json.encode(Within(look.infected, str(refused)))
    return msgspec.json.encode(Within(look.infected))


class _Look:
    """One look into one file, whose limits hold for all that lies within it."""

    def __init__(self, asked: Request) -> None:
        self.infected = ""
        self._folder = asked.folder
        self._rules = yara_x.compile(asked.rules) if asked.rules else None
        self._timeout_s = asked.timeout_s
        self._most = max(FREE_BYTES, min(MAX_TOTAL, MAX_RATIO * Path(asked.path).stat().st_size))
        self._unpacked = 0
        self._members = 0

    def into(self, path: Path, *, depth: int) -> None:
        """Look at everything within a file, the deepest first; raises _RefusedError."""
        kind = content_type_of(path)
        if kind in CLOSED:
            raise _RefusedError(UNKNOWN)
        if kind in UNPACKED or zipfile.is_zipfile(path):  # one may hang on a photo, and be opened by another name
            if depth == MAX_DEPTH:
                raise _RefusedError(TOO_DEEP)
            self._into_zip(path, depth)
        if kind == OLE:
            _refuse_password(path)
        elif kind == PDF and self._rules is not None:
            self._into_pdf(path, depth)

    def _into_zip(self, path: Path, depth: int) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if any(each.flag_bits & _ENCRYPTED_FLAG for each in members):
                    raise _RefusedError(ENCRYPTED)
                for member in members:
                    if member.file_size > MAX_MEMBER:
                        raise _RefusedError(TOO_LARGE)
                    with archive.open(member) as packed:
                        size = self._look_at(iter(lambda: packed.read(_CHUNK), b""), depth)  # read up here
                    if size != member.file_size:  # others might read on for as long as it says
                        raise _RefusedError(DAMAGED)
        except ZIP_FAULTS as exc:
            raise _RefusedError(DAMAGED) from exc

    def _into_pdf(self, path: Path, depth: int) -> None:
        """Whatever a PDF holds besides pictures: an attachment lies there as a stream of its own, packed or not."""
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            for found in _STREAM.finditer(content):
                if content[max(0, found.start() - 3) : found.start()] == b"end":  # a look back would cost re its speed
                    continue
                start, end = found.end(), content.find(b"endstream", found.end())
                about = content[max(0, found.start() - _DICTIONARY) : found.start()].rpartition(b"obj")[2]
                if end > start and (b"/Image" not in about or b"/EmbeddedFile" in about):
                    packed = b"FlateDecode" in about or b"/Fl" in about
                    self._look_at(_inflated(content, start, end) if packed else _pieces(content, start, end), depth)

    def _look_at(self, content: Iterator[bytes], depth: int) -> int:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _RefusedError(TOO_LARGE)
        with NamedTemporaryFile(dir=self._folder) as file:
            size = self._spool(content, file)
            path = Path(file.name)
            self._scan(path)
            self.into(path, depth=depth + 1)
        return size

    def _spool(self, content: Iterator[bytes], to: IO[bytes]) -> int:
        size = 0
        for piece in content:
            size += len(piece)
            self._unpacked += len(piece)
            if size > MAX_MEMBER or self._unpacked > self._most:
                raise _RefusedError(TOO_LARGE)
            to.write(piece)
        to.flush()
        return size

    def _scan(self, path: Path) -> None:
        if self._rules is None or not path.stat().st_size:
            return
        scanner = yara_x.Scanner(self._rules)
        scanner.set_timeout(self._timeout_s)
        try:
            for rule in scanner.scan_file(str(path)).matching_rules:
                self.infected = rule.identifier
        except (yara_x.TimeoutError, yara_x.ScanError) as exc:
            raise _RefusedError(DAMAGED) from exc


def _refuse_password(path: Path) -> None:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content.find(_OFFICE_PASSWORD) >= 0:
            raise _RefusedError(ENCRYPTED)


def _pieces(content: mmap, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _CHUNK):
        yield content[at : min(at + _CHUNK, end)]


def _inflated(content: mmap, start: int, end: int) -> Iterator[bytes]:
    """What a stream unpacks to; one that is packed in another way gives what can be had of it."""
    packer = zlib.decompressobj()
    try:
        for piece in _pieces(content, start, end):
            rest = piece
            while rest and not packer.eof:
                yield packer.decompress(rest, _CHUNK)
                rest = packer.unconsumed_tail
    except zlib.error:
        return
