"""SQL of a document's versions: one function, one statement."""

from datetime import datetime
from uuid import UUID

import asyncpg

from buildpeer.modules.documents.events import DocumentNews
from buildpeer.modules.documents.store.documents import COLUMNS, Document
from buildpeer.platform.db import Transaction, records
from buildpeer.platform.errors import Problem

VERSIONS = f"""
select {COLUMNS} from documents where tenant_id = $1 and series_id = $2 order by version_number desc
"""  # noqa: S608
ADD_VERSION = "select app.add_version($1, $2, $3)"
COPY = "select app.copy_document($1, $2)"
ERASE = """
delete from documents where tenant_id = $1 and series_id = $2 returning document_id, project_id, kind, name
"""


async def versions(tx: Transaction, series_id: UUID) -> list[Document]:
    """The versions that the caller may see, the newest first."""
    return records(await tx.all(VERSIONS, tx.tenant_id, series_id), Document)


async def add(tx: Transaction, added: UUID, *, to: UUID, at: datetime) -> bool:
    """Make a document that stands alone the next version of another one; False where that can't be."""
    return await tx.value(ADD_VERSION, added, to, at)


async def copy(tx: Transaction, source: UUID, *, made: UUID) -> bool:
    """Make a document with another one's bytes; False where that isn't in sight, or the id is taken."""
    return await tx.value(COPY, source, made)


async def erase(tx: Transaction, series_id: UUID) -> list[DocumentNews]:
    """Take all versions away that the caller may; the database leaves word to erase their bytes.

    Raises Problem document_filed where published drawings are made of one of them.
    """
    try:
        return records(await tx.all(ERASE, tx.tenant_id, series_id), DocumentNews)
    except asyncpg.ForeignKeyViolationError as exc:
        raise Problem("document_filed") from exc
