"""Doors for the trail."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timezone
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from litestar.response import Stream

from buildpeer.modules.audit import rules, service
from buildpeer.modules.audit.rules import Wanted
from buildpeer.modules.audit.service import Listed
from buildpeer.platform.errors import Problem
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    page,
    read_cursor,
    used_with,
)
from buildpeer.platform.messages import action_text
from buildpeer.platform.signing import Signer

SignerDep = NamedDependency[Signer]
WantedDep = NamedDependency[Wanted]
Person = Annotated[UUID | None, QueryParameter(name="person_id", required=False, description="Who did it")]
Key = Annotated[UUID | None, QueryParameter(name="key_id", required=False, description="By which key a machine did it")]
Project = Annotated[UUID | None, QueryParameter(name="project_id", required=False, description="In which project")]
ObjectType = Annotated[
    str | None, QueryParameter(name="object_type", required=False, description="To what kind of thing: a table's name")
]
ObjectId = Annotated[str | None, QueryParameter(name="object_id", required=False, description="To which thing")]
Action = Annotated[
    str | None,
    QueryParameter(name="action", required=False, description="insert, update, delete, sign_in, download, export, …"),
]
Since = Annotated[datetime | None, QueryParameter(name="from", required=False, description="From this time on")]
Until = Annotated[datetime | None, QueryParameter(name="to", required=False, description="Before this time")]


async def wanted(
    *,
    person_id: Person = None,
    key_id: Key = None,
    project_id: Project = None,
    object_type: ObjectType = None,
    object_id: ObjectId = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
) -> Wanted:
    """What a caller asks for. Raises Problem invalid for a time that doesn't say where."""
    if any(time is not None and time.tzinfo is None for time in (since, until)):
        raise Problem("invalid", "from and to need a time zone, such as Z")
    return Wanted(
        person_id=person_id,
        key_id=key_id,
        project_id=project_id,
        object_type=object_type,
        object_id=object_id,
        action=action,
        since=since,
        until=until,
    )


class Actor(msgspec.Struct):
    """A person, by the name of today."""

    person_id: UUID
    name: str | None


class Machine(msgspec.Struct):
    """A machine, by the key that it acted with, also one that is revoked by now."""

    key_id: UUID
    name: str | None


class EntryView(msgspec.Struct, kw_only=True):
    """One entry: who (null: BuildPeer itself), what, when, and the values before and after. Where it was a `machine`,
    `person` is who made its key. `local_time` is the clock at the project, whose `timezone` stands beside it.
    """

    entry_id: int
    occurred_at: datetime
    local_time: datetime | None
    timezone: str | None
    person: Actor | None
    machine: Machine | None
    process: str
    action: str
    action_text: str
    object_type: str
    object_id: str
    project_id: UUID | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    details: dict[str, Any] | None
    request_id: str | None


class PublicKeys(msgspec.Struct):
    """A JWK set (RFC 7517)."""

    keys: list[dict[str, Any]]


class AuditController(Controller):
    """Who did what, and when; for owners and managers."""

    path = "/v1/audit"
    tags = ("audit",)
    opt = used_with("audit")
    dependencies = {"wanted": Provide(wanted)}  # noqa: RUF012 - Litestar's own word for it

    @get(summary="List the audit trail")
    async def list_entries(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        wanted: WantedDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[EntryView]:
        """Entries of the company, the newest first."""
        found = await service.list_entries(
            db,
            caller=caller,
            wanted=wanted,
            after=read_cursor(cursor, tuple[datetime, int]),
            limit=limit + 1,
        )
        return page([_view(one, language) for one in found], limit, lambda e: [e.occurred_at, e.entry_id])

    @get("/export", summary="Export the audit trail")
    async def export(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        signer: SignerDep,
        now: NowDep,
        form: Annotated[Literal["csv", "json"], QueryParameter(name="format")] = "json",
        wanted: WantedDep,
    ) -> Stream:
        """What is sealed, at most a minute old, the oldest first: CSV, or a signed bundle with all that proves it.

        The export is itself in the trail.
        """
        exported = await service.begin_export(
            db,
            caller=caller,
            wanted=wanted,
            form=form,
            now=now,
        )
        lines = service.csv_export(db, exported) if form == "csv" else service.json_export(db, exported, signer)
        return _attachment(lines, form, now)

    @get("/keys", summary="Public keys of exports", security=[{}])
    async def public_keys(self, signer: SignerDep) -> PublicKeys:
        """What the signatures of exports are checked with; open to everybody."""
        return PublicKeys([signer.public])


def _view(listed: Listed, language: str) -> EntryView:
    found, entry = listed.found, listed.found.entry
    told = rules.values(entry.action, entry.changes)
    return EntryView(
        entry_id=entry.entry_id,
        occurred_at=entry.occurred_at,
        local_time=_local(found.local, entry.occurred_at),
        timezone=found.timezone,
        person=Actor(entry.person_id, listed.person_name) if entry.person_id else None,
        machine=Machine(entry.key_id, listed.key_name) if entry.key_id else None,
        process=entry.database_role.removeprefix("buildpeer_"),
        action=entry.action,
        action_text=action_text(entry.action, language),
        object_type=entry.object_type,
        object_id=entry.object_id,
        project_id=entry.project_id,
        before=told.before,
        after=told.after,
        details=told.details,
        request_id=entry.request_id,
    )


def _local(clock: datetime | None, occurred_at: datetime) -> datetime | None:
    """A clock's reading together with its distance from UTC."""
    if clock is None:
        return None
    return clock.replace(tzinfo=timezone(clock - occurred_at.astimezone(UTC).replace(tzinfo=None)))


def _attachment(lines: AsyncIterator[bytes], form: str, now: datetime) -> Stream:
    kind = "text/csv" if form == "csv" else "application/json"
    name = f"audit-{now:%Y%m%dT%H%M%SZ}.{form}"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Stream(lines, media_type=kind, headers=headers)
