"""A reader for the few EXIF fields that a construction photo is kept by; never raises, whatever it is given.

EXIF is a small TIFF inside the picture (https://www.cipa.jp/e/std/std-sec.html, CIPA DC-008). What is
missing, out of range or makes no sense is None; one bad field doesn't cost the others.
"""

import re
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from mmap import mmap
from typing import Final

import msgspec

MAKE: Final = 0x010F
MODEL: Final = 0x0110
EXIF_IFD: Final = 0x8769
GPS_IFD: Final = 0x8825
TIME_ORIGINAL: Final = 0x9003
OFFSET_ORIGINAL: Final = 0x9011
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE, GPS_TIME, GPS_DATE = 1, 2, 3, 4, 7, 29

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}  # bytes per value, by TIFF type
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_MAX_FIELDS = 512
_MAX_BYTES = 1024  # of one field; ours are short
_YEARS = range(1990, 2100)  # before and after them a camera's clock was never set

_MOMENT = re.compile(r"(\d{4})[:/-](\d\d?)[:/-](\d\d?)[ T](\d\d?):(\d\d?):(\d\d?)", re.ASCII)

Field = tuple[int, bytes]


class Exif(msgspec.Struct, frozen=True):
    """What was read: `captured_at` has a zone only when the camera gave one, `gps_at` is in UTC.

    Degrees are WGS 84, south and west < 0.
    """

    captured_at: datetime | None = None
    gps_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None


def read_exif(blob: bytes | mmap) -> Exif:
    """Read an EXIF blob, with or without its "Exif" header, or a mapped TIFF file, which is one; never raises."""
    tiff = _Tiff(blob.removeprefix(b"Exif\0\0") if isinstance(blob, bytes) else blob)
    main = tiff.fields(tiff.first)
    photo = tiff.fields(tiff.pointer(main, EXIF_IFD))
    gps = tiff.fields(tiff.pointer(main, GPS_IFD))
    latitude = _degrees(tiff.rationals(gps, LATITUDE), _text(gps, LATITUDE_REF), "NS", 90)
    longitude = _degrees(tiff.rationals(gps, LONGITUDE), _text(gps, LONGITUDE_REF), "EW", 180)
    if latitude is None or longitude is None or (latitude, longitude) == (0, 0):
        latitude = longitude = None  # half a place is none, and 0, 0 is a phone without a fix
    return Exif(
        captured_at=_moment(_text(photo, TIME_ORIGINAL), _zone(_text(photo, OFFSET_ORIGINAL))),
        gps_at=_gps_moment(_text(gps, GPS_DATE), tiff.rationals(gps, GPS_TIME)),
        latitude=latitude,
        longitude=longitude,
        camera=_camera(_text(main, MAKE), _text(main, MODEL)),
    )


class _Tiff:
    """The TIFF structure around the fields, every offset checked before it is followed."""

    def __init__(self, data: bytes | mmap) -> None:
        self._data = data
        self._order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "")
        self.first = self._number("I", data[4:8]) if self._order else 0

    def fields(self, offset: int) -> dict[int, Field]:
        """The fields of the directory at `offset`: tag to type and raw bytes; nothing for offset 0."""
        found: dict[int, Field] = {}
        if not offset:
            return found
        count = min(self._number("H", self._data[offset : offset + 2]), _MAX_FIELDS)
        for start in range(offset + 2, offset + 2 + 12 * count, 12):
            entry = self._data[start : start + 12]
            if len(entry) < 12:
                break
            tag, kind = self._number("H", entry[:2]), self._number("H", entry[2:4])
            size = _SIZES.get(kind, 0) * self._number("I", entry[4:8])
            if not 0 < size <= _MAX_BYTES:
                continue
            at = start + 8 if size <= 4 else self._number("I", entry[8:12])
            found.setdefault(tag, (kind, self._data[at : at + size]))
        return found

    def pointer(self, fields: Mapping[int, Field], tag: int) -> int:
        """The offset of a directory named by a field, 0 when there is none."""
        kind, raw = fields.get(tag, (0, b""))
        return self._number("I", raw[:4]) if kind == _LONG else 0

    def rationals(self, fields: Mapping[int, Field], tag: int) -> list[float] | None:
        """The fractions of a field, None when one of them is none."""
        kind, raw = fields.get(tag, (0, b""))
        if kind != _RATIONAL or not raw or len(raw) % 8:
            return None
        numbers = struct.unpack(f"{self._order}{len(raw) // 4}I", raw)
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        if any(below == 0 for _, below in pairs):
            return None
        return [above / below for above, below in pairs]

    def _number(self, kind: str, raw: bytes) -> int:
        width = struct.calcsize(f"<{kind}")
        return int(struct.unpack(f"{self._order}{kind}", raw)[0]) if len(raw) == width else 0


def _text(fields: Mapping[int, Field], tag: int) -> str:
    raw = fields.get(tag, (0, b""))[1].split(b"\0", 1)[0]
    return "".join(c for c in raw.decode("utf-8", "replace") if c.isprintable()).strip()


def _gps_moment(date: str, time: list[float] | None) -> datetime | None:
    if not time or len(time) != 3 or max(time) >= 61:
        return None
    hour, minute, second = (int(part) for part in time)  # of seconds, phones write fractions too
    return _moment(f"{date} {hour}:{minute}:{second}", UTC)


def _moment(text: str, zone: timezone | None) -> datetime | None:
    # "2026:11:23 10:30:00" by the book; phones also write dashes, slashes and a T
    found = _MOMENT.match(text)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    if year not in _YEARS:
        return None
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        return None


def _zone(offset: str) -> timezone | None:
    if offset == "Z":
        return UTC
    sign, hours, colon, minutes = offset[:1], offset[1:3], offset[3:4], offset[4:]
    if sign not in ("+", "-") or colon != ":" or len(minutes) != 2 or not (hours + minutes).isdecimal():
        return None
    delta = timedelta(hours=int(hours), minutes=int(minutes))
    if int(minutes) > 59 or delta > timedelta(hours=14):
        return None
    return timezone(delta if sign == "+" else -delta)


def _degrees(parts: list[float] | None, ref: str, letters: str, most: int) -> float | None:
    side = ref[:1].upper()
    if not parts or len(parts) > 3 or not side or side not in letters:
        return None
    degrees, minutes, seconds = (*parts, 0.0, 0.0)[:3]
    if minutes > 60 or seconds > 60:  # 60 itself is what rounding makes of 59.999
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if value > most:
        return None
    return round(-value if side == letters[1] else value, 7)


def _camera(make: str, model: str) -> str | None:
    # "Canon" and "Canon EOS R5" are one name, "Apple" and "iPhone 13" are two words of one
    name = model if model.lower().startswith(make.lower()) else f"{make} {model}"
    return name.strip()[:100] or None
