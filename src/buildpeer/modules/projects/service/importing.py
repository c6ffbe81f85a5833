"""Bringing in places and people from a table, as jobs: looked at whole before anything is written, and repeatable."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.identity.facade import Role
from buildpeer.modules.jobs import facade as jobs
from buildpeer.modules.jobs.facade import JobStarted, NewImport, Outcome, Work
from buildpeer.modules.projects import store
from buildpeer.modules.projects.service import tables
from buildpeer.modules.projects.service.projects import find
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id
from buildpeer.platform.sheets import Fault, Row, Table, read_csv

LOCATIONS = "locations.import"
PEOPLE = "people.import"
_INVITED_AT_ONCE = 100

Path = tuple[str, ...]
# identity's invite_by_mail, which entrypoints hand in
Invite = Callable[..., Awaitable[None]]


class PeopleWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the job that invites people is given."""

    csv: str
    mode: jobs.Mode
    web_url: str


async def order_locations(
    db: Database, *, caller: Caller, project_id: UUID, wanted: NewImport, language: str
) -> JobStarted:
    """Order the import of places. Raises Problem not_found, not_allowed, project_archived, and what jobs.start does."""
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        if project.archived_at is not None:
            raise Problem("project_archived")
        given = {"csv": wanted.csv, "mode": wanted.mode}
        return await jobs.start(
            tx, job_id=wanted.job_id, kind=LOCATIONS, wanted=given, language=language, project_id=project_id
        )


async def order_people(db: Database, *, caller: Caller, wanted: NewImport, web_url: str, language: str) -> JobStarted:
    """Order invitations. Raises Problem not_found, not_allowed, and what jobs.start does."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "people", "standard")
        given = PeopleWanted(csv=wanted.csv, mode=wanted.mode, web_url=web_url)
        return await jobs.start(tx, job_id=wanted.job_id, kind=PEOPLE, wanted=given, language=language)


async def import_locations(work: Work, *, project_id: UUID, csv: str, mode: jobs.Mode) -> Outcome:
    """Make the places of a table, and what they lie in; those that are there already stay as they are.

    Raises Problem not_found, not_allowed or project_archived, as things stand when it is done.
    """
    table = tables.unrepeated(read_csv(csv, tables.LOCATION_COLUMNS), "path", tables.same_path)
    paths: list[Path] = [row.values["path"] for row in table.rows]
    await work.tell(0, table.lines)
    async with work.transaction() as tx:
        await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        there = _paths(await store.tree(tx, project_id))
        known = sum(tables.same_path(path) in there for path in paths)
        fresh = list(_missing(paths, there))
        if fresh and jobs.may_write(mode, table.faults):
            await store.add_locations(tx, project_id, fresh)
    await work.tell(table.lines, table.lines)
    return jobs.import_outcome(work, mode, table, created=len(paths) - known, known=known)


async def import_people(
    work: Work, *, csv: str, mode: jobs.Mode, web_url: str, invite: Invite, now: datetime
) -> Outcome:
    """Invite the people of a table; who belongs to the company, or is invited, is left alone.

    They are invited a hundred at a time: killed in between, it goes on where it was. Raises Problem not_found or
    not_allowed, as things stand when it is done.
    """
    table = tables.unrepeated(read_csv(csv, tables.PEOPLE_COLUMNS), "email", str)
    async with work.transaction() as tx:
        identity.permit(tx, "people", "standard")
        table = await _with_projects(tx, table)
        known = await identity.known_addresses(tx, [row.values["email"] for row in table.rows], now)
    fresh = [row for row in table.rows if row.values["email"] not in known]
    await work.tell(0, table.lines)
    if jobs.may_write(mode, table.faults):
        for start in range(0, len(fresh), _INVITED_AT_ONCE):
            async with work.transaction() as tx:
                await _invite(tx, fresh[start : start + _INVITED_AT_ONCE], invite, web_url=web_url, now=now)
            await work.tell(start, table.lines)
    await work.tell(table.lines, table.lines)
    created = len(fresh)
    return jobs.import_outcome(work, mode, table, created=created, known=len(table.rows) - created)


async def _invite(tx: Transaction, rows: Sequence[Row], invite: Invite, *, web_url: str, now: datetime) -> None:
    """Whoever was invited since the table was looked at is left alone."""
    known = await identity.known_addresses(tx, [row.values["email"] for row in rows], now)
    wanted: list[tuple[str, Role, list[UUID]]] = [
        (row.values["email"], row.values["role"] or "empleado_obra", row.values["projects"])
        for row in rows
        if row.values["email"] not in known
    ]
    if wanted:
        await invite(tx, wanted, web_url=web_url, now=now)


async def _with_projects(tx: Transaction, table: Table) -> Table:
    """The same table with the projects' ids for their codes; an unknown code is a fault."""
    ids = await store.ids_by_code(tx)
    rows: list[Row] = []
    faults: list[Fault] = []
    for row in table.rows:
        codes: list[str] = row.values["projects"] or []
        unknown = [code for code in codes if code.casefold() not in ids]
        if unknown:
            faults.append(Fault(row.line, tables.PEOPLE_COLUMNS[2].names[0], "unknown", unknown[0]))
        else:
            rows.append(Row(row.line, row.values | {"projects": [ids[code.casefold()] for code in codes]}))
    return Table(rows, sorted([*table.faults, *faults], key=lambda f: f.line), table.lines)


def _paths(rows: Sequence[Mapping[str, Any]]) -> dict[Path, UUID]:
    """The places of a tree by their paths, as `same_path` spells them."""
    by_id = {row["location_id"]: row for row in rows}
    known: dict[UUID, Path] = {}

    def path_of(location_id: UUID) -> Path:
        if location_id not in known:
            row = by_id[location_id]
            above = path_of(row["parent_id"]) if row["parent_id"] in by_id else ()
            known[location_id] = (*above, *tables.same_path((row["name"],)))
        return known[location_id]

    return {path_of(location_id): location_id for location_id in by_id}


def _missing(paths: Sequence[Path], there: dict[Path, UUID]) -> Iterator[tuple[UUID, UUID | None, str]]:
    """What is to be made, each place after the one it lies in; `there` learns of it."""
    for path in paths:
        spelled = tables.same_path(path)
        for depth in range(1, len(path) + 1):
            if spelled[:depth] not in there:
                made = there[spelled[:depth]] = new_id()
                yield made, there.get(spelled[: depth - 1]), path[depth - 1]
