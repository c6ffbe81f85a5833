"""Doors for uploads: parse, one service call, shape."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.uploads import rules, service
from buildpeer.modules.uploads.rules import Kind, NewUpload, State, Upload
from buildpeer.modules.uploads.service import Opened, PartUrl
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
    """How a file over 8 MiB travels: `count` parts of `size` bytes, the last one shorter, and those that have arrived
    (null where nobody looked: only the answer for one upload asks S3).
    """

    size: int
    count: int
    received: list[int] | None = None


class UploadView(msgspec.Struct, kw_only=True):
    """An upload as clients see it; `verified`: the SHA-256 of what S3 holds was computed, and is the declared one."""

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
    parts: Parts | None


class ItemProblem(msgspec.Struct):
    """What is wrong with one item of a batch."""

    code: str
    status: int
    title: str
    detail: str


class Result(msgspec.Struct):
    """What one item of a batch came to: opened, known, conflict or rejected."""

    upload_id: UUID | None
    verdict: str
    upload: UploadView | None = None
    put: SignedUrl | None = None
    problem: ItemProblem | None = None


class Results(msgspec.Struct):
    """One result for each item, in the order asked."""

    results: list[Result]


class Batch(msgspec.Struct):
    """Files to send; each item is a NewUpload and is judged for itself."""

    uploads: list[dict[str, Any]]


class WantedUrls(msgspec.Struct):
    """Which parts to send; none for a file that travels whole."""

    parts: list[int] = []


class WriteUrls(msgspec.Struct):
    """Where to send an upload's bytes: the whole, or each part that was asked for."""

    put: SignedUrl | None = None
    parts: list[PartUrl] = []


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
        language: LanguageDep,
    ) -> Results:
        """Open uploads in one transaction, each with its own verdict, idempotent by `upload_id`."""
        if not data.uploads:
            raise Problem("batch_empty")
        if len(data.uploads) > rules.MAX_BATCH:
            raise Problem("batch_too_large", count=len(data.uploads), limit=rules.MAX_BATCH)
        parsed = [_parse(item) for item in data.uploads]
        opened = await service.open_uploads(
            db,
            storage,
            caller=caller,
            project_id=project_id,
            bucket=settings.uploads_bucket,
            wanted=[item for item in parsed if isinstance(item, NewUpload)],
        )
        answers = iter(opened)
        return Results([_result(next(answers), language) if isinstance(item, NewUpload) else item for item in parsed])

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
        """Write URLs for one's own upload that still awaits bytes: for the whole file, or for up to 64 parts of it."""
        if data is None or not data.parts:
            return WriteUrls(put=await service.sign_whole(db, storage, caller=caller, upload_id=upload_id))
        signed = await service.sign_parts(db, storage, caller=caller, upload_id=upload_id, numbers=data.parts, now=now)
        return WriteUrls(parts=signed)

    @post("/uploads/{upload_id:uuid}/completion", status_code=200, summary="Complete a file that came in parts")
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
        """Join the parts once all have arrived; 409 upload_incomplete names the `missing_parts`."""
        completed = await service.complete(db, storage, caller=caller, upload_id=upload_id, now=now)
        return view(completed, language)

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
        return view(await service.cancel(db, storage, caller=caller, upload_id=upload_id, now=now), language)

    @get("/uploads/{upload_id:uuid}", summary="One upload")
    async def get_upload(
        self, upload_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, storage: StorageDep, language: LanguageDep
    ) -> UploadView:
        """The state of an upload, and which of its parts have arrived."""
        upload = await service.get_upload(db, caller=caller, upload_id=upload_id)
        return view(upload, language, await service.received(storage, upload))

    @get("/uploads", summary="List uploads")
    async def list_uploads(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
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
        views = [view(upload, language) for upload in found]
        return page(views, limit, lambda v: [v.created_at, v.upload_id])


def view(upload: Upload, language: str, received: list[int] | None = None) -> UploadView:
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
        verified=upload.derived is not None and upload.derived.sha256 == upload.sha256.hex(),
        document_id=upload.upload_id if upload.state == "ready" else None,
        parts=Parts(rules.PART_SIZE, count, received) if (count := rules.part_count(upload.size_bytes)) > 1 else None,
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


def _result(opened: Opened, language: str) -> Result:
    return Result(
        upload_id=opened.upload_id,
        verdict=opened.verdict,
        upload=view(opened.upload, language) if opened.upload else None,
        put=opened.put,
        problem=_item_problem(opened.problem, language) if opened.problem else None,
    )


def _item_problem(problem: Problem, language: str) -> ItemProblem:
    return ItemProblem(problem.code, problem.kind.status, problem.kind.title, problem.detail(language))
