"""Pure rules of RFIs: states, who may do what, in whose court the ball is, when to remind.

The states are those of Autodesk Construction Cloud, the ball in court follows Procore: who answers is asked until all
who owe a reply have given it, then the RFI manager decides.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Literal, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from buildpeer.platform.errors import Problem

Status = Literal["draft", "submitted", "open", "answered", "closed", "rejected", "void"]
Action = Literal["submit", "open", "reject", "revise", "forward", "recall", "answer", "close", "void", "reopen"]
Verb = Literal["create", "edit", "reply"] | Action
Impact = Literal["yes", "no", "tbd"]
Reminder = Literal["soon", "today", "late"]
Part = Literal["creator", "manager", "assignee", "reviewer", "holder"]
STATUSES: tuple[Status, ...] = get_args(Status)
REMINDERS: tuple[Reminder, ...] = get_args(Reminder)
REMIND_AT = time(9)  # in the project's zone
WAITING: tuple[Status, ...] = ("submitted", "open")  # these can be late
MOST_PEOPLE = 100  # assignees, and in the distribution
MOST_DOCUMENTS = 100
MOST_COST = Decimal(10**15)
MOST_AT_ONCE = 200  # RFIs in one bulk change


class Rfi(msgspec.Struct, frozen=True, kw_only=True):
    """An RFI as the database has it; `required` are the assignees who owe a reply, `replied` those who have given it
    since it was opened; `due_date` is a day of the project's calendar, which ends at midnight there.
    """

    rfi_id: UUID
    project_id: UUID
    number: int | None = None
    status: Status = "draft"
    version: int = 1
    subject: str
    question: str = ""
    reference: str = ""
    private: bool = False
    created_by: UUID
    manager_id: UUID | None = None
    assignees: tuple[UUID, ...] = ()
    required: tuple[UUID, ...] = ()
    replied: tuple[UUID, ...] = ()
    reviewer_id: UUID | None = None
    distribution: tuple[UUID, ...] = ()
    ball_in_court: tuple[UUID, ...] = ()
    documents: tuple[UUID, ...] = ()
    location_id: UUID | None = None
    trade_id: UUID | None = None
    received_from_id: UUID | None = None
    responsible_id: UUID | None = None
    due_date: date | None = None
    cost_impact: Impact = "tbd"
    cost_amount: Decimal | None = None
    schedule_impact: Impact = "tbd"
    schedule_days: int | None = None
    remind_at: datetime | None = None
    reminded: Reminder | None = None
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime | None = None
    opened_at: datetime | None = None
    answered_at: datetime | None = None
    closed_at: datetime | None = None


class Actor(msgspec.Struct, frozen=True):
    """Who does something, and whether their role decides over others' RFIs (level admin)."""

    person_id: UUID
    admin: bool = False


class Assignee(msgspec.Struct, frozen=True):
    """Somebody who is asked; the ball stays with those who owe a reply until they have given it."""

    person_id: UUID
    response_required: bool = True


class Held(msgspec.Struct, frozen=True):
    """From when on the ball lay in these courts."""

    since: datetime
    people: tuple[UUID, ...]


class CourtDays(msgspec.Struct, frozen=True):
    """How long the ball lay in somebody's court: in days of 24 hours, and in working days of the project begun after
    the day on which it came.
    """

    person_id: UUID
    calendar_days: float
    working_days: int


# What may be done in which states, what becomes of the state (None: nothing), and by whom besides admins.
_TABLE: tuple[tuple[Verb, frozenset[Status], Status | None, frozenset[Part]], ...] = (
    ("edit", frozenset({"draft", "rejected"}), None, frozenset({"creator"})),
    ("edit", frozenset({"submitted", "open", "answered"}), None, frozenset({"manager"})),
    ("submit", frozenset({"draft"}), "submitted", frozenset({"creator"})),
    ("open", frozenset({"submitted"}), "open", frozenset({"manager"})),
    ("reject", frozenset({"submitted"}), "rejected", frozenset({"manager"})),
    ("revise", frozenset({"rejected"}), "draft", frozenset({"creator"})),
    ("reply", frozenset({"open"}), None, frozenset({"creator", "manager", "assignee", "reviewer"})),
    ("forward", frozenset({"open"}), None, frozenset({"manager", "holder"})),
    ("recall", frozenset({"open"}), None, frozenset({"manager"})),
    ("answer", frozenset({"open", "answered"}), "answered", frozenset({"manager"})),
    ("close", frozenset({"answered"}), "closed", frozenset({"creator", "manager"})),
    ("void", frozenset({"draft", "rejected"}), "void", frozenset({"creator"})),
    ("void", frozenset({"submitted", "open", "answered"}), "void", frozenset({"manager"})),
    ("reopen", frozenset({"answered", "closed"}), "open", frozenset({"manager"})),
    ("reopen", frozenset({"void"}), "draft", frozenset({"creator"})),
)


def ball_in_court(rfi: Rfi) -> tuple[UUID, ...]:
    """Who has to move next, in order of id; nobody, once it is closed or void."""
    match rfi.status:
        case "draft" | "rejected":
            holders: Iterable[UUID | None] = [rfi.created_by]
        case "submitted":
            holders = [rfi.manager_id]
        case "open":
            owing = [person for person in rfi.required if person not in rfi.replied]
            holders = [rfi.reviewer_id] if rfi.reviewer_id else owing or [rfi.manager_id]
        case "answered":
            holders = [rfi.manager_id, rfi.created_by]
        case "closed" | "void":
            holders = []
    return tuple(sorted({person for person in holders if person is not None}))


def audience(rfi: Rfi) -> tuple[UUID, ...] | None:
    """Who may see it besides admins; None: everybody in the project. The table's policy says the same."""
    if rfi.status == "draft":
        return (rfi.created_by,)
    return insiders(rfi) if rfi.private else None


def insiders(rfi: Rfi) -> tuple[UUID, ...]:
    """Those who are in it: creator, manager, assignees, distribution."""
    named = {rfi.created_by, rfi.manager_id, *rfi.assignees, *rfi.distribution}
    return tuple(sorted(person for person in named if person is not None))


def permitted(rfi: Rfi, by: Actor) -> list[Verb]:
    """What somebody may do with it as it stands."""
    parts = _parts(rfi, by)
    return [verb for verb, _, allowed in _possible(rfi) if parts & allowed]


def check(rfi: Rfi, verb: Verb, by: Actor) -> None:
    """Raises Problem rfi_state where nobody may do this in its state, not_allowed where somebody else may."""
    if verb in permitted(rfi, by):
        return
    if any(verb == possible for possible, _, _ in _possible(rfi)):
        raise Problem("not_allowed")
    raise Problem("rfi_state", state=rfi.status)


def target(rfi: Rfi, action: Action) -> Status:
    """The state into which an action leads from here; where it leads nowhere, the present one."""
    leads: list[Status] = [to for verb, to, _ in _possible(rfi) if verb == action and to]
    return leads[0] if leads else rfi.status


def targets(action: Action) -> set[Status]:
    """Every state into which an action may lead."""
    return {to for name, _, to, _ in _TABLE if name == action and to}


def submit(rfi: Rfi, *, number: int, manager_id: UUID, now: datetime) -> Rfi:
    """It leaves its draft; a number once given is kept.

    Raises Problem invalid without a question.
    """
    if not rfi.question.strip():
        raise Problem("invalid", "question: an RFI asks something")
    return _moved(replace(rfi, number=rfi.number or number, manager_id=manager_id, submitted_at=now), "submitted", now)


def open_(rfi: Rfi, *, due_date: date, now: datetime) -> Rfi:
    """The manager takes it and asks the assignees, until `due_date` if it has no date of its own.

    Raises Problem invalid without assignees.
    """
    if not rfi.assignees:
        raise Problem("invalid", "assignees: somebody has to be asked")
    return _moved(replace(rfi, due_date=rfi.due_date or due_date, opened_at=now), "open", now)


def forward(rfi: Rfi, person_id: UUID, *, now: datetime) -> Rfi:
    """One person is asked for a review; the ball comes back with their reply. They see it from now on."""
    return _moved(replace(rfi, reviewer_id=person_id, distribution=_with(rfi, person_id)), rfi.status, now)


def reply(rfi: Rfi, person_id: UUID, *, now: datetime) -> Rfi:
    """Somebody has replied: what they owed is given, and a review is over."""
    replied = (*rfi.replied, person_id) if person_id in rfi.required and person_id not in rfi.replied else rfi.replied
    reviewer_id = None if rfi.reviewer_id == person_id else rfi.reviewer_id
    return _moved(replace(rfi, replied=replied, reviewer_id=reviewer_id), rfi.status, now)


def act(rfi: Rfi, action: Action, *, now: datetime) -> Rfi:
    """What becomes of it by an action that needs nothing but itself."""
    to = target(rfi, action)
    match action:
        case "answer":
            rfi = replace(rfi, answered_at=now, reviewer_id=None)
        case "close" | "void":
            rfi = replace(rfi, closed_at=now, reviewer_id=None)
        case "recall":
            rfi = replace(rfi, reviewer_id=None)
        case "reopen":  # whoever owed a reply owes one again
            rfi = replace(rfi, replied=(), reviewer_id=None, answered_at=None, closed_at=None)
        case _:
            pass
    return _moved(rfi, to, now)


def edited(rfi: Rfi, changed: Rfi, by: Actor, *, now: datetime) -> Rfi:
    """What becomes of it by an edit to `changed`: who edits stays in it, so that they see what they did, and so does
    who was its manager.

    Raises Problem invalid for an open RFI without assignees or manager, and for sums that contradict each other.
    """
    _check_fields(changed)
    if rfi.status in ("open", "answered") and not changed.assignees:
        raise Problem("invalid", "assignees: somebody has to be asked")
    if rfi.status not in ("draft", "rejected") and changed.manager_id is None:
        raise Problem("invalid", "manager_id: somebody has to manage it")
    if not by.admin and by.person_id not in insiders(changed):
        changed = replace(changed, distribution=_with(changed, by.person_id))
    kept = tuple(person for person in changed.replied if person in changed.required)
    fresh = changed.due_date != rfi.due_date
    reminded = None if fresh else changed.reminded
    return _moved(replace(changed, replied=kept, reminded=reminded), rfi.status, now)


def drafted(rfi: Rfi, *, now: datetime) -> Rfi:
    """A new draft. Raises Problem invalid for sums that contradict each other."""
    _check_fields(rfi)
    return replace(rfi, ball_in_court=ball_in_court(rfi), updated_at=now)


def told(old: Rfi | None, new: Rfi, verb: Verb, by: UUID) -> tuple[UUID, ...]:
    """Whom news of a change are for, besides those who follow everything: who has the ball now and hadn't, whoever is
    newly asked or in the distribution, and at turning points everybody who is in it; never who did it.
    """
    if new.status == "draft":
        return ()
    before = set(old.ball_in_court) | set(insiders(old)) if old is not None and old.status != "draft" else set[UUID]()
    people = (set(new.ball_in_court) - set(old.ball_in_court if old else ())) | (set(insiders(new)) - before)
    if verb in ("answer", "close", "void", "reject", "reopen") or (verb == "open" and new.status == "open"):
        people |= set(insiders(new))
    return tuple(sorted(people - {by}))


def schedule(due: date, zone: str, shift: Callable[[date, int], date]) -> list[tuple[Reminder, datetime]]:
    """When to remind: at 9:00 of the project on the working day before it is due, on the day itself, and on the working
    day after it. `shift(day, n)` counts working days; `shift(day, 0)` is the day itself or the next working day.
    """
    days = (shift(due, -1), shift(due, 0), shift(due, 1))
    return [(kind, instant(day, zone)) for kind, day in zip(REMINDERS, days, strict=True)]


def instant(day: date, zone: str) -> datetime:
    """Nine in the morning of a day in a zone, in UTC."""
    return datetime.combine(day, REMIND_AT, ZoneInfo(zone)).astimezone(UTC)


def next_reminder(rfi: Rfi, plan: Sequence[tuple[Reminder, datetime]], *, now: datetime) -> datetime | None:
    """When to look at it next; None: never."""
    if rfi.status not in WAITING:
        return None
    return min((at for kind, at in plan if at > now and _after(kind, rfi.reminded)), default=None)


def due_reminder(rfi: Rfi, plan: Sequence[tuple[Reminder, datetime]], *, now: datetime) -> Reminder | None:
    """The last reminder whose time has come and that wasn't given; those before it are missed, not made up for."""
    if rfi.status not in WAITING:
        return None
    come: list[Reminder] = [kind for kind, at in plan if at <= now and _after(kind, rfi.reminded)]
    return come[-1] if come else None


def local_day(now: datetime, zone: str) -> date:
    """Which day it is in a zone."""
    return now.astimezone(ZoneInfo(zone)).date()


def is_overdue(rfi: Rfi, today: date) -> bool:
    """Whether it still waits after its due date; `today` is the project's."""
    return rfi.status in WAITING and rfi.due_date is not None and rfi.due_date < today


def court_days(
    courts: Sequence[Sequence[Held]], *, now: datetime, zone: str, works: Callable[[date], bool]
) -> list[CourtDays]:
    """How long the ball lay in whose court, over the histories of any number of RFIs, each oldest first; the last court
    of a history counts until `now`. Who shares a court is counted for the whole time. Longest first.
    """
    if not courts:
        return []
    first = min(local_day(history[0].since, zone) for history in courts)
    length = (local_day(now, zone) - first).days
    worked = list(accumulate((works(first + timedelta(days=ahead)) for ahead in range(1, length + 1)), initial=0))
    seconds, days = defaultdict[UUID, float](float), defaultdict[UUID, int](int)
    for history in courts:
        ends = [*(held.since for held in history[1:]), now]
        for held, end in zip(history, ends, strict=True):
            begun = worked[(local_day(end, zone) - first).days] - worked[(local_day(held.since, zone) - first).days]
            for person in held.people:
                seconds[person] += (end - held.since).total_seconds()
                days[person] += begun
    found = [CourtDays(person, round(s / 86400, 2), days[person]) for person, s in seconds.items()]
    return sorted(found, key=lambda each: (-each.calendar_days, each.person_id))


def folded(text: str) -> str:
    """Small letters without accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in apart if not unicodedata.combining(character))


def searched(text: str) -> str:
    """Text for the stemmers: without accents, since few type them on a phone, but for the one by which Spanish knows
    -ción; and with one ending where Portuguese keeps -ão and -ões apart.
    """
    return re.sub(r"oes\b", "ao", re.sub(r"([cs])ion\b", r"\1ión", folded(text)))


def full_number(code: str, number: int | None) -> str | None:
    """The number as people say it, TOR-RFI-012; None for a draft that never left."""
    return None if number is None else f"{code}-RFI-{number:03d}"


def _moved(rfi: Rfi, to: Status, now: datetime) -> Rfi:
    rfi = replace(rfi, status=to, version=rfi.version + 1, updated_at=now)
    return replace(rfi, ball_in_court=ball_in_court(rfi))


def _possible(rfi: Rfi) -> list[tuple[Verb, Status | None, frozenset[Part]]]:
    """What can be done in its state: where it leads, and who may."""
    reviewed = rfi.reviewer_id is not None
    return [
        (verb, to, allowed)
        for verb, states, to, allowed in _TABLE
        if rfi.status in states and (reviewed or verb != "recall")
    ]


def _parts(rfi: Rfi, by: Actor) -> frozenset[Part]:
    me = by.person_id
    parts: dict[Part, bool] = {
        "creator": by.admin or me == rfi.created_by,
        "manager": by.admin or me == rfi.manager_id,
        "assignee": me in rfi.assignees,
        "reviewer": me == rfi.reviewer_id,
        "holder": me in rfi.ball_in_court,
    }
    return frozenset(part for part, is_so in parts.items() if is_so)


def _with(rfi: Rfi, person_id: UUID) -> tuple[UUID, ...]:
    return rfi.distribution if person_id in insiders(rfi) else (*rfi.distribution, person_id)


def _after(kind: Reminder, reminded: Reminder | None) -> bool:
    return reminded is None or REMINDERS.index(kind) > REMINDERS.index(reminded)


def _check_fields(rfi: Rfi) -> None:
    if rfi.cost_amount is not None and rfi.cost_impact != "yes":
        raise Problem("invalid", "cost_amount: only with cost_impact yes")
    if rfi.cost_amount is not None and not (rfi.cost_amount.is_finite() and abs(rfi.cost_amount) < MOST_COST):
        raise Problem("invalid", f"cost_amount: less than {MOST_COST}")
    if rfi.schedule_days is not None and rfi.schedule_impact != "yes":
        raise Problem("invalid", "schedule_days: only with schedule_impact yes")
    if len(set(rfi.assignees)) > MOST_PEOPLE or len(set(rfi.distribution)) > MOST_PEOPLE:
        raise Problem("invalid", f"at most {MOST_PEOPLE} assignees, and {MOST_PEOPLE} in the distribution")
