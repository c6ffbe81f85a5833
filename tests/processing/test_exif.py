"""The EXIF reader: the fields it is for, and that nothing makes it raise."""

import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildpeer.processing.exif import (
    EXIF_IFD,
    GPS_DATE,
    GPS_IFD,
    GPS_TIME,
    LATITUDE,
    LATITUDE_REF,
    LONGITUDE,
    LONGITUDE_REF,
    MAKE,
    MODEL,
    OFFSET_ORIGINAL,
    TIME_ORIGINAL,
    Exif,
    read_exif,
)

ASCII, LONG, RATIONAL = 2, 4, 5


def text(value: str) -> tuple[int, int, bytes]:
    raw = value.encode() + b"\0"
    return ASCII, len(raw), raw


def fractions(order: str, *pairs: tuple[int, int]) -> tuple[int, int, bytes]:
    return RATIONAL, len(pairs), b"".join(struct.pack(f"{order}II", *pair) for pair in pairs)


def directory(order: str, at: int, fields: dict[int, tuple[int, int, bytes]]) -> bytes:
    head, tail = struct.pack(f"{order}H", len(fields)), b""
    behind = at + 2 + 12 * len(fields) + 4
    for tag, (kind, count, raw) in fields.items():
        if len(raw) > 4:
            value = struct.pack(f"{order}I", behind + len(tail))
            tail += raw
        else:
            value = raw.ljust(4, b"\0")
        head += struct.pack(f"{order}HHI", tag, kind, count) + value
    return head + b"\0\0\0\0" + tail


def make(main=None, photo=None, gps=None, order="<") -> bytes:
    """A TIFF by the book: three directories, 2,000 bytes apart."""
    main = dict(main or {})
    main[EXIF_IFD] = (LONG, 1, struct.pack(f"{order}I", 2000))
    main[GPS_IFD] = (LONG, 1, struct.pack(f"{order}I", 4000))
    blob = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    blob = (blob + directory(order, 8, main)).ljust(2000, b"\0")
    blob = (blob + directory(order, 2000, photo or {})).ljust(4000, b"\0")
    return b"Exif\0\0" + blob + directory(order, 4000, gps or {})


def place(lat, lat_ref, lon, lon_ref, order="<"):
    return read_exif(
        make(
            order=order,
            gps={
                LATITUDE_REF: text(lat_ref),
                LATITUDE: fractions(order, *lat),
                LONGITUDE_REF: text(lon_ref),
                LONGITUDE: fractions(order, *lon),
            },
        )
    )


def taken(when: str, offset: str | None = None) -> datetime | None:
    photo = {TIME_ORIGINAL: text(when)}
    if offset is not None:
        photo[OFFSET_ORIGINAL] = text(offset)
    return read_exif(make(photo=photo)).captured_at


@pytest.mark.parametrize("order", ["<", ">"])
def test_everything_at_once(order):
    blob = make(
        order=order,
        main={MAKE: text("Apple"), MODEL: text("iPhone 13")},
        photo={TIME_ORIGINAL: text("2026:11:23 07:30:05"), OFFSET_ORIGINAL: text("-06:00")},
        gps={
            LATITUDE_REF: text("N"),
            LATITUDE: fractions(order, (19, 1), (25, 1), (5778, 100)),
            LONGITUDE_REF: text("W"),
            LONGITUDE: fractions(order, (99, 1), (8, 1), (0, 1)),
        },
    )
    assert read_exif(blob) == Exif(
        captured_at=datetime(2026, 11, 23, 7, 30, 5, tzinfo=timezone(timedelta(hours=-6))),
        latitude=19.4327167,
        longitude=-99.1333333,
        camera="Apple iPhone 13",
    )
    assert read_exif(blob.removeprefix(b"Exif\0\0")) == read_exif(blob)


@pytest.mark.parametrize(
    ("when", "offset", "expected"),
    [
        ("2026:11:23 07:30:05", None, datetime(2026, 11, 23, 7, 30, 5)),
        ("2026:11:23 07:30:05", "Z", datetime(2026, 11, 23, 7, 30, 5, tzinfo=UTC)),
        ("2026:11:23 07:30:05", "+05:45", datetime(2026, 11, 23, 7, 30, 5, tzinfo=timezone(timedelta(minutes=345)))),
        ("2026:11:23 07:30:05", "nonsense", datetime(2026, 11, 23, 7, 30, 5)),
        ("2026:11:23 07:30:05", "+99:00", datetime(2026, 11, 23, 7, 30, 5)),
        ("2026:11:23 07:30:05", "+01:75", datetime(2026, 11, 23, 7, 30, 5)),
        ("2026-11-23T07:30:05", None, datetime(2026, 11, 23, 7, 30, 5)),
        ("0000:00:00 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("2026:13:01 07:30:05", None, None),
        ("2026:02:30 07:30:05", None, None),
        ("2026:11:23 24:30:05", None, None),
        ("1970:01:01 00:00:00", None, None),
        ("9999:12:31 23:59:59", "-14:00", None),
        ("2026:11:23", None, None),
        ("", None, None),
    ],
)
def test_capture_times(when, offset, expected):
    found = taken(when, offset)
    assert found == expected and (found is None or found.tzinfo == expected.tzinfo)


@pytest.mark.parametrize(
    ("lat", "lat_ref", "lon", "lon_ref", "expected"),
    [
        ([(33, 1), (26, 1), (0, 1)], "S", [(70, 1), (39, 1), (0, 1)], "W", (-33.4333333, -70.65)),
        ([(43, 1), (2804, 100), (0, 1)], "N", [(11, 1), (53, 1), (0, 1)], "E", (43.4673333, 11.8833333)),
        ([(-0 + 19, 1)], "n", [(99, 1)], "w", (19.0, -99.0)),
        ([(91, 1), (0, 1), (0, 1)], "N", [(10, 1), (0, 1), (0, 1)], "E", (None, None)),
        ([(10, 1), (0, 1), (0, 1)], "N", [(180, 1), (0, 1), (1, 1)], "E", (None, None)),
        ([(10, 1), (0, 0), (0, 1)], "N", [(10, 1), (0, 1), (0, 1)], "E", (None, None)),
        ([(10, 1), (61, 1), (0, 1)], "N", [(10, 1), (0, 1), (0, 1)], "E", (None, None)),
        ([(10, 1)], "X", [(10, 1)], "E", (None, None)),
        ([(10, 1)], "", [(10, 1)], "E", (None, None)),
        ([(10, 1)], "N", [(10, 1)], "N", (None, None)),
        ([(0, 1), (0, 1), (0, 1)], "N", [(0, 1), (0, 1), (0, 1)], "E", (None, None)),
    ],
)
def test_places(lat, lat_ref, lon, lon_ref, expected):
    found = place(lat, lat_ref, lon, lon_ref)
    assert (found.latitude, found.longitude) == expected


@pytest.mark.parametrize(
    ("make_", "model", "expected"),
    [
        ("Canon", "Canon EOS R5", "Canon EOS R5"),
        ("Apple", "", "Apple"),
        ("", "SM-A515F", "SM-A515F"),
        ("", "", None),
        ("Bad\x01\x02", "Name\u202e" + "x" * 500, "Bad Name" + "x" * 92),
    ],
)
def test_cameras(make_, model, expected):
    assert read_exif(make({MAKE: text(make_), MODEL: text(model)})).camera == expected


def test_a_directory_that_points_to_itself_ends():
    blob = bytearray(make())
    looped = bytes(blob).replace(struct.pack("<I", 2000), struct.pack("<I", 8))
    assert read_exif(looped) == Exif()


@given(st.binary(max_size=600))
def test_garbage_never_raises(blob):
    read_exif(blob)
    read_exif(b"Exif\0\0II*\0\x08\0\0\0" + blob)


GOOD = make(
    main={MAKE: text("Apple"), MODEL: text("iPhone 13")},
    photo={TIME_ORIGINAL: text("2026:11:23 07:30:05"), OFFSET_ORIGINAL: text("-06:00")},
    gps={
        LATITUDE_REF: text("N"),
        LATITUDE: fractions("<", (19, 1), (25, 1), (0, 1)),
        LONGITUDE_REF: text("W"),
        LONGITUDE: fractions("<", (99, 1), (8, 1), (0, 1)),
    },
)
# the bytes that mean something, so that a change is likely to hit one
MEANING = [i for i in range(len(GOOD)) if GOOD[i]] + list(range(6, 120))


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(MEANING), st.integers(0, 255)), max_size=8), st.integers(0, len(GOOD)))
def test_a_damaged_blob_never_raises_and_never_lies_about_ranges(changes, cut):
    blob = bytearray(GOOD)
    for at, value in changes:
        blob[at] = value
    for damaged in (bytes(blob), bytes(blob[:cut])):
        found = read_exif(damaged)
        assert (found.latitude is None) == (found.longitude is None)
        assert found.latitude is None or abs(found.latitude) <= 90
        assert found.longitude is None or abs(found.longitude) <= 180
        assert found.camera is None or (found.camera.isprintable() and len(found.camera) <= 100)


def gps_time(date: str, *time: tuple[int, int], order: str = "<") -> datetime | None:
    return read_exif(make(order=order, gps={GPS_DATE: text(date), GPS_TIME: fractions(order, *time)})).gps_at


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_satellites_time_is_utc(order):
    found = gps_time("2026:11:23", (13, 1), (30, 1), (5900, 100), order=order)
    assert found == datetime(2026, 11, 23, 13, 30, 59, tzinfo=UTC)


def test_a_satellites_time_that_makes_no_sense_is_none():
    for date, time in (
        ("", ((1, 1), (2, 1), (3, 1))),
        ("2026:11:23", ((25, 1), (0, 1), (0, 1))),
        ("2026:11:23", ((1, 1), (2, 1), (4_000_000_000, 1))),
        ("2026:11:23", ((1, 0), (2, 1), (3, 1))),
        ("2026:11:23", ((1, 1), (2, 1))),
        ("1980:01:06", ((0, 1), (0, 1), (0, 1))),
    ):
        assert gps_time(date, *time) is None, (date, time)
