"""When and where a photo was taken, and by whose word."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.facts import Media
from buildpeer.modules.documents.rules import (
    Capture,
    Location,
    captured,
    distinct_paths,
    grid,
    has_page,
    located,
    tidy_name,
    tidy_tags,
)
from buildpeer.platform.errors import Problem

ZONE = "America/Santiago"  # UTC-3 in November
CLOCK = datetime(2026, 11, 23, 7, 30, 5)
ZONED = CLOCK.replace(tzinfo=timezone(timedelta(hours=-6)))
GPS = datetime(2026, 11, 23, 12, 29, 58, tzinfo=UTC)
SAID = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("media", "said", "expected"),
    [
        (Media(captured_at=ZONED, gps_at=GPS), SAID, Capture(ZONED, "camera")),
        (
            Media(captured_at=CLOCK, gps_at=GPS),
            SAID,
            Capture(CLOCK.replace(tzinfo=timezone(-timedelta(hours=5))), "gps"),
        ),
        (Media(gps_at=GPS), SAID, Capture(GPS, "gps")),
        (Media(captured_at=datetime(1999, 1, 1), gps_at=GPS), None, Capture(GPS, "gps")),
        (Media(captured_at=CLOCK), SAID, Capture(SAID, "client")),
        (Media(captured_at=CLOCK), None, Capture(CLOCK.replace(tzinfo=timezone(-timedelta(hours=3))), "project")),
        (Media(), SAID, Capture(SAID, "client")),
        (Media(), None, Capture()),
    ],
)
def test_the_time_is_the_first_that_there_is_in_the_stated_order(media, said, expected) -> None:
    found = captured(media, said=said, zone=ZONE)
    assert found == expected
    assert found.at is None or found.at.utcoffset() == expected.at.utcoffset()


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)),
    st.integers(-48, 56),
    st.integers(-420, 420),
)
def test_a_camera_s_zone_follows_from_gps_as_long_as_the_fix_is_minutes_old(clock, quarters, late_s) -> None:
    offset = quarters * timedelta(minutes=15)
    gps = (clock - offset).replace(tzinfo=UTC) + timedelta(seconds=late_s)
    found = captured(Media(captured_at=clock, gps_at=gps), said=None, zone=ZONE)
    assert found.at == clock.replace(tzinfo=timezone(offset)) and found.source == "gps"


def test_a_place_is_the_camera_s_or_else_the_sender_s() -> None:
    camera = Media(latitude=1.0, longitude=2.0)
    assert located(camera, latitude=3.0, longitude=4.0) == Location(1.0, 2.0, "camera")
    assert located(Media(), latitude=3.0, longitude=4.0) == Location(3.0, 4.0, "client")
    assert located(Media(), latitude=None, longitude=None) == Location()


def test_only_pages_that_are_there_can_be_looked_at() -> None:
    assert [n for n in range(-1, 5) if has_page(n, Media(pages=3), shown=True)] == [1, 2, 3]
    assert [n for n in range(-1, 5) if has_page(n, Media(), shown=True)] == [1]
    assert not has_page(1, Media(pages=3), shown=False)


@given(
    st.floats(-180, 179.9),
    st.floats(-90, 89.9),
    st.floats(1e-6, 90),
    st.floats(1e-6, 45),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_few_cells_cover_a_box_whole(west, south, width, height, x, y) -> None:
    east, north = min(west + width, 180.0), min(south + height, 90.0)
    if not (west < east and south < north):
        return
    found = grid(west=west, south=south, east=east, north=north)
    assert 1 <= len(found.cells) <= 12 * 12
    longitude, latitude = west + (east - west) * x, south + (north - south) * y
    across = 2 ** (24 - found.shift // 2)
    column = min(int((longitude + 180) / 360 * across), across - 1)
    row = min(int((latitude + 90) / 180 * across), across - 1)
    woven = sum((column >> bit & 1) << 2 * bit | (row >> bit & 1) << 2 * bit + 1 for bit in range(24))
    assert woven in found.cells


def test_a_box_that_is_none_is_refused() -> None:
    for west, south, east, north in ((1, 0, 0, 1), (0, 1, 1, 0), (0, 0, 181, 1), (0, -91, 1, 0)):
        with pytest.raises(Problem, match="invalid"):
            grid(west=west, south=south, east=east, north=north)


def test_paths_in_an_archive_are_distinct_even_where_capitals_are_none() -> None:
    paths = ["A/plano.pdf", "A/PLANO.pdf", "A/plano.pdf", "A/plano (2).pdf", ".env", ".env", "B.1/sin", "B.1/sin"]
    found = distinct_paths(paths)
    assert found == [
        "A/plano.pdf",
        "A/PLANO (2).pdf",
        "A/plano (3).pdf",
        "A/plano (2) (2).pdf",
        ".env",
        ".env (2)",
        "B.1/sin",
        "B.1/sin (2)",
    ]


def test_names_are_tidied_or_refused() -> None:
    assert tidy_name("  Plano   Nin\u0303o ") == "Plano Niño"
    for name in ("", "  ", ".", "..", "a/b", "a\\b", "a\x07b", "a\u202eb", "x" * 256):
        with pytest.raises(Problem, match="name_invalid"):
            tidy_name(name)
    assert tidy_tags([" Losa  1 ", "Losa 1", "eje"]) == ["Losa 1", "eje"]
    for tags in ([""], ["x" * 61], [str(n) for n in range(51)]):
        with pytest.raises(Problem, match="invalid"):
            tidy_tags(tags)
