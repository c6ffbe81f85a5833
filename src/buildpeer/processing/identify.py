"""What a file's bytes are: the type they show, whatever its name says.

Nothing is decoded here, only leading bytes compared, so it needs no child process.
"""

import re
from pathlib import Path

import puremagic

from buildpeer.facts import Icon

HEAD = 8192
TAIL = 128 * 1024
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
DNG = "image/x-adobe-dng"
NEF = "image/x-nikon-nef"
ARW = "image/x-sony-arw"
CR3 = "image/x-canon-cr3"
RAF = "image/x-fuji-raf"
ORF = "image/x-olympus-orf"
RW2 = "image/x-panasonic-rw2"
RAWS = (CR2, DNG, NEF, ARW, CR3, RAF, ORF, RW2)
DXF = "image/vnd.dxf"
DWG = "image/vnd.dwg"
IFC = "application/x-ifc"
STEP = "model/step"
ZIP = "application/zip"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
OLE = "application/x-ole-storage"  # Office before 2007, and an Office file with a password
RAR = "application/vnd.rar"
SEVEN_ZIP = "application/x-7z-compressed"
GZIP = "application/gzip"
BZIP2 = "application/x-bzip2"
XZ = "application/x-xz"
ZSTD = "application/zstd"
TAR = "application/x-tar"
CAB = "application/vnd.ms-cab-compressed"
PMTILES = "application/vnd.pmtiles"
MP4 = "video/mp4"
QUICKTIME = "video/quicktime"
THREE_GP = "video/3gpp"
MATROSKA = "video/matroska"
AVI = "video/x-msvideo"

# the types that the pipeline treats in a way of its own are not left to a library's table
_STARTS = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"PK\x03\x04", ZIP),  # puremagic takes every zip for a Word document
    (b"PK\x05\x06", ZIP),  # one without members
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE),
    (b"Rar!\x1a\x07", RAR),
    (b"7z\xbc\xaf\x27\x1c", SEVEN_ZIP),
    (b"\x1f\x8b", GZIP),
    (b"BZh", BZIP2),
    (b"\xfd7zXZ\0", XZ),
    (b"\x28\xb5\x2f\xfd", ZSTD),
    (b"MSCF\0\0\0\0", CAB),
    (b"FUJIFILMCCD-RAW", RAF),
    (b"IIRO", ORF),
    (b"MMOR", ORF),
    (b"IIU\0", RW2),
    (b"\x1a\x45\xdf\xa3", MATROSKA),
    (b"AutoCAD Binary DXF\r\n\x1a\0", DXF),
)
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")
# A raw picture is a TIFF that only its maker's programs read whole: a DNG says so by its version (tag C612), a Nikon or
# Sony one by its maker and a directory of further pictures (tag 014A).
_DNG = re.compile(rb"(?:II\*\0.*\x12\xc6\x01\0|MM\0\*.*\xc6\x12\0\x01)", re.DOTALL)
_SUB_PICTURES = re.compile(rb"II\*\0.*\x4a\x01\x04\0|MM\0\*.*\x01\x4a\0\x04", re.DOTALL)
_RAW_MAKERS = ((b"NIKON", NEF), (b"SONY", ARW))
_CR2 = re.compile(rb"II\*\0....CR", re.DOTALL)  # a camera's raw picture, of which a TIFF reader sees a tiny one
_DXF = re.compile(rb"(\xef\xbb\xbf)?\s*(999\s*\n[^\n]*\n\s*)*0\s*\n\s*SECTION\b")  # 999 is a comment
_DWG = re.compile(rb"AC10\d\d")
_STEP = re.compile(rb"(\xef\xbb\xbf)?\s*ISO-10303-21\s*;")  # ISO 10303-21, "exchange structure"
_IFC = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'\s*IFC", re.IGNORECASE)
# a file of the HEIF family names its codecs among its brands, in any order (ISO/IEC 23008-12 §10)
_BRANDS = (
    (HEIC, {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"}),
    (AVIF, {b"avif", b"avis"}),
    (HEIF, {b"mif1", b"msf1"}),
)
# the other families that share their first box: a brand, its type (https://mp4ra.org/registered-types/brands)
_FILM_BRANDS = ((b"crx ", CR3), (b"qt  ", QUICKTIME), (b"3g", THREE_GP), (b"mp4", MP4), (b"iso", MP4), (b"avc1", MP4))
# the member that makes a ZIP an Office file (ECMA-376 part 2)
_OFFICE_PARTS = ((b"word/document.xml", DOCX), (b"xl/workbook.xml", XLSX), (b"ppt/presentation.xml", PPTX))
_TAR_AT = 257
_ZIP_END, _ZIP_END_BYTES = b"PK\x05\x06", 22 + 65_535  # with the longest comment (APPNOTE 4.3.16)
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
_ICONS: dict[str, Icon] = {
    PDF: "pdf",
    DXF: "drawing",
    DWG: "drawing",
    IFC: "model",
    STEP: "model",
    DOCX: "text",
    XLSX: "sheet",
    PPTX: "slides",
    OLE: "text",
    **dict.fromkeys((ZIP, RAR, SEVEN_ZIP, GZIP, BZIP2, XZ, ZSTD, TAR, CAB), "archive"),
}


def content_type_of(path: Path) -> str:
    """The media type that the leading bytes show, `application/octet-stream` when they show none.

    Raises OSError.
    """
    with path.open("rb") as file:
        kind = content_type(file.read(HEAD))
        if kind != ZIP:
            return kind
        # an Office file is a ZIP whose list of members, at its end, names the main part
        file.seek(max(0, path.stat().st_size - TAIL))
        return _office(file.read()) or kind


def content_type(head: bytes) -> str:
    """See content_type_of, for the first 8 KiB of a file."""
    kind = _known(head) or _guess(head)
    return (_office(head) or kind) if kind == ZIP else kind


def ends_as_zip(path: Path) -> bool:
    """Whether a file's last bytes may be the end of a ZIP, whatever its first ones are: who opens a ZIP begins there.

    Raises OSError.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _ZIP_END_BYTES))
        return _ZIP_END in file.read()


def icon_of(content_type: str) -> Icon:
    """What people call a file of this type, for its icon where there is no picture."""
    family = content_type.partition("/")[0]
    if content_type in _ICONS:
        return _ICONS[content_type]
    if content_type in RAWS or family == "image":
        return "photo"
    return "video" if family == "video" else "audio" if family == "audio" else "other"


def autocad_version(code: str) -> str | None:
    """The oldest AutoCAD that reads a drawing whose header names this version, None for a code we don't know."""
    return f"AutoCAD {_AUTOCADS[code]}" if code in _AUTOCADS else None


def version_of(path: Path) -> str | None:
    """What the first bytes of a drawing or a film say of its version, None where they say nothing; raises OSError."""
    with path.open("rb") as file:
        head = file.read(12)
    if _DWG.match(head):
        return autocad_version(head[:6].decode("ascii"))
    brand = head[8:12].decode("ascii", "replace").strip() if head[4:8] == b"ftyp" else ""
    return brand if brand.isalnum() else None


def _known(head: bytes) -> str:  # noqa: PLR0911 # one line per family
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return AVI
    for pattern, kind in ((_CR2, CR2), (_DNG, DNG), (_TIFF, TIFF), (_DXF, DXF), (_DWG, DWG)):
        if pattern.match(head):
            return _raw(head) or kind if kind == TIFF else kind
    if _STEP.match(head):
        return IFC if _IFC.search(head) else STEP
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return TAR
    # a byte order mark and blanks before it are common, and every reader takes them
    return PDF if head.lstrip(b"\xef\xbb\xbf\0\t\n\f\r ").startswith(b"%PDF-") else ""


def _of_brands(head: bytes) -> str:
    major, rest = head[8:12], head[16 : min(int.from_bytes(head[:4]), 512)]
    brands = {major} | {rest[at : at + 4] for at in range(0, len(rest), 4)}
    picture = next((kind for kind, ours in _BRANDS if brands & ours), "")
    return picture or next((kind for brand, kind in _FILM_BRANDS if major.startswith(brand)), "")


def _raw(head: bytes) -> str:
    maker = next((kind for name, kind in _RAW_MAKERS if name in head), "")
    return maker if maker and _SUB_PICTURES.match(head) else ""


def _office(part: bytes) -> str:
    return next((kind for name, kind in _OFFICE_PARTS if name in part), "")


def _guess(head: bytes) -> str:
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    # its confidence is a tenth per byte compared; two bytes are met by chance, in text above all
    sure = [match.mime_type for match in matches if match.confidence >= 0.3 and match.mime_type]
    return sure[0] if sure else UNKNOWN
