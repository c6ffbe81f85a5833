"""Doors for uploads: parse, one service call, shape."""

from collections.abc import Sequence, Sized
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer import layout
from buildpeer.layout import CELL, MOST_CELLS, Range
from buildpeer.modules.uploads import rules, service
from buildpeer.modules.uploads.rules import Kind, NewUpload, State, Upload
from buildpeer.modules.uploads.service import ChunkUrl, Claim, Judged, OnLinked, Opened, PartUrl
from buildpeer.platform.errors import Problem
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    SettingsDep,
    StorageDep,
    page,
    read_cursor,
    used_with,
)
from buildpeer.platform.messages import reason_text
from buildpeer.platform.storage import SignedUrl


class Parts(msgspec.Struct):
    """How a file over 8 MiB is cut: `count` parts of `size` bytes, the last one shorter."""

    size: int
    count: int


class UploadView(msgspec.Struct, kw_only=True):
    """An upload as clients see it; `verified`: the SHA-256 of what S3 holds was computed, and is the declared one.

    `received`: what has arrived and is never sent again (null where nobody looked: only the answer for one upload asks
    S3). `sent_bytes` is what its sender says; `stalled_since`: nothing was heard of it since then, for a minute or
    more.
    """

    upload_id: UUID
    project_id: UUID
    kind: Kind
    name: str
    size_bytes: int
    content_type: str
    sha256: str
    state: State
    reason: str | None
    reason_text: str | None
    lane: str
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    verified: bool
    document_id: UUID | None
    sent_bytes: int
    stalled_since: datetime | None
    parts: Parts | None
    received: list[Range] | None


class ItemProblem(msgspec.Struct):
    """What is wrong with one item of a batch."""

    code: str
    status: int
    title: str
    detail: str


class Result(msgspec.Struct):
    """What one item of a batch came to: opened, known, duplicate, conflict or rejected."""

    upload_id: UUID | None
    verdict: str
    upload: UploadView | None = None
    put: SignedUrl | None = None
    chunks: Sequence[ChunkUrl] = ()
    problem: ItemProblem | None = None


class Results(msgspec.Struct):
    """One result for each item, in the order asked."""

    results: list[Result]


class Batch(msgspec.Struct):
    """Files to send; each item is a NewUpload and is judged for itself.

    `chunk_length` in bytes: also sign the first chunks, of so many bytes each, of files longer than one.
    """

    uploads: list[dict[str, Any]]
    chunk_length: Annotated[int, msgspec.Meta(ge=CELL, le=MOST_CELLS * CELL, multiple_of=CELL)] | None = None


class WantedUrls(msgspec.Struct):
    """Which parts and chunks to send; none for a file that travels whole."""

    parts: list[int] = []
    chunks: list[Range] = []


class WriteUrls(msgspec.Struct):
    """Where to send an upload's bytes: the whole, or each part and chunk that was asked for."""

    put: SignedUrl | None = None
    parts: list[PartUrl] = []
    chunks: list[ChunkUrl] = []


class ClaimedFile(msgspec.Struct):
    """A file that a phone believes to have sent; `sha256` in hex."""

    upload_id: UUID
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct):
    """1 to 2,000 files that a phone believes to have sent."""

    files: list[ClaimedFile]


class JudgedManifest(msgspec.Struct):
    """What we hold of each file, in the order asked, and how many of them are safe."""

    files: list[Judged]
    safe: int
    total: int


class SentFile(msgspec.Struct):
    """How much of a file has been sent."""

    upload_id: UUID
    sent_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Progress(msgspec.Struct):
    """How far 1 to 200 uploads are."""

    uploads: list[SentFile]


class UploadsController(Controller):
    """Opening uploads and following what becomes of them."""

    path = "/v1"
    tags = ("uploads",)
    opt = used_with("files")

    @post(
        "/projects/{project_id:uuid}/uploads",
        status_code=200,
        summary="Open 1 to 1,000 uploads",
        request_max_body_size=4 * 1024 * 1024,
    )
    async def open_uploads(
        self,
        *,
        project_id: FromPath[UUID],
        data: JSONBody[Batch],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        settings: SettingsDep,
        on_linked: NamedDependency[OnLinked],
        now: NowDep,
        language: LanguageDep,
    ) -> Results:
        """Open uploads in one transaction, each with its own verdict, idempotent by `upload_id`."""
        _check_count(data.uploads, rules.MAX_BATCH)
        parsed = [_parse(item) for item in data.uploads]
        opened = await service.open_uploads(
            db,
            storage,
            caller=caller,
            project_id=project_id,
            bucket=settings.uploads_bucket,
            wanted=[item for item in parsed if isinstance(item, NewUpload)],
            on_linked=on_linked,
            now=now,
            chunk_length=data.chunk_length or 0,
        )
        answers = iter(opened)
        return Results(
            [_result(next(answers), language, now) if isinstance(item, NewUpload) else item for item in parsed]
        )

    @post("/manifests", status_code=200, summary="Which files are in safe keeping")
    async def judge_manifest(self, data: JSONBody[Manifest], caller: CallerDep, db: DatabaseDep) -> JudgedManifest:
        """Judge up to 2,000 of one's own files: `safe` is what we hashed ourselves, and is what was sent."""
        _check_count(data.files, rules.MAX_MANIFEST)
        claims = [Claim(file.upload_id, bytes.fromhex(file.sha256)) for file in data.files]
        judged = await service.judge_manifest(db, caller=caller, claims=claims)
        return JudgedManifest(judged, sum(file.verdict == "safe" for file in judged), len(judged))

    @post("/progress", status_code=204, summary="How far files are")
    async def note_progress(self, data: JSONBody[Progress], caller: CallerDep, db: DatabaseDep, now: NowDep) -> None:
        """Say how much of up to 200 of one's own files has been sent, for people to see; it binds nobody."""
        _check_count(data.uploads, rules.MAX_PROGRESS)
        sent = [(file.upload_id, file.sent_bytes) for file in data.uploads]
        await service.note_progress(db, caller=caller, sent=sent, now=now)

    @post("/uploads/{upload_id:uuid}/urls", status_code=200, summary="Fresh write URLs")
    async def sign_urls(
        self,
        *,
        upload_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        now: NowDep,
        data: JSONBody[WantedUrls | None] = None,
    ) -> WriteUrls:
        """Write URLs for one's own upload that still awaits bytes: for the whole file, or for up to 64 pieces of it."""
        if data is None or not (data.parts or data.chunks):
            return WriteUrls(put=await service.sign_whole(db, storage, caller=caller, upload_id=upload_id, now=now))
        parts, chunks = await service.sign_pieces(
            db, storage, caller=caller, upload_id=upload_id, parts=data.parts, chunks=data.chunks, now=now
        )
        return WriteUrls(parts=parts, chunks=chunks)

    @post("/uploads/{upload_id:uuid}/completion", status_code=200, summary="Complete a file that came in pieces")
    async def complete(
        self,
        *,
        upload_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        now: NowDep,
        language: LanguageDep,
    ) -> UploadView:
        """Make the whole once every byte has arrived; 409 upload_incomplete names the `missing` ranges."""
        completed = await service.complete(db, storage, caller=caller, upload_id=upload_id, now=now)
        return view(completed, language, now)

    @post("/uploads/{upload_id:uuid}/cancellation", status_code=200, summary="Cancel an upload")
    async def cancel(
        self,
        *,
        upload_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        now: NowDep,
        language: LanguageDep,
    ) -> UploadView:
        """Cancel one's own upload while it still awaits bytes."""
        return view(await service.cancel(db, storage, caller=caller, upload_id=upload_id, now=now), language, now)

    @get("/storage", summary="What the company's files weigh")
    async def get_storage(self, caller: CallerDep, db: DatabaseDep) -> rules.Storage:
        """Bytes of the company's files, those on their way included, and how many it may have."""
        return await service.storage_of(db, caller=caller)

    @get("/uploads/{upload_id:uuid}", summary="One upload")
    async def get_upload(
        self,
        *,
        upload_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        now: NowDep,
        language: LanguageDep,
    ) -> UploadView:
        """The state of an upload, and which of its bytes have arrived."""
        upload = await service.get_upload(db, caller=caller, upload_id=upload_id)
        return view(upload, language, now, await service.received(storage, upload))

    @get("/uploads", summary="List uploads")
    async def list_uploads(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        language: LanguageDep,
        project_id: Annotated[UUID | None, QueryParameter(name="project_id", required=False)] = None,
        upload_state: Annotated[State | None, QueryParameter(name="state", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[UploadView]:
        """Uploads that the caller may see, newest first."""
        found = await service.list_uploads(
            db,
            caller=caller,
            project_id=project_id,
            state=upload_state,
            after=read_cursor(cursor, tuple[datetime, UUID]),
            limit=limit + 1,
        )
        views = [view(upload, language, now) for upload in found]
        return page(views, limit, lambda v: [v.created_at, v.upload_id])


def view(upload: Upload, language: str, now: datetime, received: list[Range] | None = None) -> UploadView:
    """An upload in the words and the language of the caller."""
    return UploadView(
        upload_id=upload.upload_id,
        project_id=upload.project_id,
        kind=upload.kind,
        name=upload.name,
        size_bytes=upload.size_bytes,
        content_type=upload.content_type,
        sha256=upload.sha256.hex(),
        state=upload.state,
        reason=upload.reason or None,
        reason_text=reason_text(upload.reason, language),
        lane=upload.lane,
        created_by=upload.created_by,
        created_at=upload.created_at,
        updated_at=upload.updated_at,
        verified=upload.verified,
        document_id=upload.document,
        sent_bytes=upload.sent_bytes,
        stalled_since=rules.stalled_since(upload, now=now),
        parts=Parts(layout.PART_SIZE, count) if (count := layout.part_count(upload.size_bytes)) > 1 else None,
        received=received,
    )


def _parse(item: dict[str, Any]) -> NewUpload | Result:
    try:
        return msgspec.convert(item, NewUpload)
    except msgspec.ValidationError as exc:
        upload_id = item.get("upload_id")
        known = upload_id if isinstance(upload_id, str) else ""
        return Result(_uuid(known), "rejected", problem=_item_problem(Problem("invalid", str(exc)), "en"))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _check_count(items: Sized, limit: int) -> None:
    if not len(items):
        raise Problem("batch_empty")
    if len(items) > limit:
        raise Problem("batch_too_large", count=len(items), limit=limit)


def _result(opened: Opened, language: str, now: datetime) -> Result:
    return Result(
        upload_id=opened.upload_id,
        verdict=opened.verdict,
        upload=view(opened.upload, language, now) if opened.upload else None,
        put=opened.put,
        chunks=opened.chunks,
        problem=_item_problem(opened.problem, language) if opened.problem else None,
    )


def _item_problem(problem: Problem, language: str) -> ItemProblem:
    return ItemProblem(problem.code, problem.kind.status, problem.kind.title, problem.detail(language))
