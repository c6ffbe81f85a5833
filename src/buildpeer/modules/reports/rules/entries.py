"""What an entry of a daily log may say: one struct for each kind, whose fields are each valid for themselves.

No rule binds two fields of an entry, so that edits made apart can always be merged field by field. The kinds and their
words are those of the field (docs/guides/daily-logs.md).
"""

from datetime import date
from typing import Annotated, Any, Literal, cast, get_args
from uuid import UUID

import msgspec

from buildpeer.platform.errors import Problem

Line = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="Time of day at the site")]
Count = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Hours = Annotated[float, msgspec.Meta(ge=0, le=24)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e12)]

Kind = Literal[
    "weather",
    "manpower",
    "equipment",
    "delivery",
    "delay",
    "note",
    "visitor",
    "accident",
    "safety",
    "quantity",
    "photo",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
COPIED: tuple[Kind, ...] = ("manpower", "equipment", "quantity")  # what tends to be today as it was yesterday

_SHAPE = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, "tag_field": "kind"}


class Weather(msgspec.Struct, tag="weather", **_SHAPE):
    """The weather at some time of the day; `temperature` in °C, `rain` in mm, `wind_speed` in km/h."""

    observed_at: Clock | None = None
    sky: Literal["clear", "cloudy", "overcast", "fog", "drizzle", "rain", "storm", "snow", "hail", "smoke"] | None = (
        None
    )
    temperature: Annotated[float, msgspec.Meta(ge=-60, le=60)] | None = None
    wind: Literal["calm", "light", "high"] | None = None
    wind_speed: Annotated[float, msgspec.Meta(ge=0, le=400)] | None = None
    rain: Annotated[float, msgspec.Meta(ge=0, le=2000)] | None = None
    ground: Literal["dry", "wet", "muddy", "flooded", "frozen"] | None = None
    calamity: Line | None = None
    is_weather_delay: bool = False
    comments: Text | None = None


class Manpower(msgspec.Struct, tag="manpower", **_SHAPE):
    """A crew: how many people, and how many hours each."""

    company_id: UUID | None = None
    company: Line | None = None
    trade_id: UUID | None = None
    trade: Line | None = None
    workers: Count = 0
    hours: Hours | None = None
    location_id: UUID | None = None
    cost_code: Line | None = None
    comments: Text | None = None


class Equipment(msgspec.Struct, tag="equipment", **_SHAPE):
    """A machine, or several of a kind: hours at work and idle."""

    name: Line
    quantity: Count = 1
    hours_operating: Hours | None = None
    hours_idle: Hours | None = None
    inspected: bool = False
    company_id: UUID | None = None
    location_id: UUID | None = None
    comments: Text | None = None


class Delivery(msgspec.Struct, tag="delivery", **_SHAPE):
    """What came to the site, and from whom."""

    contents: Words
    delivered_at: Clock | None = None
    delivery_from: Line | None = None
    tracking_number: Line | None = None
    quantity: Amount | None = None
    unit: Line | None = None
    location_id: UUID | None = None
    comments: Text | None = None


class Delay(msgspec.Struct, tag="delay", **_SHAPE):
    """Time lost, and why."""

    cause: Literal[
        "weather", "materials", "labor", "equipment", "design", "permits", "payment", "client", "community", "other"
    ]
    start: Clock | None = None
    end: Clock | None = None
    hours: Hours | None = None
    company_id: UUID | None = None
    location_id: UUID | None = None
    comments: Text | None = None


class Note(msgspec.Struct, tag="note", **_SHAPE):
    """Anything else; `is_issue`: somebody has to do something about it."""

    text: Words
    is_issue: bool = False
    location_id: UUID | None = None


class Visitor(msgspec.Struct, tag="visitor", **_SHAPE):
    """Who came to see the site."""

    name: Line
    organization: Line | None = None
    arrived_at: Clock | None = None
    left_at: Clock | None = None
    purpose: Text | None = None


class Accident(msgspec.Struct, tag="accident", **_SHAPE):
    """An accident, or what nearly was one."""

    description: Words
    severity: Literal["near_miss", "first_aid", "medical", "lost_time", "fatal"] | None = None
    happened_at: Clock | None = None
    involved: Line | None = None
    company_id: UUID | None = None
    reported_to_authority: bool = False
    location_id: UUID | None = None
    comments: Text | None = None


class Safety(msgspec.Struct, tag="safety", **_SHAPE):
    """A safety talk, an inspection, or somebody who didn't keep the rules."""

    type: Literal["talk", "inspection", "violation", "observation"]
    description: Words
    attendees: Count | None = None
    issued_to: Line | None = None
    compliance_due: date | None = None
    company_id: UUID | None = None
    location_id: UUID | None = None


class Quantity(msgspec.Struct, tag="quantity", **_SHAPE):
    """Work done, as it is measured."""

    item: Line
    quantity: Amount
    unit: Line
    cost_code: Line | None = None
    trade_id: UUID | None = None
    company_id: UUID | None = None
    location_id: UUID | None = None
    comments: Text | None = None


class Photo(msgspec.Struct, tag="photo", **_SHAPE):
    """Photos of the day: the attachments, and what they show."""

    caption: Text | None = None
    location_id: UUID | None = None


Content = Weather | Manpower | Equipment | Delivery | Delay | Note | Visitor | Accident | Safety | Quantity | Photo
_SHAPES: dict[str, type[msgspec.Struct]] = {str(shape.__struct_config__.tag): shape for shape in get_args(Content)}


def read_content(kind: str, fields: dict[str, Any]) -> Content:
    """Fields as what they say. Raises Problem invalid for a kind that isn't one, or fields that aren't its."""
    if kind not in _SHAPES:
        raise Problem("invalid", f"kind must be one of {', '.join(KINDS)}")
    try:
        return msgspec.convert({"kind": kind, **fields}, Content)
    except msgspec.ValidationError as exc:
        raise Problem("invalid", str(exc)) from exc


def fields_of(content: Content) -> dict[str, Any]:
    """Every field, without the kind, as JSON holds it."""
    return {name: value for name, value in msgspec.to_builtins(content).items() if name != "kind"}


def checked(kind: str, fields: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The values that somebody wants fields to have, as JSON holds them.

    Raises Problem invalid for a field that this kind hasn't, or a value that it doesn't take.
    """
    if unknown := wanted.keys() - set(_SHAPES[kind].__struct_fields__):
        raise Problem("invalid", f"a {kind} has no field {', '.join(sorted(unknown))}")
    made = fields_of(read_content(kind, {**fields, **wanted}))
    return {name: made[name] for name in wanted}


def kind_of(content: Content) -> Kind:
    """Which kind it is."""
    return cast("Kind", content.__struct_config__.tag)


def references(fields: dict[str, Any]) -> dict[str, set[UUID]]:
    """The places, trades and companies that fields name, as `projects.check_references` takes them."""
    named = {"locations": "location_id", "trades": "trade_id", "companies": "company_id"}
    return {what: {UUID(fields[name])} for what, name in named.items() if fields.get(name)}


def names_of(kind: str) -> tuple[str, ...]:
    """The fields of a kind, in order."""
    return _SHAPES[kind].__struct_fields__
