"""RFIs that come from a table: drafts of whoever brings it."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.jobs import facade as jobs
from buildpeer.modules.jobs.facade import JobStarted, NewImport, Outcome, Work
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.rfis import rules, store
from buildpeer.modules.rfis.rules import folded
from buildpeer.modules.rfis.service.keeping import shift_by
from buildpeer.modules.rfis.store import Imported, Names
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.sheets import Column, Refused, Row, read_csv

IMPORT = "rfis.import"  # the kind of job
_DAYS = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y")
_YES, _NO = {"si", "sim", "yes", "x", "1"}, {"no", "nao", "0"}


class NewRfiImport(NewImport, frozen=True, kw_only=True):
    """A table of RFIs to import. A line is known by its number and the `import_id` (without one, the job's): once more
    under the same one, corrected, only those are made that are missing.
    """

    import_id: UUID | None = None


async def order_import(
    db: Database, *, caller: Caller, project_id: UUID, wanted: NewRfiImport, language: str
) -> JobStarted:
    """Order the import of RFIs, each a draft of the caller's. It tells who works on the project, by their e-mails, so
    it is for who may see that.

    Raises Problem not_found, not_allowed, project_archived, and what jobs.start does.
    """
    async with db.transaction(caller.scope) as tx:
        project = await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "standard")
        identity.permit(tx, "people", "read")
        if project.archived:
            raise Problem("project_archived")
        return await jobs.start(
            tx, job_id=wanted.job_id, kind=IMPORT, wanted=wanted, language=language, project_id=project_id
        )


async def import_rfis(work: Work, *, project_id: UUID, wanted: NewRfiImport, now: datetime) -> Outcome:
    """Make a draft of every good row, in one transaction; those that the same import has made before stay as they are.

    Raises Problem not_found, not_allowed or project_archived, as things stand when it is done.
    """
    async with work.transaction() as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "standard")
        identity.permit(tx, "people", "read")
        table = read_csv(wanted.csv, _columns(await store.names_in(tx, project_id)))
        shift = shift_by(await projects.calendar_of(tx, project_id))
        rfis = [_draft(row, wanted.import_id or wanted.job_id, tx.person_id, shift) for row in table.rows]
        known = await store.known(tx, [rfi.rfi_id for rfi in rfis])
        fresh = [rfi for rfi in rfis if rfi.rfi_id not in known]
        if fresh and jobs.may_write(wanted.mode, table.faults):
            await store.insert_many(tx, project_id, fresh, now=now)
            await store.add_creations(tx, [rfi.rfi_id for rfi in fresh])
    await work.tell(table.lines, table.lines)
    return jobs.import_outcome(work, wanted.mode, table, created=len(fresh), known=len(known))


def _columns(names: Names) -> list[Column]:
    people = {email.casefold(): person for email, person in names.people.items()}
    return [
        Column(name="subject", names=("asunto", "assunto", "subject"), required=True, most=200),
        Column(name="question", names=("pregunta", "pergunta", "question"), most=20_000),
        Column(name="reference", names=("referencia", "referência", "reference"), most=200),
        Column(name="due_date", names=("vence", "fecha límite", "prazo", "due date", "due"), read=_day),
        Column(name="location_id", names=("ubicación", "local", "location"), most=1500, read=_one_of(names.locations)),
        Column(name="trade_id", names=("especialidad", "disciplina", "trade"), read=_one_of(names.trades)),
        Column(
            name="responsible_id",
            names=("empresa responsable", "empresa responsável", "responsible company"),
            read=_one_of(names.companies),
        ),
        Column(
            name="manager_id",
            names=("responsable de la rfi", "responsável pela rfi", "rfi manager"),
            read=lambda text: _person(text, people),
        ),
        Column(
            name="assignees",
            names=("asignados", "designados", "assignees"),
            most=5000,
            read=lambda text: [_person(each, people) for each in text.replace(",", ";").split(";") if each.strip()],
        ),
        Column(name="private", names=("privada", "private"), read=_yes),
    ]


def _draft(row: Row, import_id: UUID, creator: UUID, shift: Callable[[date, int], date]) -> Imported:
    values: dict[str, Any] = row.values
    due_date: date | None = values["due_date"]
    assignees = tuple(dict.fromkeys(values["assignees"] or ()))
    return Imported(
        rfi_id=_id_of(import_id, row.line),
        subject=values["subject"],
        question=values["question"] or "",
        reference=values["reference"] or "",
        private=bool(values["private"]),
        created_by=creator,
        manager_id=values["manager_id"],
        assignees=assignees[: rules.MOST_PEOPLE],
        location_id=values["location_id"],
        trade_id=values["trade_id"],
        responsible_id=values["responsible_id"],
        due_date=None if due_date is None else shift(due_date, 0),
    )


def _id_of(import_id: UUID, line: int) -> UUID:
    """The UUIDv7 of a line, the same each time: when the import's is from, and a hash for what is random in it."""
    drawn = hashlib.sha256(import_id.bytes + line.to_bytes(8)).digest()[:10]
    value = (import_id.int >> 80) << 80 | int.from_bytes(drawn)
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0b11 << 62) | 0b10 << 62)


def _one_of(names: Mapping[str, UUID]) -> Callable[[str], UUID]:
    known = {_plain(name): each for name, each in names.items()}

    def read(text: str) -> UUID:
        if _plain(text) not in known:
            raise Refused("unknown")
        return known[_plain(text)]

    return read


def _person(text: str, people: Mapping[str, UUID]) -> UUID:
    if "@" not in text:
        raise Refused("no_email")
    person = people.get(text.strip().casefold())
    if person is None:
        raise Refused("unknown")
    return person


def _day(text: str) -> date:
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise Refused("no_choice", "2026-11-24, 24/11/2026")


def _yes(text: str) -> bool:
    if _plain(text) not in _YES | _NO:
        raise Refused("no_choice", "sí, no")
    return _plain(text) in _YES


def _plain(text: str) -> str:
    """A name as it is compared: places by their path, however the slashes are set."""
    return "/".join(" ".join(part.split()) for part in folded(text).split("/"))
