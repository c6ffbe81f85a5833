"""Pure rules of projects: time zones, and which days people work."""

import functools
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Literal

import holidays
import msgspec

Country = Literal["MX", "CO", "BR", "CL", "PE"]
Phase = Literal["bidding", "preconstruction", "construction", "closeout", "warranty"]
Duty = Literal["client", "contractor", "subcontractor", "supervision", "design", "supplier", "other"]
MOST_DAYS = 5000  # working days that anybody counts
_ZONE = re.compile(r"[A-Za-z_]+(/[A-Za-z_-]+){1,2}|UTC")
_DAY = timedelta(days=1)


class Calendar(msgspec.Struct, frozen=True):
    """On which days people work: not on `rest_weekdays` (ISO 8601: 1 is Monday), nor on public holidays of `country`;
    `days` says otherwise of single ones.
    """

    country: Country | None = None
    rest_weekdays: frozenset[int] = frozenset({7})
    days: Mapping[date, bool] = {}


def looks_like_zone(timezone: str) -> bool:
    """Whether a text has the shape of a place's name in the IANA database; whether there is such a place is for
    Postgres to say, which would also take abbreviations, and rules of somebody's own.
    """
    return _ZONE.fullmatch(timezone) is not None


def holiday(country: Country | None, day: date, language: str = "es") -> str | None:
    """The name of a public holiday in `language` (es, pt or en), where the country's own tongue or English must do for
    Portuguese and Spanish; None for a day that isn't one.
    """
    return _holidays(country, language).get(day) if country else None


def is_working_day(calendar: Calendar, day: date) -> bool:
    """Whether people work on that day."""
    said = calendar.days.get(day)
    if said is not None:
        return said
    return day.isoweekday() not in calendar.rest_weekdays and holiday(calendar.country, day) is None


def add_working_days(calendar: Calendar, day: date, count: int) -> date:
    """The working day that comes `count` working days after `day`, before it where `count` is negative.

    Nought gives the day itself, or else the first working day after it. Raises ValueError for more than MOST_DAYS.
    """
    if abs(count) > MOST_DAYS:
        raise ValueError(f"nobody counts {count} working days")
    step = -_DAY if count < 0 else _DAY
    left = abs(count)
    while left or not is_working_day(calendar, day):
        day += step
        left -= left > 0 and is_working_day(calendar, day)
    return day


def working_days_between(calendar: Calendar, first: date, last: date) -> int:
    """How many working days come after `first` up to and with `last`; less than nought where `last` comes first."""
    if last < first:
        return -working_days_between(calendar, last, first)
    return sum(is_working_day(calendar, first + _DAY * number) for number in range(1, (last - first).days + 1))


@functools.cache
def _holidays(country: Country, language: str) -> holidays.HolidayBase:
    """Years are worked out as somebody asks for them."""
    known = holidays.country_holidays(country)
    tongue = {"es": "es", "pt": "pt_BR", "en": "en_US"}[language]
    spoken = tongue if tongue in known.supported_languages else known.default_language
    return holidays.country_holidays(country, language=spoken)
