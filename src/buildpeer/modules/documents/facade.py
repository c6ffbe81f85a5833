"""What other modules may ask of documents."""

from collections.abc import Collection
from uuid import UUID

from buildpeer.modules.documents.store import documents as store
from buildpeer.platform.db import Transaction
from buildpeer.platform.errors import Problem


async def check_attachable(tx: Transaction, project_id: UUID, document_ids: Collection[UUID]) -> None:
    """See to it that something of a project refers only to documents of that project which the caller may see.

    A foreign key on (tenant_id, project_id, document_id) keeps it so. Raises Problem reference_unknown, whose `field`
    is `document_id`, where one is not there, was locked away, or is not theirs to see.
    """
    if document_ids and await store.misses(tx, project_id, document_ids):
        raise Problem("reference_unknown", field="document_id")
