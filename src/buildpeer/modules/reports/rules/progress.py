"""Progress of a site, as planned and as measured, and what a report to investors says of it: pure.

Progress is cumulative. What is planned runs straight between the points of the baseline; what was measured holds until
the next measurement. Percentages are from 0 to 100, with two decimals; money is in the project's currency.
"""

import csv
import hashlib
import io
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from itertools import pairwise
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from buildpeer.platform.errors import Problem

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Caption = Annotated[str, msgspec.Meta(max_length=300)]
Step = Literal["month", "week"]
Status = Literal["draft", "published", "corrected"]
ReportAction = Literal["edit", "publish", "correct"]
MOST_POINTS = 600
MOST_AMOUNT = Decimal(10) ** 16
_MOST_CURVE = 400
_CENT = Decimal("0.01")
_SHAPE = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True}


class Point(msgspec.Struct, **_SHAPE):
    """What is to be reached by the end of a day: physical progress in percent, and what it will have cost."""

    on: date
    physical: Percent
    cost: Decimal | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was reached by the end of a day; `cost` null: nobody said, or it is not for the caller."""

    measured_on: date
    physical: Percent
    cost: Decimal | None = None
    comments: str = ""


class Milestone(msgspec.Struct, **_SHAPE):
    """What is to be reached, and when: as planned, as it looks now, and as it was."""

    name: Line
    planned: date
    forecast: date | None = None
    actual: date | None = None


class ChosenPhoto(msgspec.Struct, **_SHAPE):
    """A photo of the project, what it shows, and where that is."""

    document_id: UUID
    caption: Caption = ""
    location_id: UUID | None = None


class Content(msgspec.Struct, **_SHAPE):
    """What a report is composed of. `first` and `last` are the days of its period; `step`: how the curve is cut;
    `shows_money`: amounts as well as percentages.
    """

    title: Line
    first: date
    last: date
    text: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    step: Step = "month"
    shows_money: bool = False
    milestones: Annotated[list[Milestone], msgspec.Meta(max_length=60)] = []
    photos: Annotated[list[ChosenPhoto], msgspec.Meta(max_length=40)] = []


class Progress(msgspec.Struct, frozen=True):
    """In percent; null where there is no plan, or no measurement."""

    planned: float | None
    actual: float | None


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts up to the period's end, and the baseline's last as `budget`."""

    currency: str
    budget: Decimal
    planned: Decimal | None
    actual: Decimal | None


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A day of the S-curve: percentages; what lies after the period's end was not measured yet."""

    on: date
    physical: Progress
    financial: Progress | None = None


class PagePhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A photo as a report shows it; `place` in the project's own words."""

    document_id: UUID
    caption: str
    place: str
    captured_at: datetime | None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a report's readers see; once it is published it stays as it is."""

    company: str
    project_code: str
    project: str
    timezone: str
    currency: str
    country: str | None
    title: str
    first: date
    last: date
    text: str
    physical: Progress
    financial: Progress | None
    money: Money | None
    curve: list[CurvePoint]
    milestones: list[Milestone]
    photos: list[PagePhoto]


def check_baseline(points: Sequence[Point]) -> None:
    """Raises Problem invalid unless days follow each other and nothing that is cumulative falls."""
    if not 2 <= len(points) <= MOST_POINTS:
        raise Problem("invalid", f"points must be 2 to {MOST_POINTS}")
    if len({point.cost is None for point in points}) > 1:
        raise Problem("invalid", "cost must be said at every point, or at none")
    for point in points:
        check_amount(point.cost)
    for number, (before, after) in enumerate(pairwise(points), start=2):
        if after.on <= before.on or after.physical < before.physical or (after.cost or 0) < (before.cost or 0):
            raise Problem("invalid", f"point {number} must be later than the one before it, and no less")


def check_amount(amount: Decimal | None) -> None:
    """Raises Problem invalid for money that is none."""
    if amount is not None and not (amount.is_finite() and 0 <= amount < MOST_AMOUNT):
        raise Problem("invalid", "cost must be an amount of money")


def check_content(content: Content) -> None:
    """Raises Problem invalid for a period that ends before it begins, a curve that has no end, a photo chosen twice."""
    if not content.first <= content.last <= content.first + timedelta(days=1100):
        raise Problem("invalid", "last must be first or later, and at most three years later")
    if len({photo.document_id for photo in content.photos}) < len(content.photos):
        raise Problem("invalid", "photos must be chosen once each")


def read_points(text: str) -> list[Point]:
    """A baseline from CSV with the head `on,physical,cost`, or the same in Spanish or Portuguese; days as 2026-11-30.

    Raises Problem invalid, which names the line.
    """
    text = text.removeprefix("\ufeff")
    head, _, _ = text.partition("\n")
    lines = list(csv.reader(io.StringIO(text), delimiter=";" if ";" in head else ","))
    names = {"fecha": "on", "data": "on", "físico": "physical", "fisico": "physical", "costo": "cost", "custo": "cost"}
    columns = [names.get(cell.strip().lower(), cell.strip().lower()) for cell in lines[0]] if lines else []
    if not {"on", "physical"} <= set(columns):
        raise Problem("invalid", "csv must have the columns on and physical")
    points: list[Point] = []
    for number, cells in enumerate(lines[1:], start=2):
        said = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
        if not any(said.values()):
            continue
        try:
            cost = Decimal(said["cost"]) if said.get("cost") else None
            told = {"on": said["on"], "physical": float(said["physical"]), "cost": cost}
            points.append(msgspec.convert(told, Point))
        except (KeyError, ValueError, InvalidOperation, msgspec.ValidationError) as exc:
            raise Problem("invalid", f"csv, line {number}: a day, a percentage and an amount are needed") from exc
    return points


def planned_at(points: Sequence[Point], day: date) -> tuple[float, Decimal | None] | None:
    """What is to be reached by a day, in percent and money: nothing before the first point; None without a plan."""
    if not points:
        return None
    place = bisect_right(points, day, key=lambda point: point.on)
    if place == 0:
        return 0.0, None if points[0].cost is None else Decimal(0)
    before = points[place - 1]
    if place == len(points):
        return before.physical, before.cost
    after = points[place]
    share = Decimal((day - before.on).days) / (after.on - before.on).days
    physical = before.physical + float(share) * (after.physical - before.physical)
    if before.cost is None or after.cost is None:
        return physical, None
    return physical, (before.cost + share * (after.cost - before.cost)).quantize(_CENT, ROUND_HALF_UP)


def measured_at(entries: Sequence[Measured], day: date) -> tuple[float | None, Decimal | None]:
    """What had been reached by a day, by the last measurements of it; entries are in order."""
    past = entries[: bisect_right(entries, day, key=lambda entry: entry.measured_on)]
    cost = next((entry.cost for entry in reversed(past) if entry.cost is not None), None)
    return past[-1].physical if past else None, cost


def progress_at(
    points: Sequence[Point], entries: Sequence[Measured], day: date, *, measured: bool = True
) -> CurvePoint:
    """How far it is by a day; `measured` False: as planned alone."""
    planned = planned_at(points, day)
    physical, cost = measured_at(entries, day) if measured else (None, None)
    budget = points[-1].cost if points else None
    financial = None
    if planned is not None and budget:
        financial = Progress(_share(planned[1], budget), _share(cost, budget))
    return CurvePoint(on=day, physical=Progress(_round(planned and planned[0]), _round(physical)), financial=financial)


def curve(points: Sequence[Point], entries: Sequence[Measured], *, last: date, step: Step) -> list[CurvePoint]:
    """The S-curve: its first day, the end of each month or week (Sunday), the report's last day, and the plan's."""
    days = sorted({last, *(p.on for p in (*points[:1], *points[-1:])), *(e.measured_on for e in entries[:1])})
    ends = _ends(days[0], days[-1], step)
    chosen = sorted({*days, *ends[:: 1 + len(ends) // _MOST_CURVE]})
    return [progress_at(points, entries, day, measured=day <= last) for day in chosen]


def money_at(points: Sequence[Point], entries: Sequence[Measured], day: date, currency: str) -> Money | None:
    """Amounts up to a day; None where the plan says nothing of money."""
    planned = planned_at(points, day)
    if planned is None or points[-1].cost is None:
        return None
    return Money(currency=currency, budget=points[-1].cost, planned=planned[1], actual=measured_at(entries, day)[1])


def status(*, published: bool, corrected: bool) -> Status:
    """`corrected`: another one has come in its place."""
    if not published:
        return "draft"
    return "corrected" if corrected else "published"


def actions(state: Status, *, composes: bool) -> list[ReportAction]:
    """What somebody may do with a report."""
    if not composes:
        return []
    by_state: dict[Status, list[ReportAction]] = {"draft": ["edit", "publish"], "published": ["correct"]}
    return by_state.get(state, [])


def digest(content: Content, corrects: UUID | None) -> bytes:
    """By which what is sent twice is known again."""
    return hashlib.sha256(msgspec.json.encode([content, corrects])).digest()


def _ends(first: date, last: date, step: Step) -> list[date]:
    """The last days of months, or the Sundays, between two days."""
    ends: list[date] = []
    day = first
    while True:
        if step == "week":
            day += timedelta(days=7 - day.isoweekday())
        else:
            day = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        if day > last:
            return ends
        ends.append(day)
        day += timedelta(days=1)


def _share(amount: Decimal | None, budget: Decimal) -> float | None:
    return None if amount is None else float((amount / budget * 100).quantize(_CENT, ROUND_HALF_UP))


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
