"""A company whose phones send files, and the whole house behind it, under one seed.

What is real: Postgres with its policies and triggers, the services that the api calls, the worker's handlers, relay,
sweeper and eraser, the runner and the functions' handlers. Only S3, SQS and EventBridge are ours (`fakes`).
"""

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from botocore.exceptions import ClientError
from tests.conftest import Company
from tests.simulation.fakes import Cloud
from tests.simulation.scheduler import Crashed, Gated, Pool, Process, Scheduler, Turns, child

from buildpeer import layout, wiring
from buildpeer.entrypoints import worker
from buildpeer.entrypoints.functions import assemble, derive, runner, scan
from buildpeer.entrypoints.functions import aws as functions_aws
from buildpeer.layout import Range
from buildpeer.modules.documents import service as documents
from buildpeer.modules.documents.handlers import on_upload_ready, on_uploads_linked
from buildpeer.modules.notifications import service as notifications
from buildpeer.modules.uploads import service as uploads
from buildpeer.modules.uploads.rules import ENDS, NewUpload
from buildpeer.platform import aws, clock
from buildpeer.platform import db as platform_db
from buildpeer.platform.auth import Caller
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.messaging import Queues
from buildpeer.platform.storage import SignedUrl, Storage

CONNECTIONS = 24  # of each role; as many of a kickoff's phones ask at once
CELL, PART_CELLS = 64, 4
SETTINGS = Settings(aws_endpoint_url="http://aws.fake")
UPLOADS = SETTINGS.uploads_bucket
EICAR = ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS" + "-TEST-FILE!$H+H*").encode()
FUNCTIONS: dict[str, Any] = {"scan": scan, "derive": derive, "assemble": assemble}
RANKS = {state: rank for rank, state in enumerate(("requested", "receiving", "stored", "scanning", "deriving"))}
WEIGHTLESS = ("duplicate", "mismatched", "cancelled", "expired")
STORM_STEPS = 900
FAULTS = (Crashed, ClientError, OSError, asyncpg.PostgresError)  # that nobody answers for; any other is a bug of ours


class Violation(AssertionError):  # noqa: N818 - reads as what it is
    """An invariant does not hold; `name` says which."""

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        super().__init__(f"{name}: {what}")


class Lost(Exception):  # noqa: N818
    """The phone got no answer."""


class File:
    """One file of one phone, and what happens to it."""

    def __init__(self, dice: random.Random, twin: "File | None", fate: str = "") -> None:
        self.dice = random.Random(dice.getrandbits(64))  # its phone's own: two may throw at the same moment
        self.fate = fate or dice.choice(["sent"] * 6 + ["cancelled", "abandoned", "lied", "infected"])
        self.chunked = self.fate in ("lied",) or dice.random() < 0.6
        size = dice.choice([1, CELL, 3 * CELL + 7, PART_CELLS * CELL, 2 * PART_CELLS * CELL + CELL + 5])
        self.content = EICAR if self.fate == "infected" else dice.randbytes(size)
        if twin is not None and self.fate == twin.fate == "sent":
            self.content = twin.content
        self.sends = dice.randbytes(len(self.content)) if self.fate == "lied" else self.content
        value = dice.getrandbits(128) & ~(0xF << 76) | 7 << 76
        self.upload_id = UUID(int=value & ~(0b11 << 62) | 0b10 << 62)
        self.digest = hashlib.sha256(self.content).hexdigest()
        size = len(self.content)
        self.new = NewUpload(self.upload_id, "report", "a.txt", size, "text/plain", self.digest)
        self.states: list[str] = []  # as every reader of the database could see them
        self.told: list[str] = []
        self.bytes_lost = False  # by S3
        self.cancelled = False  # and the phone has heard so
        self.rescanned = False

    @property
    def parts(self) -> int:
        return layout.part_count(len(self.content))


class Function(runner.Worker):
    """The runner's worker, whose child is in this very process."""

    def _invoke(self, queue: wiring.Queue, batch: Any) -> set[str]:
        event = {"Records": [runner._record(queue, message) for message in batch]}
        answer = child(lambda: FUNCTIONS[self._step.function or ""].handler(event, None))
        return {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}


class Places:
    """Where lives are lived, one after the other: connections to a database of their own."""

    admin: asyncpg.Connection
    app: list[asyncpg.Connection]
    working: list[asyncpg.Connection]

    def __init__(self, admin_url: str, app_url: str, worker_url: str) -> None:
        self._urls = admin_url, app_url, worker_url
        self._connections: list[asyncpg.Connection] = []

    async def connect(self) -> None:
        """Open what lives need; whoever is still connected, of a life that was given up, is thrown out first."""
        self.close()
        self.admin = await self._open(self._urls[0], session_replication_role="replica")
        await self.admin.execute(ALONE)
        self.app, self.working = [[await self._open(url) for _ in range(CONNECTIONS)] for url in self._urls[1:]]
        for connection in (*self.app, *self.working):
            await platform_db._codecs(connection)

    def close(self) -> None:
        """Break every connection off."""
        while self._connections:
            self._connections.pop().terminate()

    async def _open(self, url: str, **settings: str) -> asyncpg.Connection:
        # no `lock_timeout`: the scheduler says whose time is up
        settings |= {"timezone": "UTC", "synchronous_commit": "off"}
        self._connections.append(await asyncpg.connect(url, server_settings=settings))
        return self._connections[-1]


class World:
    """Everything that one seed makes."""

    def __init__(self, seed: int, places: Places, company: Company, caller: Caller, *, kickoff: int = 0) -> None:
        """`kickoff`: so many files that are all sent, and everything is killed and wiped half-way."""
        self.dice = random.Random(seed)
        self.places, self.company, self.caller = places, company, caller
        self.began, self.elapsed = datetime.now(UTC), timedelta()
        self.faults = self.dice.choice([0.0, 0.01, 0.03, 0.06])
        self.scheduler = Scheduler(self.dice, places.admin, self.faults)
        self.topology = wiring.topology(uploads_bucket=UPLOADS, verdicts="scan")
        self.queues = {queue.name: queue for queue in self.topology.queues}
        self.cloud = Cloud(self.topology, self.now)
        self.cloud.sqs.mixed = lambda waiting: self.dice.sample(waiting, len(waiting))
        self.db = Database(Pool(self.scheduler, places.app))
        self.worker_db = Database(Pool(self.scheduler, places.working))
        self.files: list[File] = []
        self.kickoff = kickoff
        for _ in range(kickoff or self.dice.choice([1, 2, 2, 3])):
            twin = self.dice.choice(self.files) if self.files and not kickoff and self.dice.random() < 0.15 else None
            self.files.append(File(self.dice, twin, "sent" if kickoff else ""))
        self.scheduler.names = [str(file.upload_id) for file in self.files]
        self.processes: dict[str, Process] = {}
        self.turns: dict[str, asyncio.Task[Any]] = {}
        self.jumps = self.wipes = self.seen = 0

    def now(self) -> datetime:
        """The time of the clouds. Rows move into the past instead: Postgres's clock can't be set."""
        return self.began + self.elapsed

    # -- putting it together ------------------------------------------------------------------------------------------

    def build(self, patch: Any) -> None:
        """Make what the processes hold, of the real code and our clouds."""
        scheduler = self.scheduler
        patch.setattr(layout, "CELL", CELL)
        patch.setattr(layout, "PART_SIZE", PART_CELLS * CELL)
        patch.setattr(worker, "BULK_PAUSE_S", 0)
        patch.setattr(runner, "random", self.dice)
        patch.setattr(aws, "client", self.cloud.client)
        self.storage = Storage(SETTINGS, now=self.now)
        self.queueing = Queues(SETTINGS, threads=1)
        self.storage._threads, self.queueing._threads = Turns(scheduler, "s3"), Turns(scheduler, "sqs")  # type: ignore[assignment]

        def gated(service: str, *_: Any, **__: Any) -> Any:
            return Gated(scheduler, service, self.cloud.client(service))

        patch.setattr(aws, "client", gated)
        patch.setattr(functions_aws, "client", gated)
        functions = functions_aws.Aws(SETTINGS)
        for module in FUNCTIONS.values():
            patch.setattr(module, "aws", lambda: functions)
        keys = {
            f"BUILDPEER_{name.upper()}_AWS_{part}": "x"
            for name in FUNCTIONS
            for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
        }
        self.functions: dict[str, Function] = {}
        for name, step in {"scan": wiring.SCAN, "derive": wiring.DERIVE, "assemble": wiring.ASSEMBLE}.items():
            queues = [queue for queue in self.topology.queues if queue.step is step]
            event: Any = _Never()
            self.functions[name] = Function(step, queues, 1, settings=SETTINGS, env=keys, stop=event, folder="/tmp")
        self.cloud.deliver = self._deliver

    def _deliver(self, queue: str, body: str) -> None:
        """What becomes of an event on its way: it may be lost, doubled and late."""
        if self.scheduler.calm:
            self.cloud.sqs.put(queue, body)
            return
        if self.dice.random() < 3 * self.faults:
            self.scheduler.trace.append(f"bus: {queue} loses one")
            return
        for _ in range(2 if self.dice.random() < 0.15 else 1):
            self.cloud.sqs.put(queue, body, delay_s=self.dice.choice([0, 0, 0, 5, 600]))

    # -- the house ----------------------------------------------------------------------------------------------------

    def turn(self, role: str) -> Coroutine[Any, Any, Any]:
        """One go of a loop of the worker or of a function."""
        what, _, which = role.partition(" ")
        match what:
            case "consume":
                return worker.consume(
                    self.worker_db, self.storage, self.queueing, self.queues[f"buildpeer-status-{which}"]
                )
            case "relay":
                return notifications.relay_messages(self.worker_db, self.queueing)
            case "sweep":
                return uploads.sweep(
                    self.worker_db,
                    self.storage,
                    queues=frozenset(self.queues),
                    backlog=self.queueing.backlog,
                    on_ready=on_upload_ready,
                    now=clock.now() + timedelta(seconds=self.dice.choice([0, 0, 0, -3, 3])),
                )
            case "erase":
                return uploads.delete_erased(self.worker_db, self.storage)
            case _:
                return self.scheduler.in_thread(self.functions[what]._turn)

    def live(self, process: str) -> Process:
        """The process of that name, started anew if it has died."""
        if process not in self.processes or not self.processes[process].alive:
            self.processes[process] = Process(process)
        return self.processes[process]

    def begin_a_turn(self) -> None:
        """Some loop of some process takes its turn, unless it is at one still."""
        worth = [role for role in ROLES if self._is_worth_it(role)]
        process, role = self.dice.choice(worth or ROLES)
        place = f"{process} {role}"
        if place in self.turns and not self.turns[place].done():
            return
        self.turns[place] = self.scheduler.start(self.live(process), self._survived(self.turn(role)))

    def _is_worth_it(self, place: tuple[str, str]) -> bool:
        what, _, which = place[1].partition(" ")
        if what == "consume":
            return bool(self.cloud.sqs.visible(f"buildpeer-status-{which}"))
        if what in FUNCTIONS:
            return any(self.cloud.sqs.visible(f"buildpeer-{what}-{lane}") for lane in wiring.LANES)
        return self.dice.random() < (0.3 if what == "relay" else 0.08)

    async def _survived(self, work: Coroutine[Any, Any, Any]) -> None:
        with contextlib.suppress(*FAULTS, Problem):
            await work

    # -- the phones ---------------------------------------------------------------------------------------------------

    async def phone(self, file: File) -> None:
        """Send a file as our clients do; killed now and then, and it begins anew with what is there."""
        for _ in range(200 if self.kickoff else 8):
            process = Process(f"phone {self.files.index(file)}")
            try:
                await self.scheduler.start(process, self._send(file))
            except Problem as problem:
                if problem.code != "upload_closed":
                    raise
                break
            except (Crashed, Lost):
                if not self.scheduler.calm and not self.kickoff and file.dice.random() < 0.15:
                    break  # it is never seen again
            else:
                break

    async def _send(self, file: File) -> None:
        [opened] = await self.ask(
            lambda: uploads.open_uploads(
                self.db,
                self.storage,
                caller=self.caller,
                project_id=self.company.tower,
                bucket=UPLOADS,
                wanted=[file.new],
                on_linked=on_uploads_linked,
                now=clock.now(),
            )
        )
        if opened.verdict == "duplicate" or opened.upload.state in ENDS:
            return
        if file.fate == "abandoned" and file.dice.random() < 0.5:
            return
        if not file.chunked and file.parts == 1:
            url = opened.put or await self.ask(lambda: uploads.sign_whole(self.db, self.storage, **self.named(file)))
            await self.put(url, file.sends)
        else:
            await self._send_pieces(file)
        if file.fate == "cancelled":
            upload = await self.ask(lambda: uploads.cancel(self.db, self.storage, **self.named(file)))
            file.cancelled = upload.state == "cancelled"

    async def _send_pieces(self, file: File) -> None:
        for _ in range(6):
            upload = await self.ask(lambda: uploads.get_upload(self.db, caller=self.caller, upload_id=file.upload_id))
            held = await self.ask(lambda upload=upload: uploads.received(self.storage, upload))
            gaps = layout.missing(len(file.content), held)
            if not gaps:
                if not await self._completed(file):
                    continue
                return
            wanted = self._pieces(file, gaps)
            if file.fate == "abandoned":
                wanted = wanted[:1]
            parts = [] if file.chunked else self._whole_parts(file, gaps)
            chunks = [] if parts else wanted
            signed = await self.ask(
                lambda parts=parts, chunks=chunks: uploads.sign_pieces(
                    self.db, self.storage, parts=parts, chunks=chunks, **self.named(file)
                )
            )
            for each in signed[0]:
                place = layout.part_range(len(file.content), each.part_number)
                await self.put(each.put, file.sends[place.offset : place.end])
            for each in signed[1]:
                await self.put(each.put, file.sends[each.offset : each.offset + each.length])
            if file.fate == "abandoned":
                return
        raise Lost

    def _whole_parts(self, file: File, gaps: list[Range]) -> list[int]:
        """Parts of which nothing is there."""
        size = len(file.content)
        return [
            number
            for number in range(1, file.parts + 1)
            for place in [layout.part_range(size, number)]
            if any(gap.offset <= place.offset and place.end <= gap.end for gap in gaps)
        ]

    def _pieces(self, file: File, gaps: list[Range]) -> list[Range]:
        """Chunks that fill the gaps, each as long as the grid and chance let it be."""
        found: list[Range] = []
        for gap in gaps:
            at = gap.offset
            while at < gap.end:
                end = min(gap.end, layout.part_range(len(file.content), layout.part_of(at)).end)
                length = min(end - at, file.dice.choice([1, 2, 4]) * CELL)
                found.append(Range(at, length))
                at += length
        return found

    async def _completed(self, file: File) -> bool:
        try:
            await self.ask(lambda: uploads.complete(self.db, self.storage, **self.named(file)))
        except Problem as problem:
            if problem.code != "upload_incomplete":
                raise
            return False
        return True

    def named(self, file: File) -> dict[str, Any]:
        return {"caller": self.caller, "upload_id": file.upload_id, "now": clock.now()}

    async def ask(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """A call of the api. Raises Problem, and Lost when the api has died or answered 500."""
        try:
            return await self.scheduler.start(self.live("api"), call())
        except FAULTS as exc:
            raise Lost from exc

    async def put(self, signed: SignedUrl, content: bytes) -> None:
        """Send bytes; what is there already is fine. Raises Lost."""
        request = httpx.Request(signed.method, signed.url, headers=signed.headers, content=content)

        def sent() -> int:
            return self.cloud.s3.answer(request).status_code

        try:
            status = await asyncio.wrap_future(self.scheduler.submit("put", sent))
        except FAULTS as exc:
            raise Lost from exc
        if status not in (200, 412):
            raise Lost

    # -- the weather --------------------------------------------------------------------------------------------------

    async def something_happens(self) -> None:
        """Time passes, queues are wiped, S3 loses a multipart upload, a scanner changes its mind, a document goes."""
        roll = self.dice.random() * (0.6 if self.kickoff else 1)
        if roll < 0.5:
            # whoever has a row locked would hold time up
            if self.jumps < 12 and not self.scheduler.transactions:
                self.jumps += 1
                await self.jump(self.dice.choice([7, 7, 23, 23, 61, 397]))
        elif roll < 0.6 and self.faults:
            queue = self.dice.choice(sorted(self.cloud.sqs.queues))
            self.cloud.sqs.queues[queue].clear()
            self.scheduler.trace.append(f"world: {queue} is wiped")
        elif roll < 0.66 and self.faults:
            multiparts = self.cloud.s3.buckets[UPLOADS].multiparts
            if multiparts:
                lost = self.dice.choice(sorted(multiparts))
                key = multiparts.pop(lost).key
                self.scheduler.trace.append("world: S3 loses a multipart upload")
                for file in self.files:
                    file.bytes_lost |= key.endswith(str(file.upload_id))
        elif roll < 0.7:
            self.live("janitor")
            file = self.dice.choice(self.files)
            if file.states and file.states[-1] == "ready":
                erase = documents.erase(self.db, caller=self.caller, document_id=file.upload_id)
                self.turns["janitor"] = self.scheduler.start(self.live("janitor"), self._survived(erase))
        elif roll < 0.75:
            await self._rescan(self.dice.choice(self.files))
        elif self.faults and roll < 0.79:
            name = self.dice.choice(["api", "worker a", "worker b", "functions"])
            self.scheduler.trace.append(f"world: {name} is killed")
            self.scheduler.kill(self.live(name))

    async def _rescan(self, file: File) -> None:
        """A scanner finds something in what was ready."""
        if not file.rescanned and file.states[-1:] != ["ready"]:
            return
        file.rescanned = True
        row = await self.places.admin.fetchrow(
            "select key, version_id, size_bytes as size from uploads where upload_id = $1 and tenant_id = $2",
            *(file.upload_id, self.company.tenant_id),
        )
        thing = {"key": row["key"], "size": row["size"], "version-id": row["version_id"]}
        said = {"bucket": {"name": UPLOADS}, "object": thing, "verdict": "infected", "scanner": "new", "reason": "x"}
        self.scheduler.trace.append("world: a scanner finds something later")
        self.cloud.events.put("buildpeer.scan", "File Scanned", said)

    async def jump(self, seconds: int) -> None:
        """Let time pass: ours goes on, and what Postgres knows moves into the past."""
        self.elapsed += timedelta(seconds=seconds)
        self.scheduler.trace.append(f"world: {seconds} s pass")
        await self.places.admin.execute(JUMP, self.company.tenant_id, timedelta(seconds=seconds))

    # -- a whole life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """A storm, then calm; what must hold is looked at all the time and at the end."""
        # not a process that could die: each of its lives is one
        phones = [self.scheduler.start(Process("person"), self.phone(file)) for file in self.files]
        for step in range(2 * STORM_STEPS if self.kickoff else STORM_STEPS):
            await self.scheduler.settle()
            await self.look()
            idle = all(phone.done() for phone in phones) and all(f.states and f.states[-1] in ENDS for f in self.files)
            if idle and step > 50 and self.dice.random() < 0.1:
                break
            if self.scheduler.gates and self.dice.random() < 0.85:
                self.scheduler.step()
            elif self.dice.random() < 0.9:
                self.begin_a_turn()
            else:
                await self.something_happens()
        await self._calm_down(phones)
        await self.check()

    async def _calm_down(self, phones: list[asyncio.Task[None]]) -> None:
        """Everything is killed and wiped, maybe; then nothing fails any more, and the house ends all by itself."""
        if self.kickoff or self.dice.random() < 0.5:
            for process in list(self.processes.values()):
                self.scheduler.kill(process)
            for waiting in self.cloud.sqs.queues.values():
                waiting.clear()
            self.scheduler.trace.append("world: everything is killed, and every queue wiped")
        await self.scheduler.settle()
        self.scheduler.calm = True
        while self.scheduler.gates:
            self.scheduler.let_go_on()
            await self.scheduler.settle()
            await self.look()
        await asyncio.gather(*phones, *self.turns.values())
        for file in self.files:
            if file.rescanned:
                await self._rescan(file)
        await self.look()
        for after in (7000, 7000, 7000, 7000, 7000, 9 * 86400, 86400, 8 * 86400, 7000, 7000):
            await self._drain()
            if await self._over():
                break
            await self.jump(after)
        await self._drain()
        nobody: Any = _Nobody()
        await self.scheduler.start(Process("relay"), notifications.relay_log(self.worker_db, nobody))

    async def _drain(self) -> None:
        for _ in range(12):
            for process, role in ROLES[: len(ROLES) // 2]:
                if "erase" in role or "sweep" in role or "relay" in role or self._is_worth_it((process, role)):
                    await self.scheduler.start(Process(process), self.turn(role))
                    await self.look()
            if not any(self.cloud.sqs.visible(name) for name in self.queues) and not await self._due():
                return

    async def _due(self) -> bool:
        return await self.places.admin.fetchval(
            """select exists (select from uploads where tenant_id = $1 and check_at <= now())
            or exists (select from erasures where tenant_id = $1 and check_at <= now())
            or exists (select from outbox where tenant_id = $1 and destination <> 'log')""",
            self.company.tenant_id,
        )

    async def _over(self) -> bool:
        return await self.places.admin.fetchval(
            """select not exists (select from uploads where tenant_id = $1 and check_at is not null)
            and not exists (select from erasures where tenant_id = $1)""",
            self.company.tenant_id,
        )

    # -- what must hold -----------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """No state goes back; what every reader of the database could see is noted, after each commit that writes."""
        if self.seen == self.scheduler.writes:
            return
        self.seen = self.scheduler.writes
        rows = await self.places.admin.fetch(
            "select upload_id, state from uploads where tenant_id = $1", self.company.tenant_id
        )
        states = {row["upload_id"]: row["state"] for row in rows}
        for file in self.files:
            if (state := states.get(file.upload_id)) is None or file.states[-1:] == [state]:
                continue
            self._check_step(file, file.states[-1] if file.states else "", state)
            file.states.append(state)

    def _check_step(self, file: File, before: str, after: str) -> None:
        reopened = (before, after) == ("stored", "receiving") and file.bytes_lost
        withdrawn = (before, after) == ("ready", "quarantined") and file.rescanned
        if not before or reopened or withdrawn:
            return
        if before in ENDS or (after not in ENDS and RANKS[after] < RANKS[before]):
            raise Violation("went back", f"{before} became {after} ({file.states})")

    async def check(self) -> None:
        """Everything that must hold once all is over."""
        rows = await self.places.admin.fetch("select * from uploads where tenant_id = $1", self.company.tenant_id)
        found = {row["upload_id"]: row for row in rows}
        if self.kickoff and {row["state"] for row in rows} != {"ready"}:
            raise Violation("lost", f"of a kickoff: {[row['state'] for row in rows]}")
        for file in self.files:
            if file.upload_id in found:
                self._check_end(file, found[file.upload_id])
        await self._check_documents(found)
        await self._check_ledger(found)
        for file in self.files:
            if file.upload_id in found:
                await self._check_told(file, found[file.upload_id])
                await self._check_trail(file, found[file.upload_id])

    def _check_end(self, file: File, row: Any) -> None:
        state, stored = row["state"], self.cloud.s3.stored(UPLOADS, row["key"], row["version_id"] or "")
        if state not in ENDS:
            raise Violation("lost", f"a file that was {file.fate} is {state} for ever: {file.states}")
        if state == "failed" or (state in ("ready", "duplicate") and file.fate in ("infected", "lied")):
            raise Violation("wrong state", f"a file that was {file.fate} is {state}")
        if file.rescanned:
            if state != "quarantined":
                raise Violation("wrong state", f"a scanner has found something, and it is {state}")
        elif (
            state in ("quarantined", "mismatched")
            and {"quarantined": "infected", "mismatched": "lied"}[state] != file.fate
        ):
            raise Violation("wrong state", f"a file that was {file.fate} is {state}")
        if file.cancelled and state != "cancelled":
            raise Violation("wrong state", f"the phone was told cancelled; it is {state}")
        if state == "ready" and row["erased_at"] is None and (stored is None or stored.body != file.content):
            raise Violation("lost", "S3 does not hold what is ready")
        whole = stored is not None and not row["erased_at"]
        if whole and state == "expired":
            raise Violation("lost", "every byte had arrived, and it expired")

    async def _check_documents(self, found: dict[UUID, Any]) -> None:
        rows = await self.places.admin.fetch("select * from documents where tenant_id = $1", self.company.tenant_id)
        held = {row["document_id"]: row for row in rows if row["withdrawn_at"] is None}
        for upload_id, row in found.items():
            if (row["state"] == "ready" and row["erased_at"] is None) != (upload_id in held):
                raise Violation("wrong state", f"{row['state']}, and {'a' if upload_id in held else 'no'} document")
            if upload_id in held and held[upload_id]["version_id"] != row["version_id"]:
                raise Violation("wrong state", "its document is of another version")

    async def _check_ledger(self, found: dict[UUID, Any]) -> None:
        entries = await self.places.admin.fetch(
            "select upload_id, bytes from storage_entries where tenant_id = $1", self.company.tenant_id
        )
        counted = await self.places.admin.fetchval(
            "select bytes from storage_totals where tenant_id = $1", self.company.tenant_id
        )
        twins = {row["document_id"] for row in found.values() if row["state"] == "duplicate" and not row["erased_at"]}
        weighing = {
            upload_id: row["size_bytes"]
            for upload_id, row in found.items()
            if row["state"] not in WEIGHTLESS and (row["erased_at"] is None or upload_id in twins)
        }
        sums = dict.fromkeys(found, 0)
        for entry in entries:
            sums[entry["upload_id"]] += entry["bytes"]
        if {upload_id: bytes_ for upload_id, bytes_ in sums.items() if bytes_} != weighing:
            raise Violation("quota", f"{sorted(sums.values())} are counted, {sorted(weighing.values())} weigh")
        if (counted or 0) != sum(weighing.values()):
            raise Violation("quota", f"the total is {counted}, {sum(weighing.values())} weigh")

    async def _check_told(self, file: File, row: Any) -> None:
        told = await self.places.admin.fetch(
            """select type, body from event_log where tenant_id = $1 and (body #>> '{upload,upload_id}' = $2
            or body #>> '{document,document_id}' = $2) order by position""",
            *(self.company.tenant_id, str(file.upload_id)),
        )
        states = [json.loads(each["body"])["upload"]["state"] for each in told if each["type"] == "upload.changed"]
        added = [each["type"] for each in told].count("document.added")
        was_ready = row["state"] == "ready" or file.rescanned
        if states.count("ready") != was_ready or added != was_ready:
            raise Violation("ready event", f"{states.count('ready')} times ready, {added} documents told: {states}")
        file.told = ["requested", *states]
        rest = iter(file.told)
        if not all(state in rest for state in file.states):
            raise Violation("ready event", f"told {file.told}, seen {file.states}")
        for before, after in pairwise(file.told):
            self._check_step(file, before, after)

    async def _check_trail(self, file: File, row: Any) -> None:
        entries = await self.places.admin.fetch(
            """select action, changes from audit.entries where tenant_id = $1 and object_type = 'uploads'
            and object_id = $2 order by entry_id""",
            *(self.company.tenant_id, str(file.upload_id)),
        )
        if [each["action"] for each in entries[:1]] != ["insert"]:
            raise Violation("audit", "its opening is not in the trail")
        known = json.loads(entries[0]["changes"])
        states = [known["state"]]
        for each in entries[1:]:
            for column, (before, after) in json.loads(each["changes"]).items():
                if known.get(column) != before:
                    raise Violation("audit", f"{column} was {known.get(column)!r}, the trail says {before!r}")
                known[column] = after
                states += [after] if column == "state" else []
        told = {name: row[name] for name in ("state", "reason", "version_id", "verdict", "scanner", "multipart_id")}
        if {name: known.get(name) for name in told} != told or states != file.told:
            raise Violation("audit", f"the trail gives {states} {known}, people were told {file.told} {told}")


ROLES = [
    (process, role)
    for process in ("a", "b")
    for role in ("consume live", "consume bulk", "relay", "sweep", "erase", "scan", "derive", "assemble")
]
ROLES = [(("functions" if role in FUNCTIONS else f"worker {process}"), role) for process, role in ROLES]
ALONE = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
# created_at too: what is old must look so
JUMP = """
with u as (
  update uploads set created_at = created_at - $2::interval, updated_at = updated_at - $2::interval,
    check_at = check_at - $2::interval where tenant_id = $1
)
update erasures set check_at = check_at - $2::interval where tenant_id = $1
"""


class _Never:
    """Nobody asks the functions to stop."""

    def is_set(self) -> bool:
        return False


class _Nobody:
    """No screen is open."""

    async def publish(self, tenants: Any) -> None:
        list(tenants)
