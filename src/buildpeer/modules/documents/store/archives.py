"""SQL of what goes into an archive: one function, one statement."""

from collections.abc import Collection, Sequence
from uuid import UUID

import msgspec

from buildpeer.modules.documents.store.documents import COLUMNS, Document
from buildpeer.platform.db import Transaction, records


class Entry(msgspec.Struct, frozen=True):
    """A document, and its path in the archive."""

    document_id: UUID
    path: str
    size_bytes: int = 0


OF_FOLDER = """
with recursive tree as (
  select f.folder_id, f.project_id, f.name || '/' as path, f.ordered_name as place from folders f
  where f.tenant_id = $1 and f.folder_id = $2
  union all
  select f.folder_id, f.project_id, t.path || f.name || '/', t.place || '/' || f.ordered_name
  from tree t join folders f on f.tenant_id = $1 and f.project_id = t.project_id and f.parent_id = t.folder_id
)
select d.document_id, t.path || d.name as path, d.size_bytes
from tree t join documents d on d.tenant_id = $1 and d.project_id = t.project_id and d.folder_id = t.folder_id
where d.superseded_at is null and d.archived_at is null
order by t.place, d.ordered_name, d.document_id limit $3
"""
OF_DOCUMENTS = """
select document_id, name as path, size_bytes from documents
where tenant_id = $1 and project_id = $2 and document_id = any ($3) order by ordered_name, document_id
"""
BY_IDS = f"select {COLUMNS} from documents where tenant_id = $1 and document_id = any ($2)"  # noqa: S608
AUDIT = """
select audit.record('download', 'documents', d.document_id::text, $3, d.project_id) from documents d
where d.tenant_id = $1 and d.document_id = any ($2)
"""


async def of_folder(tx: Transaction, folder_id: UUID, *, limit: int) -> list[Entry]:
    """What lies in a folder, however deep, and the caller may see; paths begin with the folder's name."""
    return records(await tx.all(OF_FOLDER, tx.tenant_id, folder_id, limit), Entry)


async def of_documents(tx: Transaction, project_id: UUID, document_ids: Collection[UUID]) -> list[Entry]:
    """Those of these documents that are the project's and the caller may see, by name."""
    return records(await tx.all(OF_DOCUMENTS, tx.tenant_id, project_id, list(document_ids)), Entry)


async def by_ids(tx: Transaction, document_ids: Sequence[UUID]) -> dict[UUID, Document]:
    """Those of these documents that the caller may see."""
    found: list[Document] = records(await tx.all(BY_IDS, tx.tenant_id, list(document_ids)), Document)
    return {document.document_id: document for document in found}


async def audit(tx: Transaction, document_ids: Sequence[UUID], *, job_id: UUID) -> None:
    """Put the download of documents in an archive into the audit trail."""
    await tx.run(AUDIT, tx.tenant_id, list(document_ids), {"archive": str(job_id)})
