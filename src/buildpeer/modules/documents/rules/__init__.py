"""Pure rules of documents: when and where a photo was taken, which pages there are, how long a link lives, the map."""

import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.facts import Media
from buildpeer.platform.errors import Problem
from buildpeer.platform.limits import Limit

CapturedFrom = Literal["camera", "gps", "client", "project"]
LocatedFrom = Literal["camera", "client"]

PAGE_ORDERS = Limit("page-orders", quota=1, window_s=60)  # of one page: longer than one takes to be made
MOST_AT_ONCE = 500  # documents in one call
MOST_TAGS = 50  # of one document
LONGEST_LINK = timedelta(days=365)
SHARED_READ_LIFE = timedelta(seconds=60)
OPENINGS_BY_ADDRESS = Limit("shared-address", quota=300, window_s=900)  # of links, by where they are opened

MOST_ZIPPED = 10_000  # documents
MOST_ZIPPED_BYTES = 50 * 1024**3

_FINEST = 24  # the finest grid has 2^24 columns and rows
_CELLS_ACROSS = 12  # of a map that is looked at, at most, each way
_QUARTER = timedelta(minutes=15)  # every zone of today is so many of them from UTC
_FARTHEST = timedelta(hours=14)


class Capture(msgspec.Struct, frozen=True):
    """When a photo was taken, and who says so.

    camera: it wrote its zone (OffsetTimeOriginal). gps: the satellites' time. client: the phone that sent it. project:
    the camera's clock, taken for one that shows the time at the project.
    """

    at: datetime | None = None
    source: CapturedFrom | None = None


class Location(msgspec.Struct, frozen=True):
    """Where a photo was taken (WGS 84), and who says so."""

    latitude: float | None = None
    longitude: float | None = None
    source: LocatedFrom | None = None


def captured(media: Media, *, said: datetime | None, zone: str) -> Capture:
    """The first that there is, in this order: the camera with its zone, GPS, the sender, the project's IANA `zone`."""
    clock = media.captured_at
    if clock is not None and clock.tzinfo is not None:
        return Capture(clock, "camera")
    if media.gps_at is not None:
        return Capture(_in_its_zone(media.gps_at, clock), "gps")
    if said is not None:
        return Capture(said, "client")
    if clock is not None:
        return Capture(clock.replace(tzinfo=ZoneInfo(zone)), "project")
    return Capture()


def located(media: Media, *, latitude: float | None, longitude: float | None) -> Location:
    """What the camera wrote, or else what the sender said."""
    if media.latitude is not None and media.longitude is not None:
        return Location(media.latitude, media.longitude, "camera")
    if latitude is not None and longitude is not None:
        return Location(latitude, longitude, "client")
    return Location()


class Grid(msgspec.Struct, frozen=True):
    """Cells of one grid that cover a piece of the map: their numbers along the Z curve, and by how many bits these are
    shorter than those of the finest grid.
    """

    cells: Sequence[int]
    shift: int


def grid(*, west: float, south: float, east: float, north: float) -> Grid:
    """The cells of the finest grid of which no more than twelve each way cover the box; WGS 84 degrees.

    Raises Problem invalid for a box that is none.
    """
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise Problem("invalid", "west < east and south < north, in degrees")
    for level in range(_FINEST, -1, -1):
        (left, bottom), (right, top) = _place(west, south, level), _place(east, north, level)
        if right - left < _CELLS_ACROSS and top - bottom < _CELLS_ACROSS:
            cells = [_along_z(x, y) for x in range(left, right + 1) for y in range(bottom, top + 1)]
            return Grid(cells, 2 * (_FINEST - level))
    raise AssertionError("one cell covers the world")


def _place(longitude: float, latitude: float, level: int) -> tuple[int, int]:
    across = 2**level
    column = min(math.floor((longitude + 180) / 360 * across), across - 1)
    return column, min(math.floor((latitude + 90) / 180 * across), across - 1)


def _along_z(column: int, row: int) -> int:
    return sum((column >> bit & 1) << 2 * bit | (row >> bit & 1) << 2 * bit + 1 for bit in range(_FINEST))


def with_zone(moment: datetime | None) -> datetime | None:
    """A moment as somebody asked for it. Raises Problem invalid where it doesn't say in which zone."""
    if moment is not None and moment.tzinfo is None:
        raise Problem("invalid", "times carry their zone")
    return moment


def tidy_name(name: str) -> str:
    """The name of a folder or document without blanks around it, each letter in one spelling (NFC).

    Raises Problem name_invalid for what can't be a file's name.
    """
    tidy = unicodedata.normalize("NFC", " ".join(name.split()))
    if not 1 <= len(tidy) <= 255 or tidy in (".", "..") or any(c in "/\\" or not c.isprintable() for c in tidy):
        raise Problem("name_invalid")
    return tidy


def distinct_paths(paths: Sequence[str]) -> list[str]:
    """Paths in an archive, of which no two are the same on a disk that doesn't tell capitals: "plano (2).pdf"."""
    taken: set[str] = set()
    given: list[str] = []
    for path in paths:
        stem, dot, ending = path.rpartition(".") if "." in path.rpartition("/")[2][1:] else (path, "", "")
        other, number = path, 1
        while other.casefold() in taken:
            number += 1
            other = f"{stem} ({number}){dot}{ending}"
        taken.add(other.casefold())
        given.append(other)
    return given


def tidy_tags(tags: Sequence[str]) -> list[str]:
    """Tags without blanks around them, each once.

    Raises Problem invalid for an empty or long one, or too many.
    """
    tidy = list(dict.fromkeys(" ".join(tag.split()) for tag in tags))
    if len(tidy) > MOST_TAGS or any(not 1 <= len(tag) <= 60 for tag in tidy):
        raise Problem("invalid", f"tags are 1 to 60 characters long, and at most {MOST_TAGS}")
    return tidy


def check_link(*, lives: timedelta) -> None:
    """Raises Problem invalid for a link that would have ended already, or would hardly ever end."""
    if not timedelta() < lives <= LONGEST_LINK:
        raise Problem("invalid", "expires_at lies within the next 365 days")


def has_page(number: int, media: Media, *, shown: bool) -> bool:
    """Whether a document that has a preview (`shown`) has such a page, counted from 1."""
    return shown and 1 <= number <= (media.pages or 1)


def _in_its_zone(gps_at: datetime, clock: datetime | None) -> datetime:
    """The camera's own time in the zone that the satellites' time shows it to be in.

    A fix may be some minutes old; a camera whose clock fits no zone isn't believed.
    """
    if clock is None:
        return gps_at
    quarters = round((clock - gps_at.astimezone(UTC).replace(tzinfo=None)) / _QUARTER)
    offset = quarters * _QUARTER
    return clock.replace(tzinfo=timezone(offset)) if abs(offset) <= _FARTHEST else gps_at
