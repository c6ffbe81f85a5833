"""Pure rules of projects."""

import re

_ZONE = re.compile(r"[A-Za-z_]+(/[A-Za-z_-]+){1,2}|UTC")


def looks_like_zone(timezone: str) -> bool:
    """Whether a text has the shape of a place's name in the IANA database; whether there is such a place is for
    Postgres to say, which would also take abbreviations, and rules of somebody's own.
    """
    return _ZONE.fullmatch(timezone) is not None
