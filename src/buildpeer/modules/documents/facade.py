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
    """A document that something refers to: its name, its bytes' hash, when and where it was taken, its pictures."""

    document_id: UUID
    name: str
    sha256: bytes
    captured_at: datetime | None
    latitude: float | None
    longitude: float | None
    location_id: UUID | None
    thumbnail: Rendition | None
    preview: Rendition | None


async def described(tx: Transaction, document_ids: Collection[UUID]) -> list[Described]:
    """Those of these documents that are still there, and that the caller may see."""
    return await store.described(tx, document_ids, Described) if document_ids else []


async def of_report(tx: Transaction, report_id: UUID) -> list[Described]:
    """The photos of a progress report that the caller may read, as far as they are still there.

    It is the one door by which an investor sees a file: the database looks whether the report is theirs to read.
    """
    return await store.of_report(tx, report_id, Described)


async def check_attachable(tx: Transaction, project_id: UUID, document_ids: Collection[UUID]) -> None:
    """See to it that something of a project refers only to documents of that project which the caller may see.

    A foreign key on (tenant_id, project_id, document_id) keeps it so. Raises Problem reference_unknown, whose `field`
    is `document_id`, where one is not there, was locked away, or is not theirs to see.
    """
    if document_ids and await store.misses(tx, project_id, document_ids):
        raise Problem("reference_unknown", field="document_id")
