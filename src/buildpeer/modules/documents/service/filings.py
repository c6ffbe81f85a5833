"""Filing a PDF of plans: its sheets are proposed, reviewed by a person, and published as revisions of drawings.

Until then only who filed it sees it, and owners and managers; and nobody is told.
"""

import asyncio
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.facts import Sheet, SheetsRead, sheets_key
from buildpeer.modules.documents import events
from buildpeer.modules.documents.events import DrawingsPublished, PublishedRevision
from buildpeer.modules.documents.rules import drawings as rules
from buildpeer.modules.documents.rules import title_blocks
from buildpeer.modules.documents.rules.drawings import Discipline
from buildpeer.modules.documents.rules.title_blocks import Proposal
from buildpeer.modules.documents.service.drawings import check_references
from buildpeer.modules.documents.store import documents as document_store
from buildpeer.modules.documents.store import drawings as drawing_store
from buildpeer.modules.documents.store import filings as store
from buildpeer.modules.documents.store.documents import Document
from buildpeer.modules.documents.store.drawings import Known, Revision
from buildpeer.modules.documents.store.filings import Filing, ReviewedSheet
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7, new_id
from buildpeer.platform.storage import Storage

PDF = "application/pdf"
MAX_PAGES = 1000
MAX_TOLD_BYTES = 8 * 1024 * 1024  # of what derive says of all sheets
RevisionNumber = Annotated[str, msgspec.Meta(max_length=20)]


class NewFiling(msgspec.Struct, frozen=True, kw_only=True):
    """A file to take drawings from; `filing_id` is a UUIDv7 of the client's. The rest holds for each sheet that doesn't
    say otherwise; `received_date` is today, at the project, unless it is named.
    """

    filing_id: UUID
    document_id: UUID
    area_id: UUID | None = None
    set_id: UUID | None = None
    revision_number: RevisionNumber = ""
    drawing_date: date | None = None
    received_date: date | None = None


class SheetReview(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a page; one that is `skipped` is no drawing."""

    page: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGES)]
    number: Annotated[str, msgspec.Meta(max_length=rules.MAX_NUMBER)] = ""
    title: Annotated[str, msgspec.Meta(max_length=rules.MAX_TITLE)] = ""
    discipline: Discipline = "other"
    revision_number: RevisionNumber = ""
    drawing_date: date | None = None
    skipped: bool = False


class WholeFiling(msgspec.Struct, frozen=True):
    """A filing with what is proposed for its pages, None until they are read, and what people said of them."""

    filing: Filing
    proposals: Sequence[Proposal] | None
    reviewed: dict[int, ReviewedSheet]
    reason: str = ""


async def file_drawings(db: Database, *, caller: Caller, project_id: UUID, wanted: NewFiling, now: datetime) -> Filing:
    """Begin a filing; the same again gives the same.

    Raises Problem not_found, not_allowed, id_invalid, id_taken, or reference_unknown for a file, an area or a set that
    isn't there, or a file that has no pages to show.
    """
    if not is_uuid7(wanted.filing_id):
        raise Problem("id_invalid")
    async with db.transaction(caller.scope) as tx:
        project = await projects.find_project(tx, project_id)
        identity.permit(tx, "drawings", "standard")
        document = await document_store.by_id(tx, wanted.document_id)
        if document is None or document.project_id != project_id or document.preview is None:
            raise Problem("reference_unknown", field="document_id")
        await check_references(tx, project_id, area_id=wanted.area_id, set_id=wanted.set_id)
        filing = Filing(
            filing_id=wanted.filing_id,
            project_id=project_id,
            document_id=wanted.document_id,
            area_id=wanted.area_id,
            set_id=wanted.set_id,
            revision_number=rules.revision_spelled(wanted.revision_number),
            drawing_date=wanted.drawing_date,
            received_date=wanted.received_date or now.astimezone(ZoneInfo(project.timezone)).date(),
            pages=min(document.media.pages or 1, MAX_PAGES),
            version=1,
            created_by=caller.person_id,
            created_at=now,
        )
        if await store.insert(tx, filing):
            return filing
        there = await store.by_id(tx, wanted.filing_id)
        if there is None or not _is_same(filing, there, wanted):
            raise Problem("id_taken")
        return there


async def list_filings(
    db: Database, *, caller: Caller, project_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[Filing]:
    """The project's filings that the caller may see, newest first. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "drawings", "standard")
        return await store.page(tx, project_id, after=after, limit=limit)


async def look_at_filing(
    db: Database, storage: Storage, *, derived_bucket: str, caller: Caller, filing_id: UUID
) -> WholeFiling:
    """A filing with its sheets, or the word that they are being read, which this call asks for.

    Raises Problem not_found or not_allowed.
    """
    async with db.transaction(caller.scope) as tx:
        filing, document, reviewed = await _look(tx, filing_id)
    if len(reviewed) == filing.pages:
        return WholeFiling(filing, [Proposal()] * filing.pages, reviewed)
    if document.content_type != PDF:
        said = SheetsRead([Sheet()])
    else:
        told = await storage.read(
            bucket=derived_bucket, key=sheets_key(document.key, document.version_id), most=MAX_TOLD_BYTES
        )
        if told is None:
            async with db.transaction(caller.scope) as tx:
                filing, document, reviewed = await _look(tx, filing_id)
                order = events.sheets_wanted(document.bucket, document.key, document.version_id, document.size_bytes)
                await tx.announce([order])
            return WholeFiling(filing, None, reviewed)
        said = msgspec.json.decode(told, type=SheetsRead)
    sheets = [*said.sheets, *(Sheet() for _ in range(filing.pages - len(said.sheets)))][: filing.pages]
    # a thousand sheets take a second, in which others are served
    found = await asyncio.to_thread(title_blocks.propose, sheets, file_name=document.name)
    return WholeFiling(filing, [_completed(each, filing) for each in found], reviewed, said.reason)


async def review_sheets(
    db: Database, *, caller: Caller, filing_id: UUID, version: int | None, reviews: Sequence[SheetReview]
) -> WholeFiling:
    """Keep what a person says of some pages of a filing that is still at `version`.

    Raises Problem not_found, not_allowed, changed_meanwhile, invalid, or sheet_published for a page that was published.
    """
    said = [_spelled(review) for review in reviews]
    async with db.transaction(caller.scope) as tx:
        filing = await _lock(tx, filing_id)
        if version not in (None, filing.version):
            raise Problem("changed_meanwhile")
        pages = {each.page for each in said}
        if len(pages) < len(said) or not all(page <= filing.pages for page in pages):
            raise Problem("invalid", f"sheets must name pages 1 to {filing.pages}, each once")
        _refuse_published(await store.sheets(tx, filing_id), pages)
        if said:
            await store.review(tx, filing, said)
            await store.bump(tx, filing_id)
        filing, _, reviewed = await _look(tx, filing_id)
    return WholeFiling(filing, None, reviewed)


async def publish_sheets(
    db: Database,
    *,
    caller: Caller,
    filing_id: UUID,
    pages: Collection[int] | None,
    people: Collection[UUID],
    now: datetime,
) -> list[Revision]:
    """Publish reviewed pages as revisions, all or none, and announce them; None: all that aren't skipped. Published
    ones stay as they are, so the same again gives the same.

    Raises Problem not_found, not_allowed, reference_unknown for people who aren't the project's, sheets_unreviewed, or
    revision_filed where a drawing has a revision of this number, set and dates already.
    """
    async with db.transaction(caller.scope) as tx:
        filing = await _lock(tx, filing_id)
        await projects.check_references(tx, filing.project_id, people=people)
        wanted = _publishable(filing, await store.sheets(tx, filing_id), pages)
        if new := [sheet for sheet in wanted if sheet.revision_id is None]:
            made = await _publish(tx, filing, new, now=now)
            await store.published(tx, filing_id, [(each.page, each.revision_id) for each in made.values()])
            await store.bump(tx, filing_id)
            news = [
                PublishedRevision(each.drawing_id, each.revision_id, sheet.number, each.revision_number, each.current)
                for sheet, each in ((sheet, made[sheet.page]) for sheet in new)
            ]
            told = DrawingsPublished(
                filing.project_id, filing.document_id, filing.set_id, tx.person_id, news, sorted(people)
            )
            await tx.announce([events.drawings_published(told)])
        else:
            made = dict[int, Revision]()
        before = [sheet.revision_id for sheet in wanted if sheet.revision_id is not None]
        known = await drawing_store.revisions_by_id(tx, before)
    return sorted([*made.values(), *known], key=lambda each: each.page)


async def discard_filing(db: Database, *, caller: Caller, filing_id: UUID) -> None:
    """Forget a filing; the file stays. Raises Problem not_found, not_allowed, or sheet_published if a part is out."""
    async with db.transaction(caller.scope) as tx:
        filing = await _lock(tx, filing_id)
        _refuse_published(await store.sheets(tx, filing_id), range(1, filing.pages + 1))
        await store.discard(tx, filing_id)


async def _publish(
    tx: Transaction, filing: Filing, sheets: Sequence[ReviewedSheet], *, now: datetime
) -> dict[int, Revision]:
    """Add revisions to drawings, which are locked from here on, and find out which ones are current; by page."""
    new = [(new_id(), each.number, each.title, each.discipline) for each in sheets]
    await drawing_store.add(tx, filing.project_id, filing.area_id, new)
    locked = await drawing_store.lock(
        tx, filing.project_id, filing.area_id, [rules.plain(each.number) for each in sheets]
    )
    drawings = {known.plain_number: known for known in locked}
    existing = await drawing_store.revisions(tx, [known.drawing_id for known in locked])
    made = {
        each.page: _revision(filing, each, drawings[rules.plain(each.number)], tx.person_id, now) for each in sheets
    }
    _refuse_filed(existing, list(made.values()))
    await drawing_store.add_revisions(tx, list(made.values()))
    return await _settle(tx, locked, existing, sheets, made)


async def _settle(
    tx: Transaction,
    locked: Sequence[Known],
    existing: Sequence[Revision],
    sheets: Sequence[ReviewedSheet],
    made: dict[int, Revision],
) -> dict[int, Revision]:
    """Let the most recent revision of each drawing be the current one, and the drawing be called as it says."""
    before = {each.drawing_id: each.revision_id for each in existing if each.current}
    issues: dict[UUID, list[tuple[UUID, rules.Issue]]] = {known.drawing_id: [] for known in locked}
    for each in (*existing, *made.values()):
        issues[each.drawing_id].append((each.revision_id, each.issue))
    current = {drawing_id: rules.newest(each) for drawing_id, each in issues.items()}
    await drawing_store.make_current(tx, list(current), list(current.values()))
    obsolete = {known.drawing_id: known.obsolete for known in locked}
    renewed = [
        (
            revision.drawing_id,
            sheet.number,
            sheet.title,
            sheet.discipline,
            rules.is_obsolete(
                obsolete[revision.drawing_id],
                before=before.get(revision.drawing_id),
                current=revision.revision_id,
            ),
        )
        for sheet, revision in ((sheet, made[sheet.page]) for sheet in sheets)
        if current[revision.drawing_id] == revision.revision_id
    ]
    if renewed:
        await drawing_store.bring_back(tx, renewed)
    return {
        page: msgspec.structs.replace(each, current=current[each.drawing_id] == each.revision_id)
        for page, each in made.items()
    }


def _revision(filing: Filing, sheet: ReviewedSheet, drawing: Known, person_id: UUID, now: datetime) -> Revision:
    return Revision(
        revision_id=new_id(),
        project_id=filing.project_id,
        drawing_id=drawing.drawing_id,
        revision_number=sheet.revision_number,
        drawing_date=sheet.drawing_date,
        received_date=filing.received_date,
        set_id=filing.set_id,
        title=sheet.title,
        document_id=filing.document_id,
        page=sheet.page,
        current=False,
        published_by=person_id,
        published_at=now,
    )


def _publishable(
    filing: Filing, reviewed: Sequence[ReviewedSheet], pages: Collection[int] | None
) -> list[ReviewedSheet]:
    """The pages that were asked for, or all but the skipped ones. Raises Problem sheets_unreviewed."""
    by_page = {each.page: each for each in reviewed}
    asked = sorted(pages) if pages is not None else range(1, filing.pages + 1)
    wrong = [page for page in asked if page not in by_page or (pages is not None and by_page[page].skipped)]
    if wrong:
        raise Problem("sheets_unreviewed", pages=wrong)
    return [by_page[page] for page in asked if not by_page[page].skipped]


def _refuse_filed(existing: Sequence[Revision], made: Sequence[Revision]) -> None:
    """Raises Problem revision_filed for pages that a drawing has already, be it from this very filing."""
    seen = {(each.drawing_id, each.issue) for each in existing}
    twice = list[int]()
    for each in made:
        if (each.drawing_id, each.issue) in seen:
            twice.append(each.page)
        seen.add((each.drawing_id, each.issue))
    if twice:
        raise Problem("revision_filed", pages=twice)


def _refuse_published(sheets: Sequence[ReviewedSheet], pages: Collection[int]) -> None:
    if out := [each.page for each in sheets if each.revision_id is not None and each.page in pages]:
        raise Problem("sheet_published", pages=out)


async def _look(tx: Transaction, filing_id: UUID) -> tuple[Filing, Document, dict[int, ReviewedSheet]]:
    filing = await store.by_id(tx, filing_id)
    document = None if filing is None else await document_store.by_id(tx, filing.document_id)
    if filing is None or document is None:
        raise Problem("not_found")
    identity.permit(tx, "drawings", "standard")
    return filing, document, {each.page: each for each in await store.sheets(tx, filing_id)}


async def _lock(tx: Transaction, filing_id: UUID) -> Filing:
    filing = await store.lock(tx, filing_id)
    if filing is None or await document_store.by_id(tx, filing.document_id) is None:  # it was locked away
        raise Problem("not_found")
    identity.permit(tx, "drawings", "standard")
    return filing


def _is_same(filing: Filing, there: Filing, wanted: NewFiling) -> bool:
    """Whether a filing that is there is the one that is wanted now; what the server added doesn't count."""
    received = there.received_date if wanted.received_date is None else wanted.received_date
    return there == msgspec.structs.replace(
        filing, received_date=received, version=there.version, created_at=there.created_at
    )


def _completed(proposal: Proposal, filing: Filing) -> Proposal:
    """A proposal with what holds for the whole filing where the sheet doesn't say."""
    return msgspec.structs.replace(
        proposal,
        revision_number=proposal.revision_number or filing.revision_number or None,
        drawing_date=proposal.drawing_date or filing.drawing_date,
    )


def _spelled(review: SheetReview) -> ReviewedSheet:
    """A review in its one spelling. Raises Problem invalid for a drawing without number or title."""
    number, title = rules.spelled(review.number), rules.spelled(review.title)
    if not review.skipped and not (number and title):
        raise Problem("invalid", f"page {review.page} needs a number and a title, or to be skipped")
    return ReviewedSheet(
        page=review.page,
        number=number,
        title=title,
        discipline=review.discipline,
        revision_number=rules.revision_spelled(review.revision_number),
        drawing_date=review.drawing_date,
        skipped=review.skipped,
    )
