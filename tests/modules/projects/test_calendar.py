"""On which days people work."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.modules.projects import facade
from buildpeer.modules.projects.rules import (
    MOST_DAYS,
    Calendar,
    add_working_days,
    holiday,
    is_working_day,
    working_days_between,
)
from buildpeer.platform.errors import Problem

DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))
CALENDARS = st.builds(
    Calendar,
    country=st.sampled_from([None, "MX", "CO", "BR", "CL", "PE"]),
    rest_weekdays=st.frozensets(st.integers(1, 7), max_size=6),
    days=st.dictionaries(DAYS, st.booleans(), max_size=20),
)
COUNTS = st.integers(-60, 60)


@given(CALENDARS, DAYS, COUNTS)
def test_so_many_working_days_later_is_a_working_day_with_so_many_between(calendar, day, count) -> None:
    later = add_working_days(calendar, day, count)
    assert is_working_day(calendar, later)
    between = working_days_between(calendar, day, later)
    if count > 0:
        assert between == count
    if count == 0:
        assert later >= day
        assert between == (0 if is_working_day(calendar, day) else 1)
    if count < 0:
        assert between == count + is_working_day(calendar, later) - is_working_day(calendar, day)


@given(CALENDARS, DAYS, st.integers(0, 30), st.integers(1, 30))
def test_counting_on_is_counting_at_once_and_later_never_comes_earlier(calendar, day, first, second) -> None:
    halfway = add_working_days(calendar, day, first)
    assert add_working_days(calendar, halfway, second) == add_working_days(
        calendar, day, first + second + (first == 0 and not is_working_day(calendar, day))
    )
    assert first == 0 or halfway < add_working_days(calendar, day, first + second)
    assert add_working_days(calendar, day, second) <= add_working_days(calendar, day + timedelta(days=1), second)


@given(CALENDARS, DAYS, DAYS, DAYS)
def test_days_add_up_whatever_lies_between(calendar, one, two, three) -> None:
    both = working_days_between(calendar, one, two) + working_days_between(calendar, two, three)
    assert working_days_between(calendar, one, three) == both
    assert working_days_between(calendar, one, two) == -working_days_between(calendar, two, one)


@given(CALENDARS, DAYS, st.booleans())
def test_what_a_project_says_of_a_day_goes_before_all_else(calendar, day, works) -> None:
    assert is_working_day(Calendar(calendar.country, calendar.rest_weekdays, {day: works}), day) is works


@pytest.mark.parametrize(
    ("country", "day", "name"),
    [
        ("MX", date(2026, 11, 16), "Revolución"),  # the third Monday of November
        ("CO", date(2026, 11, 2), "Todos los Santos"),  # moved to Monday
        ("BR", date(2026, 11, 20), "Consciência Negra"),
        ("CL", date(2026, 9, 18), "Independencia"),
        ("PE", date(2026, 7, 28), "Independencia"),
    ],
)
def test_public_holidays_are_those_of_the_country(country, day, name) -> None:
    assert name in (holiday(country, day, "pt" if country == "BR" else "es") or "")
    assert not is_working_day(Calendar(country), day)
    assert is_working_day(Calendar(None), day)
    assert holiday(country, day, "en")


def test_nobody_counts_without_end() -> None:
    with pytest.raises(ValueError, match="working days"):
        add_working_days(Calendar(), date(2026, 1, 1), MOST_DAYS + 1)


async def test_a_project_s_calendar_is_its_week_its_country_and_its_own_days(http, db, company, found_company) -> None:
    manager, worker = await company.hire("manager"), await company.hire()
    headers, path = company.bearer(manager), f"/v1/projects/{company.tower}"
    changes = {"country": "MX", "rest_weekdays": [7, 6, 7]}
    changed = await http.patch(path, json=changes, headers=headers | {"if-match": '"1"'})
    assert changed.json()["rest_weekdays"] == [6, 7]
    for day, wanted in (("2026-11-21", {"works": True, "name": "Colado"}), ("2026-11-23", {"works": False})):
        for _ in range(2):
            assert (await http.put(f"{path}/calendar/{day}", json=wanted, headers=headers)).status_code == 200
    shown = await http.get(
        f"{path}/calendar?from=2026-11-16&to=2026-11-29", headers=company.bearer(worker) | {"accept-language": "es"}
    )
    assert [(d["day"], d["works"], d["source"]) for d in shown.json()["days"]] == [
        ("2026-11-16", False, "holiday"),
        ("2026-11-21", True, "project"),
        ("2026-11-23", False, "project"),
    ]
    assert shown.json()["working_days"] == 9
    async with db.transaction(worker.scope) as tx:
        calendar = await facade.calendar_of(tx, company.tower)
        assert facade.add_working_days(calendar, date(2026, 11, 20), 2) == date(2026, 11, 24)
        with pytest.raises(Problem, match="not_found"):
            await facade.calendar_of(tx, company.school)
    assert (await http.delete(f"{path}/calendar/2026-11-21", headers=headers)).status_code == 204
    assert (await http.delete(f"{path}/calendar/2026-11-21", headers=headers)).status_code == 404
    for period in ("from=2026-02-01&to=2026-01-01", "from=2026-01-01&to=2028-01-01"):
        answer = await http.get(f"{path}/calendar?{period}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    week = {"rest_weekdays": [1, 2, 3, 4, 5, 6, 7]}
    assert (await http.patch(path, json=week, headers=headers | {"if-match": "*"})).status_code == 422
