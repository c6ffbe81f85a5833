from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from buildpeer.modules.rfis import rules
from buildpeer.modules.rfis.rules import Actor, CourtDays, Held, Rfi
from buildpeer.platform.errors import Problem

NOW = datetime(2026, 11, 24, 17, tzinfo=UTC)
CREATOR, MANAGER, FIRST, SECOND, OTHER = (UUID(int=number) for number in range(1, 6))
OPEN = Rfi(
    rfi_id=UUID(int=99),
    project_id=UUID(int=98),
    number=1,
    status="open",
    subject="Losa",
    created_by=CREATOR,
    manager_id=MANAGER,
    assignees=(FIRST, SECOND),
    required=(FIRST, SECOND),
    due_date=date(2026, 12, 7),
    created_at=NOW,
    updated_at=NOW,
)


def test_somebody_added_keeps_the_others_on_the_ball_and_who_owes_nothing_never_has_it() -> None:
    replied = rules.reply(OPEN, FIRST, now=NOW)
    assert replied.ball_in_court == (SECOND,)
    asked = rules.edited(
        replied, replace(replied, assignees=(FIRST, SECOND, OTHER), required=(FIRST, SECOND, OTHER)), MANAGED, now=NOW
    )
    assert asked.ball_in_court == (SECOND, OTHER)
    asked = rules.edited(asked, replace(asked, required=(FIRST,)), MANAGED, now=NOW)
    assert asked.ball_in_court == (MANAGER,)


MANAGED = Actor(MANAGER)


def test_whoever_hands_a_private_one_over_still_sees_it() -> None:
    private = replace(OPEN, private=True)
    handed = rules.edited(private, replace(private, manager_id=OTHER), MANAGED, now=NOW)
    assert handed.distribution == (MANAGER,)
    assert rules.audience(handed) is not None
    assert MANAGER in (rules.audience(handed) or ())


def test_news_are_for_those_whom_they_concern_and_never_for_who_made_them() -> None:
    replied = rules.reply(OPEN, FIRST, now=NOW)
    over = rules.reply(replied, SECOND, now=NOW)
    assert rules.told(OPEN, over, "reply", SECOND) == (MANAGER,)
    answered = rules.act(over, "answer", now=NOW)
    assert rules.told(over, answered, "answer", MANAGER) == (CREATOR, FIRST, SECOND)
    draft = replace(OPEN, status="draft")
    assert rules.told(None, draft, "create", CREATOR) == ()


def test_sums_that_contradict_each_other_are_refused() -> None:
    for wrong in (
        {"cost_impact": "no", "cost_amount": 5},
        {"schedule_impact": "tbd", "schedule_days": 2},
        {"assignees": (), "required": ()},
        {"manager_id": None},
    ):
        with pytest.raises(Problem, match="invalid"):
            rules.edited(OPEN, replace(OPEN, **wrong), MANAGED, now=NOW)


def test_who_may_and_in_which_state_are_told_apart() -> None:
    with pytest.raises(Problem, match="not_allowed"):
        rules.check(OPEN, "answer", Actor(FIRST))
    with pytest.raises(Problem, match="rfi_state"):
        rules.check(OPEN, "submit", Actor(CREATOR))
    with pytest.raises(Problem, match="rfi_state"):
        rules.check(OPEN, "recall", MANAGED)
    assert rules.permitted(replace(OPEN, status="closed"), Actor(CREATOR)) == []
    assert rules.permitted(replace(OPEN, status="closed"), Actor(OTHER, admin=True)) == ["reopen"]


def workday(day: date, count: int) -> date:
    """Monday to Friday, but for the 8th of December."""
    works = lambda d: d.isoweekday() < 6 and d != date(2026, 12, 8)  # noqa: E731
    step = timedelta(days=-1 if count < 0 else 1)
    left = abs(count)
    while left or not works(day):
        day += step
        left -= left > 0 and works(day)
    return day


def test_reminders_come_at_nine_of_the_project_on_working_days() -> None:
    plan = rules.schedule(date(2026, 12, 7), "America/Lima", workday)
    assert [(kind, at.isoformat()) for kind, at in plan] == [
        ("soon", "2026-12-04T14:00:00+00:00"),  # the Friday before
        ("today", "2026-12-07T14:00:00+00:00"),
        ("late", "2026-12-09T14:00:00+00:00"),  # the 8th is a holiday
    ]
    assert rules.next_reminder(OPEN, plan, now=NOW) == plan[0][1]
    assert rules.due_reminder(OPEN, plan, now=plan[0][1]) == "soon"
    reminded = replace(OPEN, reminded="soon")
    assert rules.due_reminder(reminded, plan, now=plan[0][1]) is None
    assert rules.next_reminder(reminded, plan, now=plan[0][1]) == plan[1][1]
    assert rules.due_reminder(OPEN, plan, now=plan[2][1]) == "late"  # what was missed isn't made up for
    assert rules.next_reminder(replace(OPEN, reminded="late"), plan, now=plan[2][1]) is None
    assert rules.next_reminder(replace(OPEN, status="answered"), plan, now=NOW) is None


def test_a_due_day_is_over_at_midnight_of_the_project() -> None:
    late_evening = datetime(2026, 12, 8, 4, 59, tzinfo=UTC)  # still the 7th in Lima, the 8th in São Paulo
    assert not rules.is_overdue(OPEN, rules.local_day(late_evening, "America/Lima"))
    assert rules.is_overdue(OPEN, rules.local_day(late_evening, "America/Sao_Paulo"))
    assert not rules.is_overdue(replace(OPEN, status="answered"), date(2027, 1, 1))


def test_days_in_court_are_counted_in_both_ways_and_open_stretches_until_now() -> None:
    friday = datetime(2026, 11, 20, 20, tzinfo=UTC)
    monday = friday + timedelta(days=3)
    one = [Held(friday, (CREATOR,)), Held(friday, (MANAGER,)), Held(monday, (FIRST, SECOND))]
    two = [Held(monday, (FIRST,)), Held(monday + timedelta(hours=12), ())]
    now = monday + timedelta(days=2)
    found = rules.court_days([one, two], now=now, zone="America/Lima", works=lambda day: day.isoweekday() < 6)
    assert found == [
        CourtDays(MANAGER, 3.0, 1),  # over a weekend
        CourtDays(FIRST, 2.5, 3),
        CourtDays(SECOND, 2.0, 2),
        CourtDays(CREATOR, 0.0, 0),
    ]
    assert rules.court_days([], now=now, zone="America/Lima", works=lambda _: True) == []


def test_a_number_is_told_as_people_say_it() -> None:
    assert rules.full_number("TOR", 7) == "TOR-RFI-007"
    assert rules.full_number("TOR", 1234) == "TOR-RFI-1234"
    assert rules.full_number("TOR", None) is None
