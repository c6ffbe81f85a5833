"""The day's count: which files of a phone are in safe keeping, so that it may let go of them."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.uploads import rules, store
from buildpeer.modules.uploads.rules import Judgement, State
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database


class Claim(msgspec.Struct, frozen=True):
    """A file that a phone believes to have sent: under which id, and its SHA-256 as 32 bytes."""

    upload_id: UUID
    sha256: bytes


class Judged(msgspec.Struct, frozen=True):
    """What we hold of a claimed file; `state` is null for what is no upload of the caller's."""

    upload_id: UUID
    verdict: Judgement
    state: State | None


async def judge_manifest(db: Database, *, caller: Caller, claims: Sequence[Claim]) -> list[Judged]:
    """Judge up to MAX_MANIFEST files, in the order asked; whatever isn't the caller's own is `missing`.

    Raises Problem not_found or not_allowed for who may send no files.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "files", "standard")
        own = {upload.upload_id: upload for upload in await store.own(tx, [claim.upload_id for claim in claims])}
    judged: list[Judged] = []
    for claim in claims:
        upload = own.get(claim.upload_id)
        verdict = rules.judge(upload, claim.sha256)
        judged.append(Judged(claim.upload_id, verdict, upload.state if upload else None))
    return judged
