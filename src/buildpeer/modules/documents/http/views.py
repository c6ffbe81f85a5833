"""How clients see documents."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.facts import Icon, Media
from buildpeer.modules.documents.rules import CapturedFrom, LocatedFrom
from buildpeer.modules.documents.service import RenditionName
from buildpeer.modules.documents.store.documents import Document
from buildpeer.platform.messages import reason_text


class DocumentView(msgspec.Struct, kw_only=True):
    """A document as clients see it; `renditions`: what can be downloaded of it; `icon`: for where there is no picture.

    `captured_at` is from the camera that wrote its zone, from GPS, from the client that sent it, or from the camera's
    clock in the project's zone: the first that there is, and `captured_from` says which. Likewise where it was taken.
    `version_number` counts the versions of a document from 1; `current` is the one that counts. `version`, also as the
    ETag, counts what people say of it, and goes back in If-Match.
    """

    document_id: UUID
    project_id: UUID
    kind: str
    name: str
    description: str
    tags: list[str]
    folder_id: UUID | None
    album_id: UUID | None
    location_id: UUID | None
    trade_id: UUID | None
    private: bool
    starred: bool
    size_bytes: int
    content_type: str
    sha256: str
    media: Media
    renditions: list[RenditionName]
    preview_reason: str | None
    preview_reason_text: str | None
    icon: Icon
    captured_at: datetime | None
    captured_from: CapturedFrom | None
    latitude: float | None
    longitude: float | None
    located_from: LocatedFrom | None
    created_by: UUID
    created_at: datetime
    archived_at: datetime | None
    version_number: int
    current: bool
    version: int


def view(document: Document, language: str) -> DocumentView:
    """A document for whoever reads this language."""
    renditions: list[RenditionName] = ["original"]
    if document.preview:
        renditions.append("preview")
    if document.thumbnail:
        renditions.append("thumbnail")
    return DocumentView(
        document_id=document.document_id,
        project_id=document.project_id,
        kind=document.kind,
        name=document.name,
        description=document.description,
        tags=document.tags,
        folder_id=document.folder_id,
        album_id=document.album_id,
        location_id=document.location_id,
        trade_id=document.trade_id,
        private=document.private,
        starred=document.starred,
        size_bytes=document.size_bytes,
        content_type=document.content_type,
        sha256=document.sha256.hex(),
        media=document.media,
        renditions=renditions,
        preview_reason=document.preview_reason or None,
        preview_reason_text=reason_text(document.preview_reason, language),
        icon=document.icon,
        captured_at=document.captured_at,
        captured_from=document.captured_from,
        latitude=document.latitude,
        longitude=document.longitude,
        located_from=document.located_from,
        created_by=document.created_by,
        created_at=document.created_at,
        archived_at=document.archived_at,
        version_number=document.version_number,
        current=document.superseded_at is None,
        version=document.version,
    )


def views(documents: Sequence[Document], language: str) -> list[DocumentView]:
    """Documents for whoever reads this language."""
    return [view(document, language) for document in documents]
