"""Progress reports and photo reports on paper, made as jobs. A report's paper says what its page says."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.documents.facade import Described
from buildpeer.modules.jobs import facade as jobs
from buildpeer.modules.jobs.facade import JobStarted, Outcome, Work
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.reports.rules import progress_paper as rules
from buildpeer.modules.reports.rules.progress import ChosenPhoto, Line, PagePhoto
from buildpeer.modules.reports.service import progress_reports as reports
from buildpeer.modules.reports.service.progress import find
from buildpeer.modules.reports.store import daily_logs
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.paper import Letterhead, print_pdf

PROGRESS_REPORT, PHOTO_REPORT = "progress_report", "photo_report"
_MOST_PHOTO_BYTES = 8 * 1024 * 1024


class NewPhotoReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Photos to print, in this order; `job_id` is a UUIDv7 made by the client."""

    job_id: UUID
    title: Line
    photos: Annotated[list[ChosenPhoto], msgspec.Meta(min_length=1, max_length=120)]


async def order_report(
    db: Database, *, caller: Caller, report_id: UUID, job_id: UUID, language: str, now: datetime
) -> JobStarted:
    """Order a report as a PDF, which counts as opening it. Raises Problem not_found, and what `jobs.start` does."""
    async with db.transaction(caller.scope) as tx:
        report = await reports.find_report(tx, report_id)
        await reports.note_reading(tx, report, now=now)
        return await jobs.start(
            tx,
            job_id=job_id,
            kind=PROGRESS_REPORT,
            wanted={"report_id": report_id},
            language=language,
            project_id=report.project_id,
        )


async def order_photos(
    db: Database, *, caller: Caller, project_id: UUID, wanted: NewPhotoReport, language: str
) -> JobStarted:
    """Order photos as a PDF. Raises Problem not_found, invalid, reference_unknown, and what `jobs.start` does."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        if len({photo.document_id for photo in wanted.photos}) < len(wanted.photos):
            raise Problem("invalid", "photos must be chosen once each")
        await reports.check_photos(tx, project_id, wanted.photos)
        told = {"title": wanted.title, "photos": wanted.photos}
        return await jobs.start(
            tx, job_id=wanted.job_id, kind=PHOTO_REPORT, wanted=told, language=language, project_id=project_id
        )


async def print_report(work: Work) -> Outcome:
    """The PDF of a report as it stands. Raises Problem not_found for who may not read it any more."""
    async with work.transaction() as tx:
        opened = await reports.look(tx, await reports.find_report(tx, UUID(work.wanted["report_id"])))
    page, report = opened.page, opened.report
    files = await _pictures(work, page.photos, opened.photos)
    letterhead = Letterhead(
        company=page.company,
        project_code=page.project_code,
        project=page.project,
        title=page.title,
        subtitle=rules.subtitle(page, edition=report.edition, published_at=report.published_at, language=work.language),
        printed_at=clock.now(),
        timezone=page.timezone,
        language=work.language,
        country=page.country,
    )
    data = rules.report_data(page, status=opened.status, files=files, language=work.language)
    pdf = await print_pdf(rules.REPORT_TEMPLATE, data, letterhead, pictures=files)
    return _outcome(work, pdf, f"{page.project_code} {page.title}.pdf", len(files))


async def print_photos(work: Work) -> Outcome:
    """The PDF of chosen photos. Raises Problem not_found for who may not see the project any more."""
    assert work.project_id is not None  # noqa: S101 - `order_photos` gave it
    chosen = msgspec.convert(work.wanted["photos"], list[ChosenPhoto])
    async with work.transaction() as tx:
        project = await find(tx, work.project_id)
        found = await documents.described(tx, [photo.document_id for photo in chosen])
        photos = await reports.places_of(tx, chosen, found)
        company = await daily_logs.company(tx)
        country = (await projects.calendar_of(tx, project.project_id)).country
    files = await _pictures(work, photos, {each.document_id: each for each in found})
    letterhead = Letterhead(
        company=company,
        project_code=project.code,
        project=project.name,
        title=work.wanted["title"],
        subtitle=rules.photos_subtitle(len(files), work.language),
        printed_at=clock.now(),
        timezone=project.timezone,
        language=work.language,
        country=country,
    )
    data = rules.photos_data(photos, files=files, zone=project.timezone, language=work.language)
    pdf = await print_pdf(rules.PHOTOS_TEMPLATE, data, letterhead, pictures=files)
    return _outcome(work, pdf, f"{project.code} {work.wanted['title']}.pdf", len(files))


async def _pictures(work: Work, photos: Sequence[PagePhoto], found: Mapping[UUID, Described]) -> dict[str, bytes]:
    """The previews of photos that are still there, by the name of their file; never the originals."""
    files: dict[str, bytes] = {}
    for number, photo in enumerate(photos, start=1):
        document = found.get(photo.document_id)
        if document is not None and (preview := document.preview) is not None:
            content = await work.storage.read(bucket=preview.bucket, key=preview.key, most=_MOST_PHOTO_BYTES)
            if content is not None:
                files[rules.file_of(photo)] = content
        await work.tell(number, len(photos))
    return files


def _outcome(work: Work, pdf: bytes, filename: str, photos: int) -> Outcome:
    file = work.folder / "paper.pdf"
    file.write_bytes(pdf)
    return Outcome(file=file, filename=filename, content_type="application/pdf", summary={"photos": photos})
