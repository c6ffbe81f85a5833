"""Doors for filing drawings."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from buildpeer.modules.documents.http.drawings import RevisionView, revision_view
from buildpeer.modules.documents.rules.drawings import Discipline, SheetState
from buildpeer.modules.documents.service import filings as service
from buildpeer.modules.documents.service.filings import MAX_PAGES, NewFiling, SheetReview, WholeFiling
from buildpeer.modules.documents.store.filings import Filing, ReviewedSheet
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
    SettingsDep,
    StorageDep,
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)
from buildpeer.platform.messages import reason_text


class FilingView(msgspec.Struct, kw_only=True):
    """A file that drawings are taken from; what it says of revision and dates holds where a sheet doesn't."""

    filing_id: UUID
    project_id: UUID
    document_id: UUID
    area_id: UUID | None
    set_id: UUID | None
    revision_number: str
    drawing_date: date | None
    received_date: date
    pages: int
    version: int
    created_by: UUID
    created_at: datetime


class SheetView(msgspec.Struct, kw_only=True):
    """A page: as its text proposes it (null: it doesn't say), or as a person said, or as it was published."""

    page: int
    state: SheetState
    number: str | None
    title: str | None
    discipline: Discipline | None
    revision_number: str | None
    drawing_date: date | None
    revision_id: UUID | None


class WholeFilingView(FilingView, kw_only=True):
    """A filing with its sheets: those that are `reading` aren't there yet (ask again in a second or two)."""

    state: Literal["reading", "read"]
    reason: str | None
    reason_text: str | None
    sheets: list[SheetView]


class Reviews(msgspec.Struct, frozen=True):
    """What a person says of some pages."""

    sheets: Annotated[list[SheetReview], msgspec.Meta(max_length=MAX_PAGES)]


class Publication(msgspec.Struct, frozen=True):
    """Which pages to publish, null: all that aren't skipped; and whom to tell besides whoever follows the project."""

    pages: Annotated[list[int], msgspec.Meta(max_length=MAX_PAGES)] | None = None
    people: Annotated[list[UUID], msgspec.Meta(max_length=200)] = []


class ProjectFilingsController(Controller):
    """What is filed in a project and not all published yet, to be seen by who filed it, owners and managers."""

    path = "/v1/projects/{project_id:uuid}/drawing-filings"
    tags = ("drawings",)
    opt = used_with("drawings")

    @get(summary="List filings")
    async def list_filings(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[FilingView]:
        """Filings that the caller may see, newest first."""
        after = read_cursor(cursor, tuple[datetime, UUID])
        found = await service.list_filings(db, caller=caller, project_id=project_id, after=after, limit=limit + 1)
        return page([_view(each) for each in found], limit, lambda each: [each.created_at, each.filing_id])

    @post(summary="File drawings")
    async def file_drawings(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[NewFiling],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> FilingView:
        """Begin to take drawings from a document; the same again gives the same."""
        return _view(await service.file_drawings(db, caller=caller, project_id=project_id, wanted=data, now=now))


class FilingsController(Controller):
    """One filing: its sheets proposed, reviewed, published."""

    path = "/v1/drawing-filings/{filing_id:uuid}"
    tags = ("drawings",)
    opt = used_with("drawings")

    @get(summary="One filing")
    async def look_at_filing(
        self,
        *,
        filing_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        settings: SettingsDep,
        language: LanguageDep,
    ) -> Response[WholeFilingView]:
        """A filing and its sheets, which are read when somebody first asks; its ETag is for reviewing them."""
        found = await service.look_at_filing(
            db, storage, derived_bucket=settings.derived_bucket, caller=caller, filing_id=filing_id
        )
        return _whole(found, language)

    @patch("/sheets", summary="Review sheets")
    async def review_sheets(
        self,
        *,
        filing_id: FromPath[UUID],
        data: JSONBody[Reviews],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        if_match: IfMatch = None,
    ) -> Response[WholeFilingView]:
        """Say what some pages are; the others stay as they are. The answer has the pages that were reviewed so far."""
        version = read_if_match(if_match)
        found = await service.review_sheets(
            db, caller=caller, filing_id=filing_id, version=version, reviews=data.sheets
        )
        return _whole(found, language)

    @post("/publication", summary="Publish sheets")
    async def publish_sheets(
        self,
        filing_id: FromPath[UUID],
        data: JSONBody[Publication],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> list[RevisionView]:
        """Publish reviewed pages, all or none, and announce them; what is published already stays as it is."""
        made = await service.publish_sheets(
            db, caller=caller, filing_id=filing_id, pages=data.pages, people=data.people, now=now
        )
        return [revision_view(each) for each in made]

    @delete(summary="Discard a filing")
    async def discard_filing(self, filing_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Forget what was said of its sheets; the document stays. Not once a part of it is published."""
        await service.discard_filing(db, caller=caller, filing_id=filing_id)


def _view(filing: Filing) -> FilingView:
    return FilingView(**msgspec.structs.asdict(filing))


def _whole(found: WholeFiling, language: str) -> Response[WholeFilingView]:
    pages = range(1, found.filing.pages + 1) if found.proposals is not None else sorted(found.reviewed)
    view = WholeFilingView(
        **msgspec.structs.asdict(found.filing),
        state="reading" if found.proposals is None and len(found.reviewed) < found.filing.pages else "read",
        reason=found.reason or None,
        reason_text=reason_text(found.reason, language),
        sheets=[_sheet(page, found) for page in pages],
    )
    return tagged(view, found.filing.version)


def _sheet(page: int, found: WholeFiling) -> SheetView:
    said = found.reviewed.get(page)
    shown = said or (found.proposals or [])[page - 1]
    return SheetView(
        page=page,
        state=_state(said),
        number=shown.number,
        title=shown.title,
        discipline=shown.discipline,
        revision_number=shown.revision_number,
        drawing_date=shown.drawing_date,
        revision_id=said.revision_id if said else None,
    )


def _state(said: ReviewedSheet | None) -> SheetState:
    if said is None:
        return "proposed"
    return "published" if said.revision_id else "skipped" if said.skipped else "reviewed"
