"""The RFI log on paper and as a table: a job, since a project may have thousands."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.jobs import facade as jobs
from buildpeer.modules.jobs.facade import JobStarted, Outcome, Work
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.projects.facade import Calendar, ProjectAccess
from buildpeer.modules.rfis import rules, store
from buildpeer.modules.rfis.rules import CourtDays, Status
from buildpeer.modules.rfis.service.reading import days_in_court
from buildpeer.modules.rfis.store import Logged
from buildpeer.platform import paper, sheets
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.messages import RFI_LOG
from buildpeer.platform.sheets import Cell

LOG = "rfis.log"  # the kind of job
Format = Literal["pdf", "xlsx", "csv"]
_TYPES: dict[Format, str] = {"pdf": "application/pdf", "xlsx": sheets.XLSX_TYPE, "csv": sheets.CSV_TYPE}
_TEMPLATE = """
#set page(flipped: true)
#show: letter
#facts(data.facts)
#if data.rows.len() == 0 { text(style: "italic", data.none) } else {
  sheet(data.names, data.rows, widths: (auto, 1fr, auto, auto, auto, auto, auto, auto, auto, auto), right: (7, 8, 9))
}
#if data.courts.len() > 0 {
  heading(level: 1, data.courts_title)
  sheet(data.courts_names, data.courts, widths: (1fr, auto, auto), right: (1, 2))
}
"""


class LogWanted(msgspec.Struct, frozen=True):
    """Which RFIs to put into the log, and as what."""

    format: Format
    status: Sequence[Status] | None = None


async def order_log(
    db: Database, *, caller: Caller, project_id: UUID, job_id: UUID, wanted: LogWanted, language: str
) -> JobStarted:
    """Order the log of a project's numbered RFIs that the caller may see. It names people, so whoever may not see the
    project's people doesn't get it.

    Raises Problem not_found, id_invalid, id_taken or too_many_jobs.
    """
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "read")
        identity.permit(tx, "people", "read")
        return await jobs.start(tx, job_id=job_id, kind=LOG, wanted=wanted, language=language, project_id=project_id)


async def write_log(work: Work, *, project_id: UUID, wanted: LogWanted, now: datetime) -> Outcome:
    """Write an ordered log. Raises Problem not_found for who may not have it any more."""
    async with work.transaction() as tx:
        project = await projects.find_project(tx, project_id)
        identity.permit(tx, "rfis", "read")
        identity.permit(tx, "people", "read")
        calendar = await projects.calendar_of(tx, project_id)
        rfis = await store.log(tx, project_id, wanted.status)
        courts = await days_in_court(tx, project, calendar, now=now)
        names = await store.names(tx, [each.person_id for each in courts])
        company = await store.company(tx)
    log = _Log(rfis, project, calendar, work.language, now)
    file = work.folder / f"log.{wanted.format}"
    if wanted.format == "pdf":
        file.write_bytes(await paper.print_pdf(_TEMPLATE, log.on_paper(courts, names), log.letterhead(company)))
    elif wanted.format == "xlsx":
        sheets.write_xlsx(file, log.words["title"], log.words["columns"].split("|"), log.rows())
    else:
        sheets.write_csv(file, log.words["columns"].split("|"), log.rows())
    filename = f"{project.code} {log.words['title']} {log.today.isoformat()}.{wanted.format}"
    return Outcome(file=file, filename=filename, content_type=_TYPES[wanted.format], summary={"rfis": len(rfis)})


class _Log:
    """The RFIs of a log, in somebody's words."""

    def __init__(
        self, rfis: Sequence[Logged], project: ProjectAccess, calendar: Calendar, language: str, at: datetime
    ) -> None:
        self.rfis, self.project, self.calendar, self.language, self.at = rfis, project, calendar, language, at
        self.words = RFI_LOG[language]
        self.states = dict(zip(rules.STATUSES, self.words["states"].split("|"), strict=True))
        self.today = rules.local_day(at, project.timezone)

    def letterhead(self, company: str) -> paper.Letterhead:
        return paper.Letterhead(
            company=company,
            project_code=self.project.code,
            project=self.project.name,
            title=self.words["title"],
            subtitle=paper.day_text(self.today, self.language),
            printed_at=self.at.replace(microsecond=0),
            timezone=self.project.timezone,
            language=self.language,
            country=self.calendar.country,
        )

    def on_paper(self, courts: Sequence[CourtDays], names: Mapping[UUID, str]) -> dict[str, Any]:
        return {
            "facts": self._facts(),
            "names": self.words["paper"].split("|"),
            "rows": [self._line(rfi) for rfi in self.rfis],
            "none": self.words["none"],
            "courts_title": self.words["courts"],
            "courts_names": self.words["court_columns"].split("|"),
            "courts": [
                [names.get(each.person_id, "–"), self._number(each.calendar_days, 1), str(each.working_days)]
                for each in courts
            ],
        }

    def rows(self) -> list[list[Cell]]:
        return [self._row(rfi) for rfi in self.rfis]

    def _facts(self) -> list[list[str]]:
        count = Counter(rfi.status for rfi in self.rfis)
        late = sum(self._is_late(rfi) for rfi in self.rfis)
        answered = [self._days(rfi) for rfi in self.rfis if rfi.answered_at is not None]
        mean = self._number(sum(answered) / len(answered), 1) if answered else "–"
        waiting = sum(count[status] for status in rules.WAITING)
        names = self.words["facts"].split("|")
        values = [str(len(self.rfis)), str(waiting), str(late), str(count["answered"]), str(count["closed"]), mean]
        return [[name, value] for name, value in zip(names, values, strict=True)]

    def _line(self, rfi: Logged) -> list[str]:
        place = " · ".join(word for word in (rfi.location, rfi.trade, rfi.responsible) if word)
        due = "" if rfi.due_date is None else _short(rfi.due_date)
        return [
            rules.full_number(self.project.code, rfi.number) or "",
            f"{rfi.subject}\n{place}" if place else rfi.subject,
            self.states[rfi.status],
            "\n".join(rfi.ball_in_court),
            f"{due}\n{self.words['late']}" if self._is_late(rfi) else due,
            _short(self._day(rfi.submitted_at)),
            _short(self._day(rfi.answered_at)),
            str(self._days(rfi)),
            self._cost(rfi),
            self._schedule(rfi),
        ]

    def _row(self, rfi: Logged) -> list[Cell]:
        return [
            rules.full_number(self.project.code, rfi.number),
            rfi.subject,
            rfi.question,
            rfi.answer,
            self.states[rfi.status],
            "; ".join(rfi.ball_in_court),
            rfi.created_by,
            rfi.manager,
            rfi.responsible,
            rfi.location,
            rfi.trade,
            rfi.reference,
            rfi.due_date,
            self._there(rfi.submitted_at),
            self._there(rfi.answered_at),
            self._there(rfi.closed_at),
            self._days(rfi),
            self.words[rfi.cost_impact],
            rfi.cost_amount,
            self.words[rfi.schedule_impact],
            rfi.schedule_days,
        ]

    def _is_late(self, rfi: Logged) -> bool:
        return rfi.status in rules.WAITING and rfi.due_date is not None and rfi.due_date < self.today

    def _days(self, rfi: Logged) -> int:
        """Working days from its submission until its answer, its end, or now."""
        ends = self._day(rfi.answered_at or rfi.closed_at) or self.today
        submitted = self._day(rfi.submitted_at) or self.today
        return projects.working_days_between(self.calendar, submitted, ends)

    def _cost(self, rfi: Logged) -> str:
        if rfi.cost_amount is None:
            return self.words[rfi.cost_impact]
        return paper.money_text(
            rfi.cost_amount, self.project.currency, country=self.calendar.country, language=self.language
        )

    def _schedule(self, rfi: Logged) -> str:
        if rfi.schedule_days is None:
            return self.words[rfi.schedule_impact]
        return self.words["days"].format(days=rfi.schedule_days)

    def _number(self, value: float, decimals: int) -> str:
        return paper.number_text(value, country=self.calendar.country, language=self.language, decimals=decimals)

    def _there(self, at: datetime | None) -> datetime | None:
        return None if at is None else at.astimezone(ZoneInfo(self.project.timezone))

    def _day(self, at: datetime | None) -> date | None:
        return None if at is None else rules.local_day(at, self.project.timezone)


def _short(day: date | None) -> str:
    return "" if day is None else f"{day:%d/%m/%Y}"
