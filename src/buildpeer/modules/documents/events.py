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
