"""What other modules may know of uploads: the file that came of one, and those that are locked away."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer.facts import Icon, Media, Rendition, Renewal
from buildpeer.modules.uploads import store
from buildpeer.modules.uploads.rules import State, Upload
from buildpeer.modules.uploads.store import Quarantined
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem


class ReadyFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is clean, verified and processed, bound to one object version.

    `said_captured_at`, `said_latitude` and `said_longitude` are its sender's words, `text` what it is found by.
    `infected`: it was all that, and a scanner has found something in it since. `renews`: it was ready before, and this
    of it is new. `released`: what a scanner had found in it was nothing.
    """

    upload_id: UUID
    project_id: UUID
    created_by: UUID
    kind: str
    name: str
    size_bytes: int
    content_type: str
    sha256: bytes
    bucket: str
    key: str
    version_id: str
    media: Media
    thumbnail: Rendition | None
    preview: Rendition | None
    preview_reason: str
    created_at: datetime
    settled_at: datetime
    icon: Icon = "other"
    text: str = ""
    said_captured_at: datetime | None = None
    said_latitude: float | None = None
    said_longitude: float | None = None
    infected: bool = False
    renews: Renewal | Literal[""] = ""
    released: bool = False


class LinkedFile(msgspec.Struct, frozen=True):
    """A document that was made of an upload whose content was known, when it was opened."""

    document_id: UUID
    project_id: UUID
    kind: str
    name: str


class SentFile(msgspec.Struct, frozen=True):
    """An upload as it stands; `document_id` is where a duplicate's content lies."""

    upload_id: UUID
    project_id: UUID
    state: State
    document_id: UUID | None


async def sent_by_caller(tx: Transaction, upload_ids: Sequence[UUID]) -> dict[UUID, SentFile]:
    """Those of these uploads that the caller opened."""
    return {row["upload_id"]: SentFile(**dict(row)) for row in await store.sent_by(tx, upload_ids)}


class NamedFile(msgspec.Struct, frozen=True):
    """An upload by its name."""

    upload_id: UUID
    name: str


async def sent_to(tx: Transaction, project_id: UUID, upload_ids: Sequence[UUID]) -> list[NamedFile]:
    """Those of these uploads that were sent to the project, in whatever state, if the caller may see them."""
    return [NamedFile(**dict(row)) for row in await store.sent_to(tx, project_id, upload_ids)]


async def list_quarantined(db: Database, *, after: tuple[UUID, UUID] | None, limit: int) -> Sequence[Quarantined]:
    """Files of all tenants that a scanner has locked away, after (tenant, upload)."""
    return await store.quarantined(db, None, after=after, limit=limit)


async def order_release(db: Database, *, tenant_id: UUID, upload_id: UUID, by: str) -> Quarantined:
    """Have a file scanned again and released if it is clean then; the trail of its company says who wanted it.

    The first order that is open stands. Raises Problem not_found for what isn't locked away.
    """
    await store.order_release(db, tenant_id, upload_id, by=by)
    found = await store.quarantined(db, (tenant_id, upload_id), after=None, limit=1)
    if not found:
        raise Problem("not_found", "No such file is locked away")
    return found[0]


def ready_file(upload: Upload, *, renews: Renewal | Literal[""] = "", released: bool = False) -> ReadyFile:
    """The file of an upload that is ready, or was before it had to be locked away; its type is what its content says.

    Raises ValueError for an upload that never was.
    """
    derived = upload.derived
    if upload.state not in ("ready", "quarantined") or derived is None or upload.version_id is None:
        raise ValueError(f"upload {upload.upload_id} is {upload.state}, not ready")
    return ReadyFile(
        upload_id=upload.upload_id,
        project_id=upload.project_id,
        created_by=upload.created_by,
        kind=upload.kind,
        name=upload.name,
        size_bytes=upload.size_bytes,
        content_type=derived.content_type,
        sha256=upload.sha256,
        bucket=upload.bucket,
        key=upload.key,
        version_id=upload.version_id,
        media=derived.media,
        thumbnail=derived.thumbnail,
        preview=derived.preview,
        preview_reason=derived.reason,
        created_at=upload.created_at,
        icon=derived.icon,
        text=upload.text,
        said_captured_at=upload.captured_at,
        said_latitude=upload.latitude,
        said_longitude=upload.longitude,
        settled_at=upload.updated_at,
        infected=upload.state == "quarantined",
        renews=renews,
        released=released,
    )
