"""Share links: one version of a document, for whoever has the link, for a while."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from buildpeer.modules.documents import rules
from buildpeer.modules.documents.service.documents import found
from buildpeer.modules.documents.store import documents
from buildpeer.modules.documents.store import sharing as store
from buildpeer.modules.documents.store.sharing import Shared, ShareLink
from buildpeer.modules.identity import facade as identity
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7
from buildpeer.platform.storage import SignedUrl, Storage


class NewShareLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link to make; `link_id` is a UUIDv7 of the client's making, `note` says whom it is for."""

    link_id: UUID
    expires_at: datetime
    most_views: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


class MadeLink(msgspec.Struct, frozen=True):
    """A link just made; `url` is shown this once, since only a hash of what opens it is kept."""

    link: ShareLink
    url: str


async def share(
    db: Database, *, caller: Caller, document_id: UUID, wanted: NewShareLink, web_url: str, now: datetime
) -> MadeLink:
    """Make a link to this very version of a document.

    Raises Problem not_found, not_allowed, id_invalid, invalid or id_taken, also for the same call again: its URL was
    shown once, and can't be shown twice.
    """
    if not is_uuid7(wanted.link_id):
        raise Problem("id_invalid")
    rules.check_link(lives=wanted.expires_at - now)
    token = secrets.token_urlsafe(16)  # 128 bits
    async with db.transaction(caller.scope) as tx:
        document = found(await documents.by_id(tx, document_id))
        identity.permit(tx, "shares", "standard")
        made = await store.add(
            tx,
            wanted.link_id,
            document_id=document_id,
            project_id=document.project_id,
            note=wanted.note,
            expires_at=wanted.expires_at,
            most_views=wanted.most_views,
            token_hash=_hashed(token),
            at=now,
        )
    if made is None:
        raise Problem("id_taken")
    return MadeLink(made, f"{web_url}/shared#{token}")


async def list_links(
    db: Database, *, caller: Caller, document_id: UUID | None, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[ShareLink]:
    """The caller's links, the newest first; owners and managers see everybody's. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "shares", "read")
        return await store.page(tx, document_id=document_id, after=after, limit=limit)


async def revoke(db: Database, *, caller: Caller, link_id: UUID, now: datetime) -> ShareLink:
    """End a link at once; a URL that it gave before lives out its minute. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "shares", "standard")
        ended = await store.revoke(tx, link_id, at=now)
    if ended is None:
        raise Problem("not_found")
    return ended


async def look_at_shared(db: Database, *, token: str, now: datetime) -> Shared:
    """What a link opens, which counts as no view. Raises Problem link_expired, whatever the reason."""
    async with db.across_tenants() as tx:
        shared = await store.opened(tx, _hashed(token), at=now)
    if shared is None:
        raise Problem("link_expired")
    return shared


async def download_shared(db: Database, storage: Storage, *, token: str, request_id: str, now: datetime) -> SignedUrl:
    """A read URL of 60 seconds for what a link opens, always an attachment: a view, of which the trail tells.

    Raises Problem link_expired, whatever the reason: also where others, at the same time, took the last view.
    """
    async with db.across_tenants(request_id) as tx:
        shared = await store.opened(tx, _hashed(token), at=now)
        if shared is None or not await store.view(tx, _hashed(token), at=now):
            raise Problem("link_expired")
    return storage.sign_read(
        bucket=shared.bucket,
        key=shared.key,
        version_id=shared.version_id,
        filename=shared.name,
        content_type=shared.content_type,
        lifetime=rules.SHARED_READ_LIFE,
    )


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
