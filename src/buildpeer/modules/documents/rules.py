"""Pure rules of documents: when and where a photo was taken, what words are alike, which pages there are."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.facts import Media
from buildpeer.platform.limits import Limit

CapturedFrom = Literal["camera", "gps", "client", "project"]
LocatedFrom = Literal["camera", "client"]

PAGE_ORDERS = Limit("page-orders", quota=1, window_s=60)  # of one page: longer than one takes to be made

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


def folded(text: str) -> str:
    """Text as it is searched: small letters without accents, since few type them on a phone."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in apart if not unicodedata.combining(character))


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
