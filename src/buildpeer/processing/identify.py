"""What a file's bytes are: their hash, and the type they show, whatever its name says.

Nothing is decoded here, only leading bytes compared, so it needs no child process.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import puremagic

CHUNK = 1024 * 1024
HEAD = 8192
UNKNOWN = "application/octet-stream"

JPEG = "image/jpeg"
PNG = "image/png"
WEBP = "image/webp"
PDF = "application/pdf"
HEIC = "image/heic"
HEIF = "image/heif"
AVIF = "image/avif"
TIFF = "image/tiff"
CR2 = "image/x-canon-cr2"
DXF = "image/vnd.dxf"
DWG = "image/vnd.dwg"
ZIP = "application/zip"

# the types that the pipeline treats in a way of its own are not left to a library's table
_STARTS = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"PK\x03\x04", ZIP),  # puremagic takes every zip for a Word document
    (b"AutoCAD Binary DXF\r\n\x1a\0", DXF),
)
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")
_CR2 = re.compile(rb"II\*\0....CR", re.DOTALL)  # a camera's raw picture, of which a TIFF reader sees a tiny one
_DXF = re.compile(rb"(\xef\xbb\xbf)?\s*(999\s*\n[^\n]*\n\s*)*0\s*\n\s*SECTION\b")  # 999 is a comment
_DWG = re.compile(rb"AC10\d\d")
# a file of the HEIF family names its codecs among its brands, in any order (ISO/IEC 23008-12 §10)
_BRANDS = (
    (HEIC, {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"}),
    (AVIF, {b"avif", b"avis"}),
    (HEIF, {b"mif1", b"msf1"}),
)
_AUTOCADS = {
    "AC1009": "R12",
    "AC1012": "R13",
    "AC1014": "R14",
    "AC1015": "2000",
    "AC1018": "2004",
    "AC1021": "2007",
    "AC1024": "2010",
    "AC1027": "2013",
    "AC1032": "2018",
}


def copy_and_hash(chunks: Iterable[bytes], to: IO[bytes]) -> str:
    """Write the chunks and return the SHA-256 (hex) of all of them."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        to.write(chunk)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 (hex) of a file's bytes, read in pieces; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_type_of(path: Path) -> str:
    """The media type that the leading bytes show, `application/octet-stream` when they show none.

    Raises OSError.
    """
    with path.open("rb") as file:
        return content_type(file.read(HEAD))


def content_type(head: bytes) -> str:
    """See content_type_of, for the first 8 KiB of a file."""
    return _known(head) or _guess(head)


def autocad_version(code: str) -> str | None:
    """The oldest AutoCAD that reads a drawing whose header names this version, None for a code we don't know."""
    return f"AutoCAD {_AUTOCADS[code]}" if code in _AUTOCADS else None


def _known(head: bytes) -> str:
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    for pattern, kind in ((_CR2, CR2), (_TIFF, TIFF), (_DXF, DXF), (_DWG, DWG)):
        if pattern.match(head):
            return kind
    # a byte order mark and blanks before it are common, and every reader takes them
    return PDF if head.lstrip(b"\xef\xbb\xbf\0\t\n\f\r ").startswith(b"%PDF-") else ""


def _of_brands(head: bytes) -> str:
    major, rest = head[8:12], head[16 : min(int.from_bytes(head[:4]), 512)]
    brands = {major} | {rest[at : at + 4] for at in range(0, len(rest), 4)}
    return next((kind for kind, ours in _BRANDS if brands & ours), "")


def _guess(head: bytes) -> str:
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    # its confidence is a tenth per byte compared; two bytes are met by chance, in text above all
    sure = [match.mime_type for match in matches if match.confidence >= 0.3 and match.mime_type]
    return sure[0] if sure else UNKNOWN
