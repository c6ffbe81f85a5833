"""When and where a photo was taken, and by whose word."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.facts import Media
from buildpeer.modules.documents.rules import Capture, Location, captured, folded, has_page, located

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


def test_words_are_alike_whatever_their_accents_and_size() -> None:
    assert folded("CIMENTACIÓN São Ñuñoa ﬁn") == "cimentacion sao nunoa fin"


def test_only_pages_that_are_there_can_be_looked_at() -> None:
    assert [n for n in range(-1, 5) if has_page(n, Media(pages=3), shown=True)] == [1, 2, 3]
    assert [n for n in range(-1, 5) if has_page(n, Media(), shown=True)] == [1]
    assert not has_page(1, Media(pages=3), shown=False)
