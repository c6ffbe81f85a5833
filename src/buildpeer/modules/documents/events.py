"""What documents announce to people, version 1."""

from uuid import UUID

import msgspec

from buildpeer.platform.messaging import LOG, Outgoing

ADDED = "document.added"
ERASED = "document.erased"
RENEWED = "document.renewed"
WITHDRAWN = "document.withdrawn"


class DocumentNews(msgspec.Struct, frozen=True):
    """A document that people may open from now on, or no more."""

    document_id: UUID
    project_id: UUID
    kind: str
    name: str


def added(news: DocumentNews) -> Outgoing:
    """The announcement of a new document."""
    return Outgoing(LOG, ADDED, {"version": 1, "document": news}, news.project_id)


def erased(news: DocumentNews) -> Outgoing:
    """The announcement that a document is gone."""
    return Outgoing(LOG, ERASED, {"version": 1, "document": news}, news.project_id)


def renewed(news: DocumentNews) -> Outgoing:
    """The announcement of new pictures of a document."""
    return Outgoing(LOG, RENEWED, {"version": 1, "document": news}, news.project_id)


def withdrawn(news: DocumentNews) -> Outgoing:
    """The announcement that a document is locked away: a scanner has found something in it after all."""
    return Outgoing(LOG, WITHDRAWN, {"version": 1, "document": news}, news.project_id)
