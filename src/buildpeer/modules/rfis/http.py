"""Doors for RFIs: parse, one service call, shape."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.jobs.facade import JobStarted
from buildpeer.modules.rfis import rules, service
from buildpeer.modules.rfis.rules import Action, CourtDays, Impact, Status, Verb
from buildpeer.modules.rfis.service import BulkChange, CompanyDays, NewRfi, NewRfiImport, RfiChanges, Shown, Wanted
from buildpeer.modules.rfis.store import NEVER, UNNUMBERED, Filters, Reply, RfiSettings, Sort, Transition
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    IfMatch,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)

Body = Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
Note = Annotated[str, msgspec.Meta(max_length=2000)]
Many = Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=rules.MOST_AT_ONCE)]
People = Annotated[list[UUID], msgspec.Meta(max_length=rules.MOST_PEOPLE)]
Documents = Annotated[list[UUID], msgspec.Meta(max_length=rules.MOST_DOCUMENTS)]


class RfiView(msgspec.Struct, kw_only=True):
    """An RFI as clients see it: whose move it is, whether it is late, and what the caller may do with it now.

    `full_number` is how people call it; a draft has none. `due_date` is a day of the project, over at midnight there.
    `received_from_id` and `responsible_id` are companies of the project; `cost_amount` is in its currency.
    """

    rfi_id: UUID
    project_id: UUID
    number: int | None
    full_number: str | None
    status: Status
    version: int
    subject: str
    question: str
    reference: str
    private: bool
    created_by: UUID
    manager_id: UUID | None
    assignees: list["AssigneeView"]
    reviewer_id: UUID | None
    distribution: Sequence[UUID]
    ball_in_court: Sequence[UUID]
    documents: Sequence[UUID]
    location_id: UUID | None
    trade_id: UUID | None
    received_from_id: UUID | None
    responsible_id: UUID | None
    due_date: date | None
    overdue: bool
    cost_impact: Impact
    cost_amount: Decimal | None
    schedule_impact: Impact
    schedule_days: int | None
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime | None
    opened_at: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None
    permitted_actions: Sequence[Verb]


class AssigneeView(msgspec.Struct):
    """Somebody who is asked; `replied`: since it was opened, and only counted where a reply is required."""

    person_id: UUID
    response_required: bool
    replied: bool


class WholeRfi(RfiView, kw_only=True):
    """An RFI with its replies, oldest first."""

    replies: Sequence[Reply]


class NewTransition(msgspec.Struct):
    """What to do: one of `permitted_actions`. `forward` needs `person_id`, `answer` the `reply_id` that is official."""

    action: Action
    person_id: UUID | None = None
    reply_id: UUID | None = None
    note: Note = ""


class NewReply(msgspec.Struct):
    """A reply; `reply_id` is a UUIDv7 of the client's."""

    reply_id: UUID
    body: Body
    documents: Documents = []


class ManyChanges(msgspec.Struct):
    """What becomes of each: people who are asked or told besides, another due date, its end."""

    rfi_ids: Many
    assign: People = []
    distribute: People = []
    due_date: date | None = None
    close: bool = False


class RfiProblem(msgspec.Struct):
    """What is wrong with one of many."""

    code: str
    status: int
    title: str
    detail: str


class Outcome(msgspec.Struct):
    """What one of many came to: its version now, or why it stays as it was."""

    rfi_id: UUID
    version: int | None
    problem: RfiProblem | None


class Outcomes(msgspec.Struct):
    """One for each, in the order asked."""

    results: list[Outcome]


class CourtDaysView(msgspec.Struct):
    """How long the ball lay in whose court, longest first: open stretches count until now, and whoever shares a court
    is counted for the whole time.
    """

    people: Sequence[CourtDays]
    companies: Sequence[CompanyDays]


class NewLog(msgspec.Struct):
    """A log to write: as what, and of RFIs in which states; `job_id` is a UUIDv7 of the client's."""

    job_id: UUID
    format: service.Format
    status: list[Status] | None = None


class SettingsView(msgspec.Struct):
    """Who manages RFIs that name nobody, and in how many working days they are due once opened."""

    manager_id: UUID | None = None
    due_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7


class RfisController(Controller):
    """Questions, and who has to move."""

    path = "/v1"
    tags = ("rfis",)
    opt = used_with("rfis")

    @get("/projects/{project_id:uuid}/rfis", summary="List RFIs")
    async def list_rfis(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        status: Annotated[list[Status] | None, QueryParameter(name="status", required=False)] = None,
        ball_in_court: Annotated[
            UUID | None, QueryParameter(name="ball_in_court", required=False, description="A person, who has to move")
        ] = None,
        mine: Annotated[
            bool, QueryParameter(name="mine", required=False, description="Those in which the caller has to move")
        ] = False,
        assignee_id: Annotated[UUID | None, QueryParameter(name="assignee_id", required=False)] = None,
        location_id: Annotated[
            UUID | None, QueryParameter(name="location_id", required=False, description="With all that lies in it")
        ] = None,
        trade_id: Annotated[UUID | None, QueryParameter(name="trade_id", required=False)] = None,
        overdue: Annotated[bool, QueryParameter(name="overdue", required=False)] = False,
        q: Annotated[str | None, QueryParameter(name="q", required=False, max_length=200)] = None,
        sort: Annotated[Sort, QueryParameter(name="sort", required=False)] = "-number",
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[RfiView]:
        """RFIs of a project that the caller may see. `q` finds words of subject, question and reference in any form,
        with or without accents.
        """
        found = await service.list_rfis(
            db,
            caller=caller,
            project_id=project_id,
            filters=Filters(
                status=status,
                ball_in_court=caller.person_id if mine else ball_in_court,
                assignee_id=assignee_id,
                trade_id=trade_id,
                words=q,
            ),
            location_id=location_id,
            overdue=overdue,
            sort=sort,
            after=read_cursor(cursor, _PLACES[sort.removeprefix("-")]),
            limit=limit + 1,
            now=now,
        )
        return page([_view(shown) for shown in found], limit, lambda view: _place(view, sort))

    @post("/projects/{project_id:uuid}/rfis", summary="Write an RFI down")
    async def create(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[NewRfi],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> Response[WholeRfi]:
        """A draft, which nobody but its author, owners and managers see; the same call again gives the same RFI."""
        return _whole(await service.create(db, caller=caller, project_id=project_id, new=data, now=now))

    @get("/rfis/{rfi_id:uuid}", summary="One RFI")
    async def get_rfi(
        self, rfi_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> Response[WholeRfi]:
        """An RFI with its replies."""
        return _whole(await service.get_rfi(db, caller=caller, rfi_id=rfi_id, now=now))

    @patch("/rfis/{rfi_id:uuid}", summary="Change an RFI")
    async def change(
        self,
        *,
        rfi_id: FromPath[UUID],
        data: JSONBody[RfiChanges],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[WholeRfi]:
        """Change what is named: a draft by its author, later by its RFI manager, and always by owners and managers."""
        version = read_if_match(if_match)
        return _whole(await service.change(db, caller=caller, rfi_id=rfi_id, version=version, changes=data, now=now))

    @post("/rfis/{rfi_id:uuid}/replies", summary="Reply to an RFI")
    async def reply(
        self,
        rfi_id: FromPath[UUID],
        data: JSONBody[NewReply],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> Response[WholeRfi]:
        """Reply; the ball moves on once everybody has replied who has to. The same call again changes nothing."""
        return _whole(
            await service.reply(
                db,
                caller=caller,
                rfi_id=rfi_id,
                reply_id=data.reply_id,
                body=data.body,
                attached=data.documents,
                now=now,
            )
        )

    @get("/rfis/{rfi_id:uuid}/transitions", summary="What happened to an RFI")
    async def list_transitions(
        self,
        *,
        rfi_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Transition]:
        """What was done, by whom, and in whose court the ball was before and after; oldest first."""
        after = read_cursor(cursor, tuple[int]) or (0,)
        found = await service.list_transitions(db, caller=caller, rfi_id=rfi_id, after=after[0], limit=limit + 1)
        return page(found, limit, lambda t: [t.version])

    @post("/rfis/{rfi_id:uuid}/transitions", summary="Move an RFI")
    async def act(
        self,
        rfi_id: FromPath[UUID],
        data: JSONBody[NewTransition],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> Response[WholeRfi]:
        """Submit, open, reject, revise, forward, recall, answer, close, void or reopen; the same call again, with
        nothing in between, changes nothing.
        """
        wanted = Wanted(action=data.action, person_id=data.person_id, reply_id=data.reply_id, note=data.note)
        return _whole(await service.act(db, caller=caller, rfi_id=rfi_id, wanted=wanted, now=now))

    @post("/rfi-changes", status_code=200, summary="Change many RFIs")
    async def change_many(
        self, data: JSONBody[ManyChanges], caller: CallerDep, db: DatabaseDep, now: NowDep, language: LanguageDep
    ) -> Outcomes:
        """Assign, distribute, set another due date or close, for up to 200 RFIs, each with an outcome of its own."""
        change = BulkChange(assign=data.assign, distribute=data.distribute, due_date=data.due_date, close=data.close)
        found = await service.change_many(db, caller=caller, rfi_ids=data.rfi_ids, change=change, now=now)
        return Outcomes([_outcome(each, language) for each in found])

    @get("/projects/{project_id:uuid}/rfi-court-days", summary="Days in court")
    async def court_days(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        rfi_id: Annotated[UUID | None, QueryParameter(name="rfi_id", required=False)] = None,
    ) -> CourtDaysView:
        """How long the ball lay in whose court, over all RFIs of the project that the caller may see, or in one."""
        found = await service.court_days(db, caller=caller, project_id=project_id, rfi_id=rfi_id, now=now)
        return CourtDaysView(found.people, found.companies)

    @post(
        "/projects/{project_id:uuid}/rfi-imports",
        status_code=202,
        summary="Import RFIs from a table",
        request_max_body_size=8 * 1024 * 1024,
    )
    async def import_rfis(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[NewRfiImport],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> JobStarted:
        """A job that makes a draft of the caller's of every row of a CSV file with the column Asunto and, if there are,
        Pregunta, Referencia, Vence, Ubicación, Especialidad, Empresa responsable, Responsable de la RFI, Asignados and
        Privada; with `check` it only says what it would do.
        """
        return await service.order_import(db, caller=caller, project_id=project_id, wanted=data, language=language)

    @post("/projects/{project_id:uuid}/rfi-logs", summary="Order an RFI log", status_code=202)
    async def order_log(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[NewLog],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> JobStarted:
        """A job that writes the numbered RFIs of the project that the caller may see, as PDF, XLSX or CSV. It names
        people, and is for who may see them.
        """
        wanted = service.LogWanted(data.format, data.status)
        return await service.order_log(
            db, caller=caller, project_id=project_id, job_id=data.job_id, wanted=wanted, language=language
        )

    @get("/projects/{project_id:uuid}/rfi-settings", summary="How a project handles RFIs")
    async def get_settings(
        self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> Response[SettingsView]:
        """Who manages RFIs that name nobody, and how long answers may take."""
        return _settings(await service.get_settings(db, caller=caller, project_id=project_id))

    @put(
        "/projects/{project_id:uuid}/rfi-settings",
        summary="Say how a project handles RFIs",
        opt=used_with("rfis", write="admin"),
    )
    async def change_settings(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[SettingsView],
        caller: CallerDep,
        db: DatabaseDep,
        if_match: IfMatch = None,
    ) -> Response[SettingsView]:
        """Say it whole: what isn't named gets its default."""
        return _settings(
            await service.change_settings(
                db,
                caller=caller,
                project_id=project_id,
                version=read_if_match(if_match),
                manager_id=data.manager_id,
                due_days=data.due_days,
            )
        )


_PLACES: dict[str, Any] = {
    "number": tuple[int, UUID],
    "due_date": tuple[date, UUID],
    "updated_at": tuple[datetime, UUID],
}


def _place(view: RfiView, sort: Sort) -> list[Any]:
    """Where an RFI stands in an order."""
    match sort.removeprefix("-"):
        case "number":
            return [UNNUMBERED if view.number is None else view.number, view.rfi_id]
        case "due_date":
            return [view.due_date or NEVER, view.rfi_id]
        case _:
            return [view.updated_at, view.rfi_id]


def _view(shown: Shown) -> RfiView:
    return RfiView(**_fields(shown))


def _whole(shown: Shown) -> Response[WholeRfi]:
    return tagged(WholeRfi(**_fields(shown), replies=shown.replies), shown.rfi.version)


def _fields(shown: Shown) -> dict[str, Any]:
    rfi = shown.rfi
    return {name: getattr(rfi, name) for name in _SAME} | {
        "assignees": [AssigneeView(p, p in rfi.required, p in rfi.replied) for p in rfi.assignees],
        "full_number": shown.full_number,
        "overdue": shown.overdue,
        "permitted_actions": shown.permitted_actions,
    }


_SAME = frozenset(RfiView.__struct_fields__) & frozenset(rules.Rfi.__struct_fields__) - {"assignees"}


def _settings(found: RfiSettings) -> Response[SettingsView]:
    return tagged(SettingsView(found.manager_id, found.due_days), found.version)


def _outcome(each: service.Outcome, language: str) -> Outcome:
    problem = each.problem and RfiProblem(
        each.problem.code, each.problem.kind.status, each.problem.kind.title, each.problem.detail(language)
    )
    return Outcome(each.rfi_id, each.version, problem)
