"""Pure rules of a tenant's life: what it is, what it may use, in which order its tables are emptied."""

from collections.abc import Iterable
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Literal
from uuid import UUID

import msgspec


class TenantError(Exception):
    """What an operator asked for can't be done; the text says why."""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A company; a limit of None is none. `opened_today` counts uploads since midnight UTC."""

    tenant_id: UUID
    name: str
    data_region: str
    created_at: datetime
    suspended_at: datetime | None
    storage_limit_bytes: int | None
    uploads_per_day: int | None
    used_bytes: int
    opened_today: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A company among all; a limit of None is none. `last_activity` is when one of its people last did something."""

    tenant_id: UUID
    name: str
    state: Literal["active", "suspended", "erasing"]
    people: int
    files: int
    used_bytes: int
    storage_limit_bytes: int | None
    last_activity: datetime | None


def check_name(name: str) -> str:
    """A company's name as it is kept. Raises TenantError for one that is empty, too long or of several lines."""
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise TenantError("a name has 1 to 200 characters, on one line")
    return name


def emptying_order(tables: Iterable[str], references: Iterable[tuple[str, str]]) -> list[str]:
    """Tables in an order in which each can be emptied: before those that it refers to."""
    known = set(tables)
    sorter = TopologicalSorter({table: set[str]() for table in sorted(known)})
    for referring, referred in sorted(references):
        if referring != referred and {referring, referred} <= known:
            sorter.add(referred, referring)
    return list(sorter.static_order())
