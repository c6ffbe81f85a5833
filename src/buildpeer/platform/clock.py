"""The clock, asked at the edge and passed inwards, so that tests can set it."""

from datetime import UTC, datetime


def now() -> datetime:
    """This instant, in UTC."""
    return datetime.now(UTC)
