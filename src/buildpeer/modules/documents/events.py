"""What documents announce to people, version 1."""

from uuid import UUID

import msgspec

from buildpeer.platform.messaging import LOG, Outgoing

ADDED = "document.added"
ERASED = "document.erased"


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
