"""Doors for documents."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.facts import Media
from buildpeer.modules.documents import service
from buildpeer.modules.documents.service import RenditionName
from buildpeer.modules.documents.store import Document
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    Page,
    StorageDep,
    page,
    read_cursor,
    used_with,
)
from buildpeer.platform.messages import reason_text
from buildpeer.platform.storage import SignedUrl


class DocumentView(msgspec.Struct, kw_only=True):
    """A document as clients see it; `renditions`: what can be downloaded of it."""

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
    created_by: UUID
    created_at: datetime


class Wanted(msgspec.Struct):
    """Which rendition to download."""

    rendition: RenditionName = "original"


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
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DocumentView]:
        """Documents that the caller may see, newest first."""
        found = await service.list_documents(
            db,
            caller=caller,
            project_id=project_id,
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
        created_by=document.created_by,
        created_at=document.created_at,
    )
