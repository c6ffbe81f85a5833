"""Doors for documents."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.facts import Icon, Media
from buildpeer.modules.documents import service
from buildpeer.modules.documents.rules import CapturedFrom, LocatedFrom
from buildpeer.modules.documents.service import RenditionName
from buildpeer.modules.documents.store.documents import Document
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    Page,
    SettingsDep,
    StorageDep,
    ThrottleDep,
    page,
    read_cursor,
    used_with,
)
from buildpeer.platform.messages import reason_text
from buildpeer.platform.storage import SignedUrl

PageState = Literal["ready", "making", "failed"]


class DocumentView(msgspec.Struct, kw_only=True):
    """A document as clients see it; `renditions`: what can be downloaded of it; `icon`: for where there is no picture.

    `captured_at` is from the camera that wrote its zone, from GPS, from the client that sent it, or from the camera's
    clock in the project's zone: the first that there is, and `captured_from` says which. Likewise where it was taken.
    """

    document_id: UUID
    project_id: UUID
    kind: str
    name: str
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


class Wanted(msgspec.Struct):
    """Which rendition to download."""

    rendition: RenditionName = "original"


class PageView(msgspec.Struct, kw_only=True):
    """A page: `ready`, `making` (ask again in a second or two), or `failed`, with a `reason`.

    `tiles` is there when the page holds more than its picture shows: a PMTiles file (version 3, JPEG tiles of 512 px)
    to be read by ranges; `tiles_width` and `tiles_height` are the pixels of its finest level.
    """

    number: int
    state: PageState
    label: str | None
    sheet_size_mm: tuple[int, int] | None
    reason: str | None
    reason_text: str | None
    picture: SignedUrl | None
    width: int | None
    height: int | None
    tiles: SignedUrl | None
    tiles_width: int | None
    tiles_height: int | None
    tiles_size_bytes: int | None


class DocumentsController(Controller):
    """Files that people work with."""

    path = "/v1/documents"
    tags = ("documents",)
    opt = used_with("files")

    @get(summary="List documents")
    async def list_documents(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        project_id: Annotated[UUID | None, QueryParameter(name="project_id", required=False)] = None,
        q: Annotated[str | None, QueryParameter(name="q", required=False, max_length=200)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DocumentView]:
        """Documents that the caller may see, newest first; with `q`, those whose name or text has all of its words."""
        found = await service.list_documents(
            db,
            caller=caller,
            project_id=project_id,
            words=q,
            after=read_cursor(cursor, tuple[datetime, UUID]),
            limit=limit + 1,
        )
        return page([_view(d, language) for d in found], limit, lambda d: [d.created_at, d.document_id])

    @get("/{document_id:uuid}", summary="One document")
    async def get_document(
        self, document_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, language: LanguageDep
    ) -> DocumentView:
        """A document and what is known of its content."""
        return _view(await service.get_document(db, caller=caller, document_id=document_id), language)

    @get("/{document_id:uuid}/pages/{number:int}", summary="One page")
    async def look_at_page(
        self,
        *,
        document_id: FromPath[UUID],
        number: FromPath[int],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        throttle: ThrottleDep,
        settings: SettingsDep,
        language: LanguageDep,
    ) -> PageView:
        """A page of a PDF, drawing or picture, counted from 1, made when somebody first asks for it."""
        found = await service.look_at(
            db,
            storage,
            throttle,
            derived_bucket=settings.derived_bucket,
            caller=caller,
            document_id=document_id,
            number=number,
        )
        return _page_view(found, language)

    @delete("/{document_id:uuid}", summary="Erase a document", opt=used_with("files", write="admin"))
    async def erase(self, document_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Take a document away for everybody; owners and managers may, and who uploaded it."""
        await service.erase(db, caller=caller, document_id=document_id)

    @post("/{document_id:uuid}/downloads", summary="A read URL")
    async def download(
        self,
        document_id: FromPath[UUID],
        data: JSONBody[Wanted],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
    ) -> SignedUrl:
        """A URL for the original or a picture of it, good for five minutes; the audit trail says who asked."""
        return await service.download(db, storage, caller=caller, document_id=document_id, rendition=data.rendition)


def _view(document: Document, language: str) -> DocumentView:
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
    )


def _page_view(found: service.Page, language: str) -> PageView:
    media, made, place = found.document.media, found.made, found.number - 1
    labels, sheets = media.page_labels or [], media.sheet_sizes_mm or []
    picture, tiles = (made.picture, made.tiles) if made else (None, None)
    return PageView(
        number=found.number,
        state="making" if made is None else "ready" if picture else "failed",
        label=(labels[place] or None) if place < len(labels) else None,
        sheet_size_mm=sheets[place] if place < len(sheets) else None,
        reason=(made.reason or None) if made else None,
        reason_text=reason_text(made.reason, language) if made else None,
        picture=found.picture,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        tiles=found.tiles,
        tiles_width=tiles.width if tiles else None,
        tiles_height=tiles.height if tiles else None,
        tiles_size_bytes=tiles.size if tiles else None,
    )
