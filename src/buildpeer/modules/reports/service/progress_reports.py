"""Reports to investors: composed, published, corrected by new editions, read with a receipt.

A published report is what its page says, for good: neither the plan, nor measurements, nor names that change later
change it. Only its photos are looked up each time, so that one which was locked away or erased is shown to nobody.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.documents.facade import Described
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.projects.facade import ProjectAccess
from buildpeer.modules.reports import events
from buildpeer.modules.reports.rules import progress as rules
from buildpeer.modules.reports.rules.progress import ChosenPhoto, Content, Page, PagePhoto, ReportAction, Status
from buildpeer.modules.reports.service.progress import find
from buildpeer.modules.reports.store import daily_logs
from buildpeer.modules.reports.store import progress as store
from buildpeer.modules.reports.store.progress import Reading, Report
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7


class NewReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report to compose; `report_id` is a UUIDv7 made by the client, `corrects` a published one in whose place it is
    to come.
    """

    report_id: UUID
    content: Content
    corrects: UUID | None = None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A report as somebody sees it: `photos` are those of its page that can be shown; `content` is for composers."""

    report: Report
    status: Status
    page: Page
    photos: dict[UUID, Described]
    content: Content | None
    permitted_actions: list[ReportAction]


async def list_reports(
    db: Database, *, caller: Caller, project_id: UUID, before: UUID, limit: int
) -> list[tuple[Report, Status, list[ReportAction]]]:
    """Reports of a project, the newest first; an investor sees those that are published. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id, "read")
        found = await store.reports(tx, project_id, before=before, limit=limit)
        return [(report, status_of(report), _actions(tx, report)) for report in found]


async def open_report(db: Database, *, caller: Caller, report_id: UUID, now: datetime) -> Opened:
    """A report and its page. Who reads a published one without composing them leaves a receipt.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        report = await find_report(tx, report_id)
        await note_reading(tx, report, now=now)
        return await look(tx, report)


async def make_report(db: Database, *, caller: Caller, project_id: UUID, wanted: NewReport, now: datetime) -> Opened:
    """Begin a draft; the same one again is that.

    Raises Problem not_found, not_allowed, id_invalid, id_taken, invalid, reference_unknown; report_not_published or
    report_corrected for what it is to correct.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id, "admin")
        if not is_uuid7(wanted.report_id):
            raise Problem("id_invalid")
        digest = rules.digest(wanted.content, wanted.corrects)
        known = await store.report(tx, wanted.report_id)
        if known is None:
            await _check(tx, project_id, wanted.content)
            edition = 1 if wanted.corrects is None else await _next_edition(tx, project_id, wanted.corrects)
            if not await store.make(
                tx,
                wanted.report_id,
                project_id,
                wanted.content,
                corrects=wanted.corrects,
                edition=edition,
                digest=digest,
                now=now,
            ):
                known = await store.report(tx, wanted.report_id)  # whoever was faster
                if known is None:
                    raise Problem("id_taken")
        made = known or await find_report(tx, wanted.report_id)
        if (made.digest, made.project_id, made.created_by) != (digest, project_id, caller.person_id):
            raise Problem("id_taken")
        return await look(tx, made)


async def edit(db: Database, *, caller: Caller, report_id: UUID, content: Content, version: int | None) -> Opened:
    """Compose a draft anew. Raises Problem not_found, not_allowed, report_published, changed_meanwhile, invalid,
    reference_unknown.
    """
    async with db.transaction(caller.scope) as tx:
        report = await _lock(tx, report_id)
        if report.page is not None:
            raise Problem("report_published")
        await _check(tx, report.project_id, content)
        if await store.edit(tx, report_id, content, version=version) is None:
            raise Problem("changed_meanwhile")
        return await look(tx, await find_report(tx, report_id))


async def publish(db: Database, *, caller: Caller, report_id: UUID, version: int | None, now: datetime) -> Opened:
    """Publish the version that the caller has read, for good, and tell the project's investors.

    Of two at once one publishes, and the other gets what was published. Raises Problem not_found, not_allowed,
    changed_meanwhile if it was edited since, report_corrected if another correction was faster, reference_unknown if a
    photo is gone.
    """
    async with db.transaction(caller.scope) as tx:
        report = await _lock(tx, report_id)
        if report.page is not None:
            if version not in (None, report.version, report.version - 1):
                raise Problem("changed_meanwhile")
            return await look(tx, report)
        if version not in (None, report.version):
            raise Problem("changed_meanwhile")
        await _check(tx, report.project_id, report.content)
        if report.corrects is not None:
            await store.queue(tx, report.corrects)
            await _next_edition(tx, report.project_id, report.corrects)
        page = await _compose(tx, report)
        if not await store.publish(tx, report, page, now=now):
            raise Problem("changed_meanwhile")
        news = events.ReportNews(report.report_id, report.project_id, report.edition, report.corrects)
        await tx.announce([events.report_published(news, await store.investors(tx, report.project_id))])
        return await look(tx, await find_report(tx, report_id))


async def list_readings(db: Database, *, caller: Caller, report_id: UUID) -> list[Reading]:
    """Who has opened a report, and when: for those who compose them. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        await find_report(tx, report_id)
        identity.permit(tx, "reports", "admin")
        return await store.readings(tx, report_id)


async def find_report(tx: Transaction, report_id: UUID) -> Report:
    """A report that the caller may see. Raises Problem not_found."""
    report = await store.report(tx, report_id)
    if report is None:
        raise Problem("not_found")
    identity.permit(tx, "reports", "read")
    return report


async def look(tx: Transaction, report: Report) -> Opened:
    """A report with its page, and those of its photos that are there."""
    composes = identity.may(tx, "reports", "standard")
    return Opened(
        report=report,
        status=status_of(report),
        page=report.page or await _compose(tx, report),
        photos={p.document_id: p for p in await documents.of_report(tx, report.report_id) if p.preview},
        content=report.content if composes else None,
        permitted_actions=_actions(tx, report),
    )


async def note_reading(tx: Transaction, report: Report, *, now: datetime) -> None:
    """Leave a receipt of a person who reads a published report without composing them; a machine leaves none."""
    machine = tx.scope is not None and tx.scope.key_id is not None
    if report.page is not None and not machine and not identity.may(tx, "reports", "admin"):
        await store.note_reading(tx, report, now=now)


def status_of(report: Report) -> Status:
    """How it stands."""
    return rules.status(published=report.page is not None, corrected=report.corrected_by is not None)


async def places_of(tx: Transaction, photos: Sequence[ChosenPhoto], found: Sequence[Described]) -> list[PagePhoto]:
    """Photos with what is told of them: the place's own name, or else where the phone was."""
    by_id = {document.document_id: document for document in found}
    places = {photo.location_id for photo in photos} | {document.location_id for document in found}
    names = await projects.names_of(tx, locations={p for p in places if p}, trades=[], companies=[])

    def told(photo: ChosenPhoto) -> PagePhoto:
        document = by_id.get(photo.document_id)
        location_id = photo.location_id or (document and document.location_id)
        place = names.get(location_id, "") if location_id else ""
        if not place and document and document.latitude is not None and document.longitude is not None:
            place = f"{document.latitude:.5f}, {document.longitude:.5f}"
        captured_at = document.captured_at if document else None
        return PagePhoto(document_id=photo.document_id, caption=photo.caption, place=place, captured_at=captured_at)

    return [told(photo) for photo in photos]


async def check_photos(tx: Transaction, project_id: UUID, photos: Sequence[ChosenPhoto]) -> None:
    """Raises Problem reference_unknown unless photos and their places are the project's."""
    await documents.check_attachable(tx, project_id, [photo.document_id for photo in photos])
    places = {photo.location_id for photo in photos if photo.location_id}
    await projects.check_references(tx, project_id, locations=places)


async def _compose(tx: Transaction, report: Report) -> Page:
    content = report.content
    project: ProjectAccess = await projects.find_project(tx, report.project_id)
    points = (await store.baseline(tx, report.project_id)).points
    entries = await store.entries(tx, report.project_id)
    reached = rules.progress_at(points, entries, content.last)
    chosen = [photo.document_id for photo in content.photos]
    money = content.shows_money and identity.may(tx, "budgets", "read")
    return Page(
        company=await daily_logs.company(tx),
        project_code=project.code,
        project=project.name,
        timezone=project.timezone,
        currency=project.currency,
        country=project.country,
        title=content.title,
        first=content.first,
        last=content.last,
        text=content.text,
        physical=reached.physical,
        financial=reached.financial,
        money=rules.money_at(points, entries, content.last, project.currency) if money else None,
        curve=rules.curve(points, entries, last=content.last, step=content.step),
        milestones=content.milestones,
        photos=await places_of(tx, content.photos, await documents.described(tx, chosen)),
    )


async def _check(tx: Transaction, project_id: UUID, content: Content) -> None:
    rules.check_content(content)
    if content.shows_money:
        identity.permit(tx, "budgets", "standard")
    await check_photos(tx, project_id, content.photos)


async def _next_edition(tx: Transaction, project_id: UUID, corrects: UUID) -> int:
    corrected = await store.report(tx, corrects)
    if corrected is None or corrected.project_id != project_id:
        raise Problem("reference_unknown", field="corrects")
    if corrected.page is None:
        raise Problem("report_not_published")
    if corrected.corrected_by is not None:
        raise Problem("report_corrected", corrected_by=str(corrected.corrected_by))
    return corrected.edition + 1


async def _lock(tx: Transaction, report_id: UUID) -> Report:
    await find_report(tx, report_id)
    identity.permit(tx, "reports", "admin")
    await store.lock(tx, report_id)
    return await find_report(tx, report_id)


def _actions(tx: Transaction, report: Report) -> list[ReportAction]:
    return rules.actions(status_of(report), composes=identity.may(tx, "reports", "admin"))
