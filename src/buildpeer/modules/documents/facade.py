"""What other modules may ask of documents."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.facts import Rendition
from buildpeer.modules.documents.store import documents as store
from buildpeer.platform.db import Transaction
from buildpeer.platform.errors import Problem


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A document that something refers to: its name, the hash of its bytes, when it was taken, its pictures."""

    document_id: UUID
    name: str
    sha256: bytes
    captured_at: datetime | None
    thumbnail: Rendition | None
    preview: Rendition | None


async def described(tx: Transaction, document_ids: Collection[UUID]) -> list[Described]:
    """Those of these documents that are still there, and that the caller may see."""
    return await store.described(tx, document_ids, Described) if document_ids else []


async def check_attachable(tx: Transaction, project_id: UUID, document_ids: Collection[UUID]) -> None:
    """See to it that something of a project refers only to documents of that project which the caller may see.

    A foreign key on (tenant_id, project_id, document_id) keeps it so. Raises Problem reference_unknown, whose `field`
    is `document_id`, where one is not there, was locked away, or is not theirs to see.
    """
    if document_ids and await store.misses(tx, project_id, document_ids):
        raise Problem("reference_unknown", field="document_id")
