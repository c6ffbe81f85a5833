"""What documents announce to people, version 1."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from buildpeer import facts, wiring
from buildpeer.platform.messaging import LOG, Outgoing

ADDED = "document.added"
CHANGED = "documents.changed"
ERASED = "document.erased"
RENEWED = "document.renewed"
RETURNED = "document.returned"
WITHDRAWN = "document.withdrawn"
PUBLISHED = "drawing.published"


class DocumentNews(msgspec.Struct, frozen=True):
    """A document that people may open from now on, or no more."""

    document_id: UUID
    project_id: UUID
    kind: str
    name: str


class DocumentsNews(msgspec.Struct, frozen=True):
    """Documents of a project of which people say something else from now on."""

    project_id: UUID
    document_ids: Sequence[UUID]


def added(news: DocumentNews) -> Outgoing:
    """The announcement of a new document."""
    return Outgoing(LOG, ADDED, {"version": 1, "document": news}, news.project_id)


def changed(news: DocumentsNews) -> Outgoing:
    """The announcement that documents lie elsewhere, are called something else, or have a new version: one for all."""
    return Outgoing(LOG, CHANGED, {"version": 1, "documents": news}, news.project_id)


def erased(news: DocumentNews) -> Outgoing:
    """The announcement that a document is gone."""
    return Outgoing(LOG, ERASED, {"version": 1, "document": news}, news.project_id)


def page_wanted(bucket: str, key: str, version_id: str, size_bytes: int, page: int) -> Outgoing:
    """The order to make a page, which somebody waits for: it never stands behind a kickoff."""
    place = facts.Object(key, size_bytes, version_id=version_id)
    wanted = facts.PageWanted(bucket=facts.Bucket(bucket), object=place, page=page)
    queue = wiring.queue_name(wiring.DERIVE, "live")
    return Outgoing(queue, "page", facts.event(facts.SOURCE_DOCUMENTS, facts.PAGE_WANTED, wanted))


def renewed(news: DocumentNews) -> Outgoing:
    """The announcement of new pictures of a document."""
    return Outgoing(LOG, RENEWED, {"version": 1, "document": news}, news.project_id)


def withdrawn(news: DocumentNews) -> Outgoing:
    """The announcement that a document is locked away: a scanner has found something in it after all."""
    return Outgoing(LOG, WITHDRAWN, {"version": 1, "document": news}, news.project_id)


def returned(news: DocumentNews) -> Outgoing:
    """The announcement that a document which was locked away is back: there was nothing in it."""
    return Outgoing(LOG, RETURNED, {"version": 1, "document": news}, news.project_id)


class PublishedRevision(msgspec.Struct, frozen=True):
    """A revision that people build by from now on if it is `current`, or that was added to the past."""

    drawing_id: UUID
    revision_id: UUID
    number: str
    revision_number: str
    current: bool


class DrawingsPublished(msgspec.Struct, frozen=True):
    """Sheets of one document that were published together; `people` asked to be told, by whoever published."""

    project_id: UUID
    document_id: UUID
    set_id: UUID | None
    published_by: UUID
    revisions: list[PublishedRevision]
    people: list[UUID]


def drawings_published(news: DrawingsPublished) -> Outgoing:
    """The announcement of published drawings; what is only filed is announced to nobody."""
    return Outgoing(LOG, PUBLISHED, {"version": 1, "drawings": news}, news.project_id)


def sheets_wanted(bucket: str, key: str, version_id: str, size_bytes: int) -> Outgoing:
    """The order to read the title blocks of a file's sheets."""
    wanted = facts.SheetsWanted(facts.Bucket(bucket), facts.Object(key, size_bytes, version_id=version_id))
    return _ordered("sheets", facts.SHEETS_WANTED, wanted)


def overlay_wanted(bucket: str, newer: facts.Object, page: int, *, older: facts.Object, older_page: int) -> Outgoing:
    """The order to lay a page over another one."""
    wanted = facts.OverlayWanted(
        bucket=facts.Bucket(bucket), object=newer, page=page, older=older, older_page=older_page
    )
    return _ordered("overlay", facts.OVERLAY_WANTED, wanted)


def _ordered(kind: str, detail_type: str, wanted: facts.SheetsWanted | facts.OverlayWanted) -> Outgoing:
    queue = wiring.queue_name(wiring.DERIVE, "live")
    return Outgoing(queue, kind, facts.event(facts.SOURCE_DOCUMENTS, detail_type, wanted))
