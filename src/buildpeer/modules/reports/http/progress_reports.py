"""Doors for progress reports. An investor sees those of their projects that are published, and nothing else of them."""

from datetime import date, datetime
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post, put
from litestar.params import FromPath, JSONBody

from buildpeer.modules.documents.facade import Described
from buildpeer.modules.jobs.facade import JobStarted
from buildpeer.modules.reports.http.daily_logs import Export
from buildpeer.modules.reports.rules.progress import (
    Content,
    CurvePoint,
    Milestone,
    Money,
    PagePhoto,
    Progress,
    ReportAction,
    Status,
)
from buildpeer.modules.reports.rules.progress_paper import notice
from buildpeer.modules.reports.service import exporting_progress as exporting
from buildpeer.modules.reports.service import progress_reports as service
from buildpeer.modules.reports.service.exporting_progress import NewPhotoReport
from buildpeer.modules.reports.service.progress_reports import NewReport, Opened
from buildpeer.modules.reports.store.progress import Reading, Report
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
    StorageDep,
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)
from buildpeer.platform.storage import SignedUrl, Storage

_COMPOSE = used_with("reports", write="admin")
_NEWEST = UUID(int=2**128 - 1)


class ReportLine(msgspec.Struct, kw_only=True):
    """A report in a list. `corrected`: another one, `corrected_by`, has come in its place."""

    report_id: UUID
    project_id: UUID
    title: str
    first: date
    last: date
    status: Status
    edition: int
    corrects: UUID | None
    corrected_by: UUID | None
    published_at: datetime | None
    permitted_actions: list[ReportAction]


class PhotoView(msgspec.Struct, kw_only=True):
    """A photo of a page, with URLs of its pictures, good for some minutes; none where they can't be shown."""

    document_id: UUID
    caption: str
    place: str
    captured_at: datetime | None
    thumbnail: SignedUrl | None
    preview: SignedUrl | None


class PageView(msgspec.Struct, kw_only=True):
    """What a report's readers see; `notice` says what is left out of it."""

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
    photos: list[PhotoView]
    photos_left_out: int
    notice: str


class ReportView(msgspec.Struct, kw_only=True):
    """A report; `content`, of which it was composed, is for those who compose."""

    report_id: UUID
    project_id: UUID
    status: Status
    edition: int
    corrects: UUID | None
    corrected_by: UUID | None
    version: int
    created_by: UUID
    created_at: datetime
    published_by: UUID | None
    published_at: datetime | None
    page: PageView
    content: Content | None
    permitted_actions: list[ReportAction]


class Readings(msgspec.Struct):
    """Receipts, in the order in which people first opened it."""

    items: list[Reading]


class ProjectReportsController(Controller):
    """A project's progress reports."""

    path = "/v1/projects/{project_id:uuid}"
    tags = ("progress reports",)
    opt = _COMPOSE

    @get("/progress-reports", summary="List reports")
    async def list_reports(
        self,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ReportLine]:
        """The newest first; for an investor, those that are published."""
        found = await service.list_reports(
            db,
            caller=caller,
            project_id=project_id,
            before=before[0] if (before := read_cursor(cursor, tuple[UUID])) else _NEWEST,
            limit=limit + 1,
        )
        cut = page(found, limit, lambda each: [each[0].report_id])
        return Page([_line(*each) for each in cut.items], cut.next_cursor)

    @post("/progress-reports", summary="Compose a report", status_code=200)
    async def make_report(
        self,
        *,
        project_id: FromPath[UUID],
        data: JSONBody[NewReport],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        language: LanguageDep,
        now: NowDep,
    ) -> Response[ReportView]:
        """A draft, or one that `corrects` a published report; by the same id and content again, the same."""
        made = await service.make_report(db, caller=caller, project_id=project_id, wanted=data, now=now)
        return _tagged(made, storage, language)

    @post("/photo-reports", summary="Photos as a PDF", opt=used_with("reports"))
    async def photo_report(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[NewPhotoReport],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> JobStarted:
        """Order chosen photos on paper, with captions, place and time; `GET /v1/jobs/{job_id}` has the file."""
        return await exporting.order_photos(db, caller=caller, project_id=project_id, wanted=data, language=language)


class ProgressReportsController(Controller):
    """One progress report."""

    path = "/v1/progress-reports/{report_id:uuid}"
    tags = ("progress reports",)
    opt = _COMPOSE

    @get(summary="One report")
    async def get_report(
        self,
        *,
        report_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        language: LanguageDep,
        now: NowDep,
    ) -> Response[ReportView]:
        """Its page. That somebody has opened a published one is shown to those who compose them."""
        found = await service.open_report(db, caller=caller, report_id=report_id, now=now)
        return _tagged(found, storage, language)

    @put(summary="Edit a draft")
    async def edit(
        self,
        *,
        report_id: FromPath[UUID],
        data: JSONBody[Content],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        language: LanguageDep,
        if_match: IfMatch = None,
    ) -> Response[ReportView]:
        """Compose it anew. A published report doesn't change: a correction is a report of its own."""
        changed = await service.edit(
            db, caller=caller, report_id=report_id, content=data, version=read_if_match(if_match)
        )
        return _tagged(changed, storage, language)

    @post("/publication", summary="Publish a report", status_code=200)
    async def publish(
        self,
        *,
        report_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        language: LanguageDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[ReportView]:
        """Show it to the project's investors, for good, as it stands now; again changes nothing."""
        done = await service.publish(db, caller=caller, report_id=report_id, version=read_if_match(if_match), now=now)
        return _tagged(done, storage, language)

    @get("/readings", summary="Who has opened it", opt=_COMPOSE)
    async def list_readings(self, report_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Readings:
        """Read receipts: who opened the published report, or ordered it on paper, first, last and how often."""
        return Readings(await service.list_readings(db, caller=caller, report_id=report_id))

    @post("/exports", summary="A report as a PDF", opt=used_with("reports", write="read"))
    async def export(
        self,
        *,
        report_id: FromPath[UUID],
        data: JSONBody[Export],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        now: NowDep,
    ) -> JobStarted:
        """Order its page on paper; `GET /v1/jobs/{job_id}` has the file."""
        return await exporting.order_report(
            db, caller=caller, report_id=report_id, job_id=data.job_id, language=language, now=now
        )


def _line(report: Report, status: Status, actions: list[ReportAction]) -> ReportLine:
    shown = report.page or report.content
    return ReportLine(
        report_id=report.report_id,
        project_id=report.project_id,
        title=shown.title,
        first=shown.first,
        last=shown.last,
        status=status,
        edition=report.edition,
        corrects=report.corrects,
        corrected_by=report.corrected_by,
        published_at=report.published_at,
        permitted_actions=actions,
    )


def _tagged(opened: Opened, storage: Storage, language: str) -> Response[ReportView]:
    told = {n: getattr(opened.report, n) for n in ReportView.__struct_fields__ if hasattr(opened.report, n)}
    told |= {
        "status": opened.status,
        "page": _page(opened, storage, language),
        "content": opened.content,
        "permitted_actions": opened.permitted_actions,
    }
    return tagged(ReportView(**told), opened.report.version)


def _page(opened: Opened, storage: Storage, language: str) -> PageView:
    left_out = sum(photo.document_id not in opened.photos for photo in opened.page.photos)
    told = {n: getattr(opened.page, n) for n in PageView.__struct_fields__ if hasattr(opened.page, n)}
    told["photos"] = [
        _photo(photo, opened.photos[photo.document_id], storage)
        for photo in opened.page.photos
        if photo.document_id in opened.photos
    ]
    return PageView(**told, photos_left_out=left_out, notice=notice(left_out, language))


def _photo(photo: PagePhoto, document: Described, storage: Storage) -> PhotoView:
    def sign(name: str) -> SignedUrl | None:
        picture = document.thumbnail if name == "thumbnail" else document.preview
        return picture and storage.sign_read(
            bucket=picture.bucket,
            key=picture.key,
            version_id=None,
            filename=f"{document.name}.{name}.webp",
            content_type=picture.content_type,
        )

    return PhotoView(
        document_id=photo.document_id,
        caption=photo.caption,
        place=photo.place,
        captured_at=photo.captured_at,
        thumbnail=sign("thumbnail"),
        preview=sign("preview"),
    )
