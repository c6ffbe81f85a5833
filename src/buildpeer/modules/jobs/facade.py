"""What other modules may ask of jobs: to start one, and what its handler is given."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from buildpeer import layout
from buildpeer.modules.jobs import events, rules, store
from buildpeer.modules.jobs.store import Job, Lent
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7
from buildpeer.platform.messages import IMPORT_REPORT
from buildpeer.platform.sheets import CSV_TYPE, Fault, Table, write_csv
from buildpeer.platform.storage import Storage

TOLD_EVERY_S = 1.0


class JobStarted(msgspec.Struct, frozen=True):
    """A job that was ordered; `GET /v1/jobs/{job_id}` says how it fares."""

    job_id: UUID
    kind: str
    state: rules.State


class JobLost(Exception):  # noqa: N818 - nothing is wrong
    """The job was called off, or another worker has it: whoever works on it stops, and leaves no trace."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job: a file that its orderer may download for a week, and facts that its answer shows.

    `written_bytes`: there is no `file` here, for the handler has written so much at the `bucket` and `key` of its work.
    """

    file: Path | None = None
    written_bytes: int | None = None
    filename: str = ""
    content_type: str = "application/octet-stream"
    summary: Mapping[str, Any] = {}


class Work:
    """A job under way, as its handler sees it.

    `wanted` is what `start` was given, `language` that of whoever ordered it, `folder` an empty place for files. The
    handler does its work in `transaction()`, as the person who ordered it and under their sight and role of today; so
    it asks `identity.permit` again. It may be killed anywhere and is then called once more: each of its transactions
    must be one that may be repeated.
    """

    def __init__(
        self, job: Lent, *, db: Database, people_db: Database, storage: Storage, folder: Path, bucket: str
    ) -> None:
        self.job_id = job.job_id
        self.project_id = job.project_id
        self.kind = job.kind
        self.wanted = job.wanted
        self.language = job.language
        self.storage = storage
        self.folder = folder
        # Each try has a place of its own, so one that was taken for dead writes over nobody's.
        self.bucket, self.key = bucket, layout.job_key(job.tenant_id, job.job_id, job.tries)
        self.tenant_id, self.person_id = job.tenant_id, job.created_by
        self._job, self._db, self._people_db = job, db, people_db
        self._told_at = 0.0

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction of the person who ordered the job. Raises Problem session_ended if its key was revoked."""
        scope = Scope(self.tenant_id, self.person_id, f"job {self.job_id}", key_id=self._job.key_id)
        return self._people_db.transaction(scope)

    async def tell(self, done: int, total: int) -> None:
        """Say how far it is; people see it within a second. Raises JobLost where it need not go on."""
        if time.monotonic() - self._told_at < TOLD_EVERY_S and done < total:
            return
        self._told_at = time.monotonic()
        async with self._db.transaction(Scope(self.tenant_id, None)) as tx:
            if not await store.tell(tx, self._job, done=done, total=total):
                raise JobLost
            await tx.announce([news(self._job, "running", done=done, total=total)])


Mode = Literal["check", "all", "good"]
_FAULTS_SHOWN = 100


class NewImport(msgspec.Struct, frozen=True, kw_only=True):
    """A table to import, as the text of a CSV file. `check` writes nothing and only says what would happen; `all`
    writes nothing if anything is wrong; `good` leaves out lines that are wrong. `job_id` is the client's own UUIDv7.
    """

    job_id: UUID
    csv: Annotated[str, msgspec.Meta(max_length=5_000_000)]
    mode: Mode = "check"


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import: lines that are `created` (or, with `check`, would be), were there already (`known`), or
    are wrong (`bad`); the first hundred faults, and in the job's file all of them.
    """

    mode: Mode
    written: bool
    lines: int
    created: int
    known: int
    bad: int
    faults: list[dict[str, Any]]


def may_write(mode: Mode, faults: Collection[Fault]) -> bool:
    """Whether an import goes on to write, by what its table holds."""
    return mode == "good" or (mode == "all" and not faults)


def import_outcome(work: Work, mode: Mode, table: Table, *, created: int, known: int) -> Outcome:
    """The end of an import whose table had these faults; its file, if there were any, names each by line, column and
    reason, in the language of whoever ordered it.
    """
    told = [(f.line, f.column, f.value, f.text(work.language)) for f in table.faults]
    names = IMPORT_REPORT[work.language]
    summary = Imported(
        mode=mode,
        written=may_write(mode, table.faults),
        lines=table.lines,
        created=created,
        known=known,
        bad=len({fault.line for fault in table.faults}),
        faults=[
            {"line": line, "column": column, "value": value, "code": fault.code, "reason": reason}
            for (line, column, value, reason), fault in zip(told[:_FAULTS_SHOWN], table.faults, strict=False)
        ],
    )
    if not told:
        return Outcome(summary=msgspec.to_builtins(summary))
    file = work.folder / "faults.csv"
    write_csv(file, names["columns"].split("|"), told)
    return Outcome(file=file, filename=names["file"], content_type=CSV_TYPE, summary=msgspec.to_builtins(summary))


Handler = Callable[[Work], Awaitable[Outcome]]
Handlers = Mapping[str, Handler]


async def start(
    tx: Transaction, *, job_id: UUID, kind: str, wanted: Any, language: str, project_id: UUID | None = None
) -> JobStarted:
    """Order a job of a kind that a handler of the worker knows; the caller's rights are to be checked before.

    `job_id` is made by the client: once more with the same content is the same job. `wanted` becomes JSON. Raises
    Problem id_invalid unless it is a UUIDv7, id_taken for another job's, too_many_jobs.
    """
    if not is_uuid7(job_id):
        raise Problem("id_invalid")
    wanted = msgspec.to_builtins(wanted)
    await store.lock(tx)
    known = await store.by_id(tx, job_id)
    if known is None:
        own, everybodys = await store.count_open(tx)
        if own >= rules.OPEN_PER_PERSON or everybodys >= rules.OPEN_PER_TENANT:
            raise Problem("too_many_jobs")
        if not await store.add(tx, job_id, project_id=project_id, kind=kind, wanted=wanted, language=language):
            raise Problem("id_taken")
        return JobStarted(job_id, kind, "queued")
    if (known.kind, known.project_id, known.wanted) != (kind, project_id, wanted):
        raise Problem("id_taken")
    return JobStarted(job_id, kind, known.state)


def news(job: Job | Lent, state: rules.State, *, done: int, total: int, reason: str = "") -> Any:
    """The announcement of how a job stands, to whoever ordered it."""
    told = events.JobNews(job_id=job.job_id, kind=job.kind, state=state, reason=reason or None, done=done, total=total)
    return events.changed(told, project_id=job.project_id, person_id=job.created_by)
