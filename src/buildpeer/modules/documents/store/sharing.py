"""SQL of share links: one function, one statement."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.platform.db import FIRST_PAGE, Transaction, record, records


class ShareLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link to one version of a document; `most_views` null: as many as there come."""

    link_id: UUID
    document_id: UUID
    project_id: UUID
    note: str
    created_by: UUID
    created_at: datetime
    expires_at: datetime
    most_views: int | None
    views: int
    revoked_at: datetime | None


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What a token opens; `tenant` is the name of the company that shares it."""

    tenant: str
    name: str
    size_bytes: int
    content_type: str
    bucket: str
    key: str
    version_id: str
    expires_at: datetime
    views_left: int | None


_COLUMNS = """
link_id, document_id, project_id, note, created_by, created_at, expires_at, most_views, views, revoked_at
"""
ADD = f"""
insert into share_links (tenant_id, link_id, project_id, document_id, note, created_by, created_at, expires_at,
  most_views)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing returning {_COLUMNS}
"""  # noqa: S608
ADD_TOKEN = "insert into tokens (token_hash, tenant_id, subject_id) values ($1, $2, $3)"  # noqa: S105 - a statement
PAGE = f"""
select {_COLUMNS} from share_links where tenant_id = $1 and ($5::uuid is null or document_id = $5)
  and (created_at, link_id) < ($2, $3) order by created_at desc, link_id desc limit $4
"""  # noqa: S608
REVOKE = f"""
update share_links set revoked_at = coalesce(revoked_at, $3) where tenant_id = $1 and link_id = $2 returning {_COLUMNS}
"""  # noqa: S608
OPEN = """
select tenant, name, size_bytes, content_type, bucket, key, version_id, expires_at, views_left
from app.shared_document($1, $2)
"""
VIEW = "select app.view_shared($1, $2)"


async def add(
    tx: Transaction,
    link_id: UUID,
    *,
    document_id: UUID,
    project_id: UUID,
    note: str,
    expires_at: datetime,
    most_views: int | None,
    token_hash: bytes,
    at: datetime,
) -> ShareLink | None:
    """Make a link and what opens it; None where the id is taken."""
    row = await tx.one(
        ADD, tx.tenant_id, link_id, project_id, document_id, note, tx.person_id, at, expires_at, most_views
    )
    if row is None:
        return None
    await tx.run(ADD_TOKEN, token_hash, tx.tenant_id, link_id)
    return record(row, ShareLink)


async def page(
    tx: Transaction, *, document_id: UUID | None, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[ShareLink]:
    """Links that the caller may see, the newest first, after a time and id."""
    return records(await tx.all(PAGE, tx.tenant_id, *(after or FIRST_PAGE), limit, document_id), ShareLink)


async def revoke(tx: Transaction, link_id: UUID, *, at: datetime) -> ShareLink | None:
    """End a link; None where the caller may see none such."""
    row = await tx.one(REVOKE, tx.tenant_id, link_id, at)
    return None if row is None else record(row, ShareLink)


async def opened(tx: Transaction, token_hash: bytes, *, at: datetime) -> Shared | None:
    """What a token opens at that time, if anything; the transaction may be anybody's."""
    row = await tx.one(OPEN, token_hash, at)
    return None if row is None else record(row, Shared)


async def view(tx: Transaction, token_hash: bytes, *, at: datetime) -> bool:
    """Count a view, and say so in the trail; False where none is left."""
    return await tx.value(VIEW, token_hash, at)
