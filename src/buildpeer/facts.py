"""What the functions tell the house: the bodies of the events on the bus.

A fact is about one version of one object and names nothing else: no tenant, no person, no upload. The worker
reads from the key whom it concerns. The shape of `bucket` and `object` is that of S3's own "Object Created"
event (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html), so one routing pattern fits all.
"""

import hashlib
from datetime import datetime
from typing import Literal

import msgspec

OBJECT_CREATED = "Object Created"
FILE_SCANNED = "File Scanned"
FILE_DERIVED = "File Derived"
PART_WANTED = "Part Wanted"
RESCAN_WANTED = "Rescan Wanted"
DERIVE_WANTED = "Derive Wanted"
PART_ASSEMBLED = "Part Assembled"
PAGE_WANTED = "Page Wanted"
SHEETS_WANTED = "Sheets Wanted"
OVERLAY_WANTED = "Overlay Wanted"
GUARDDUTY_RESULT = "GuardDuty Malware Protection Object Scan Result"

SOURCE_S3 = "aws.s3"
SOURCE_SCAN = "buildpeer.scan"
SOURCE_DERIVE = "buildpeer.derive"
SOURCE_UPLOADS = "buildpeer.uploads"
SOURCE_ASSEMBLE = "buildpeer.assemble"
SOURCE_DOCUMENTS = "buildpeer.documents"
SOURCE_GUARDDUTY = "aws.guardduty"

Verdict = Literal["clean", "infected", "unscannable"]
Assembly = Literal["joined", "incomplete", "differ", "lost"]
# What a file that is ready gets anew: all that derive says of it; its pictures; its type, what it says of itself, and
# when and where it was taken; or what it is found by.
Renewal = Literal["all", "preview", "media", "words"]
Alignment = Literal["same_size", "same_width", "top_left"]
Icon = Literal["photo", "pdf", "drawing", "model", "text", "sheet", "slides", "archive", "video", "audio", "other"]


class Bucket(msgspec.Struct, frozen=True):
    """The bucket an object is in."""

    name: str


class Object(msgspec.Struct, frozen=True):
    """One version of one object; `size` in bytes."""

    key: str
    size: int
    etag: str = ""
    version_id: str = msgspec.field(name="version-id", default="")


class ObjectCreated(msgspec.Struct, frozen=True):
    """S3 holds a new object version."""

    bucket: Bucket
    object: Object


class RescanWanted(ObjectCreated, frozen=True):
    """Asks for a version to be scanned once more, and for word of it only if something is found, or to answer an
    `order` to release it.
    """

    order: str = ""


class DeriveWanted(ObjectCreated, frozen=True, kw_only=True):
    """Asks for what is derived of a version that is known to be clean, once more, and for what of it to be renewed."""

    renews: Renewal


class FileScanned(msgspec.Struct, frozen=True):
    """A scanner has looked at every byte, or says why it could not.

    `reason` is the signature's name when infected, a code of `platform.messages.REASONS` when unscannable, else empty.
    `order` is that of the RescanWanted which this answers.
    """

    bucket: Bucket
    object: Object
    verdict: Verdict
    scanner: str
    reason: str = ""
    order: str = ""


class Rendition(msgspec.Struct, frozen=True):
    """A picture made from a file, in the derived bucket; `width` and `height` in pixels, `size` in bytes."""

    bucket: str
    key: str
    width: int
    height: int
    size: int
    content_type: str = "image/webp"


class Member(msgspec.Struct, frozen=True):
    """What an archive says of one of its files: a name, to be shown and never used as a path, and bytes unpacked."""

    name: str
    size: int


class Model(msgspec.Struct, frozen=True):
    """What a building model (IFC) holds: its project, its storeys from the lowest to the highest, and how many of each
    of its 40 most frequent classes.
    """

    project: str | None = None
    storeys: list[str] = []
    counts: dict[str, int] = {}


class Media(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the file says of itself: pixels once upright, what its EXIF holds, its sheets, its members.

    `captured_at` has no zone when the camera gave none; `gps_at` is the time of the satellites. `latitude` and
    `longitude` are WGS 84 degrees. `sheet_sizes_mm` is width and height of a PDF's first 200 pages at most, as they are
    shown, (0, 0) for a page that can't be measured, and `page_labels` what these pages call themselves, if they do.
    `members` are the first 100 files of an archive, `member_count` is of all. `format_version` is for people: "PDF
    1.7", "AutoCAD 2018", "IFC4".
    """

    width: int | None = None
    height: int | None = None
    captured_at: datetime | None = None
    gps_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None
    pages: int | None = None
    sheet_sizes_mm: list[tuple[int, int]] | None = None
    page_labels: list[str] | None = None
    format_version: str | None = None
    title: str | None = None
    author: str | None = None
    members: list[Member] | None = None
    member_count: int | None = None
    model: Model | None = None


class FileDerived(msgspec.Struct, frozen=True):
    """What a clean file is: its true hash (hex), its type by content, its pictures, its words.

    `reason` is empty, or the code that says why there are no pictures. `text` is what the file is found by, at most
    96 KiB: it is all of its text, or else each of its words once. `renews` is what was asked for of a file that is
    ready, and empty the first time.
    """

    bucket: Bucket
    object: Object
    sha256: str
    content_type: str
    media: Media = Media()
    thumbnail: Rendition | None = None
    preview: Rendition | None = None
    reason: str = ""
    icon: Icon = "other"
    text: str = ""
    renews: Renewal | Literal[""] = ""


class PageWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the picture and the tiles of one page, counted from 1, of a version that is known to be clean."""

    bucket: Bucket
    object: Object
    page: int


class Tiles(msgspec.Struct, frozen=True):
    """A pyramid of tiles in one file to be read by ranges; `width` and `height` are the pixels of its finest level,
    `size` its bytes. The format is PMTiles, version 3.
    """

    width: int
    height: int
    size: int


class PagePicture(msgspec.Struct, frozen=True):
    """The picture of a page; pixels and bytes."""

    width: int
    height: int
    size: int


class PageMade(msgspec.Struct, frozen=True):
    """What became of a wanted page: the last that derive writes, beside the page's picture and tiles.

    `reason` says why there is no picture. A page that is no larger than its picture shows has no tiles.
    """

    picture: PagePicture | None = None
    tiles: Tiles | None = None
    reason: str = ""


class SheetsWanted(msgspec.Struct, frozen=True):
    """Asks for what the sheets of a version that is known to be clean say in their title blocks."""

    bucket: Bucket
    object: Object


class Line(msgspec.Struct, frozen=True):
    """A line of text on a sheet as it is shown: where it begins, at half its height, from the top left corner (0, 0) to
    the bottom right one (1, 1); and the height of its letters as a share of the sheet's shorter side.
    """

    text: str
    x: float
    y: float
    height: float


class Sheet(msgspec.Struct, frozen=True):
    """What a page calls itself, and the lines of its lower and its right part, from the top to the bottom."""

    label: str = ""
    lines: list[Line] = []


class SheetsRead(msgspec.Struct, frozen=True):
    """The sheets of a file in order, as many as could be read in time; `reason` says why there are none."""

    sheets: list[Sheet] = []
    reason: str = ""


class OverlayWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a page to be laid over another one, which it follows; both of versions that are known to be clean, in
    one bucket.
    """

    bucket: Bucket
    object: Object
    page: int
    older: Object
    older_page: int


class OverlayMade(msgspec.Struct, frozen=True):
    """What became of a wanted overlay: what only the older page has is red, what only the newer one has is blue.

    same_size: sheets of one size. same_width: of other sizes and one shape, so both were drawn as wide as the newer.
    top_left: of other shapes, drawn at one scale with their top left corners together.
    """

    picture: PagePicture | None = None
    tiles: Tiles | None = None
    alignment: Alignment | None = None
    reason: str = ""


class PartWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a part to be joined of its chunks; `object` is the whole file, which has no version yet.

    `multipart_id` is empty for a file of one part, whose joining makes the object itself, of `content_type`.
    """

    bucket: Bucket
    object: Object
    part: int
    multipart_id: str = ""
    content_type: str = ""


class PartAssembled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a wanted part.

    joined: it stands, or the whole object does. incomplete: bytes are missing. differ: chunks overlap and hold other
    bytes. lost: S3 knows no such multipart upload, and the object doesn't stand.
    """

    bucket: Bucket
    object: Object
    part: int
    outcome: Assembly


Fact = ObjectCreated | FileScanned | FileDerived | PartAssembled


class Event(msgspec.Struct, frozen=True, rename={"detail_type": "detail-type"}):
    """The envelope in which EventBridge delivers a fact to a queue."""

    source: str
    detail_type: str
    detail: msgspec.Raw


def event(
    source: str, detail_type: str, detail: Fact | PartWanted | PageWanted | SheetsWanted | OverlayWanted
) -> dict[str, object]:
    """A fact in its envelope, for who sends one to a queue without the bus."""
    return {"source": source, "detail-type": detail_type, "detail": detail}


def page_key(key: str, version_id: str, page: int, ending: str) -> str:
    """Where derive puts what it makes of a page of an original: its `webp`, its `pmtiles`, and at last its `json`."""
    return f"{key}/{version_id or 'null'}/page-{page}.{ending}"


def sheets_key(key: str, version_id: str) -> str:
    """Where derive puts what the sheets of an original say."""
    return f"{key}/{version_id or 'null'}/sheets.json"


def overlay_key(key: str, version_id: str, page: int, *, older: tuple[str, str, int], ending: str) -> str:
    """Where derive puts what it makes of a page laid over an `older` one (key, version, page): bound to both."""
    told = hashlib.sha256("\n".join(map(str, older)).encode()).hexdigest()[:32]
    return page_key(key, version_id, page, f"over-{told}.{ending}")
