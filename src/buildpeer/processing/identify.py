"""What a file's bytes are: their hash, and the type they show, whatever its name says.

Nothing is decoded here, only leading bytes compared, so it needs no child process.
"""

import hashlib
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
ZIP = "application/zip"

# the types that the pipeline treats in a way of its own are not left to a library's table
_STARTS = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"PK\x03\x04", ZIP),  # puremagic takes every zip for a Word document
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


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


def _known(head: bytes) -> str:
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return HEIC
    # a byte order mark and blanks before it are common, and every reader takes them
    return PDF if head.lstrip(b"\xef\xbb\xbf\0\t\n\f\r ").startswith(b"%PDF-") else ""


def _guess(head: bytes) -> str:
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    # its confidence is a tenth per byte compared; two bytes are met by chance, in text above all
    sure = [match.mime_type for match in matches if match.confidence >= 0.3 and match.mime_type]
    return sure[0] if sure else UNKNOWN
