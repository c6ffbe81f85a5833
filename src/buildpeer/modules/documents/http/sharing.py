"""Doors for share links: of the people who share, and of whoever has a link."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.documents import rules, service
from buildpeer.modules.documents.service import MadeLink, NewShareLink
from buildpeer.modules.documents.store.sharing import ShareLink
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    Limit,
    NowDep,
    Page,
    SettingsDep,
    StorageDep,
    ThrottleDep,
    address,
    page,
    read_cursor,
    request_id,
    used_with,
)
from buildpeer.platform.storage import SignedUrl


class LinkToken(msgspec.Struct):
    """What stands in a link after the #."""

    token: Annotated[str, msgspec.Meta(max_length=100)]


class SharedView(msgspec.Struct, kw_only=True):
    """What a link opens: `tenant` is the company that shares it; `views_left` null: as many as there come."""

    tenant: str
    name: str
    size_bytes: int
    content_type: str
    expires_at: datetime
    views_left: int | None


class ShareLinksController(Controller):
    """Links that open a document to people without an account."""

    path = "/v1"
    tags = ("documents",)
    opt = used_with("shares")

    @post("/documents/{document_id:uuid}/share-links", summary="Share a document")
    async def share(
        self,
        *,
        document_id: FromPath[UUID],
        data: JSONBody[NewShareLink],
        caller: CallerDep,
        db: DatabaseDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> MadeLink:
        """A link to this version of a document, for at most 365 days. Its URL is told this once."""
        return await service.share(
            db, caller=caller, document_id=document_id, wanted=data, web_url=settings.web_url, now=now
        )

    @get("/share-links", summary="List share links")
    async def list_links(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        document_id: Annotated[UUID | None, QueryParameter(name="document_id", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ShareLink]:
        """The caller's links, the newest first; owners and managers see everybody's."""
        after = read_cursor(cursor, tuple[datetime, UUID])
        found = await service.list_links(db, caller=caller, document_id=document_id, after=after, limit=limit + 1)
        return page(list(found), limit, lambda link: [link.created_at, link.link_id])

    @post("/share-links/{link_id:uuid}/revocation", summary="End a share link", status_code=200)
    async def revoke(self, link_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep) -> ShareLink:
        """It opens nothing from now on; a URL that it gave before lives out its minute."""
        return await service.revoke(db, caller=caller, link_id=link_id, now=now)


class SharedController(Controller):
    """What whoever has a link may do; without any account."""

    path = "/v1/shared"
    tags = ("documents",)

    @post("/opening", summary="Look at what a link opens", status_code=200, security=[])
    async def look(
        self,
        *,
        request: Request[Any, Any, Any],
        data: JSONBody[LinkToken],
        db: DatabaseDep,
        throttle: ThrottleDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> SharedView:
        """Name, size and type of the file, which counts as no view: chats look at links before people do."""
        await throttle.take(rules.OPENINGS_BY_ADDRESS, address(request, settings))
        shared = await service.look_at_shared(db, token=data.token, now=now)
        return SharedView(
            tenant=shared.tenant,
            name=shared.name,
            size_bytes=shared.size_bytes,
            content_type=shared.content_type,
            expires_at=shared.expires_at,
            views_left=shared.views_left,
        )

    @post("/downloads", summary="A read URL by a link", security=[])
    async def download(
        self,
        *,
        request: Request[Any, Any, Any],
        data: JSONBody[LinkToken],
        db: DatabaseDep,
        storage: StorageDep,
        throttle: ThrottleDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> SignedUrl:
        """A URL for the file, always an attachment, good for 60 seconds. It counts as a view."""
        await throttle.take(rules.OPENINGS_BY_ADDRESS, address(request, settings))
        return await service.download_shared(db, storage, token=data.token, request_id=request_id(request), now=now)
