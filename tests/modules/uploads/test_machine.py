"""Random lives of uploads against the real services: whatever happens, in whatever order, no byte is lost.

A cell is 1 KiB here and a part four cells, so that a life of many pieces costs little.
"""

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.conftest import Company
from tests.modules.uploads.conftest import UPLOADS, House

from buildpeer import facts, layout
from buildpeer.layout import Range
from buildpeer.modules.documents.handlers import on_upload_ready, on_uploads_linked
from buildpeer.modules.uploads import service
from buildpeer.modules.uploads.rules import AWAITING_BYTES, ENDS, NewUpload, Place, Upload
from buildpeer.modules.uploads.service.joining import look
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id
from buildpeer.platform.storage import SignedUrl, Storage

CELL, PART_CELLS = 1024, 4
SIZES = (2 * CELL + 7, 2 * PART_CELLS * CELL + CELL + 5)  # a file of one part, and one of three
RANKS = {state: rank for rank, state in enumerate(("requested", "receiving", "stored", "scanning", "deriving"))}
PICK = st.integers(0, 1_000_000)


class Life:
    """What the sender of one file knows of it, and what S3 has said yes to."""

    def __init__(self, new: NewUpload, content: bytes) -> None:
        self.new, self.content = new, content
        self.acknowledged: list[Range] = []
        self.lied = False  # other bytes than the declared ones were taken
        self.lost = False  # S3 has lost some
        self.states = ["requested"]
        self.asked: list[dict[str, Any]] = []
        self.told: list[facts.PartAssembled] = []
        self.signed: list[tuple[Range, SignedUrl]] = []

    @property
    def size(self) -> int:
        return len(self.content)

    def __str__(self) -> str:
        return str(self.new.upload_id)


class World:
    """What the machine needs of the fixtures."""

    loop: asyncio.AbstractEventLoop
    db: Database
    storage: Storage
    house: House
    company: Company
    caller: Caller


class Machine(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.lives: list[Life] = []
        self.touched: Life
        self.jumped = timedelta()
        self.phone = httpx.Client()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.world.loop).result(30)

    @property
    def now(self) -> Any:
        return clock.now() + self.jumped

    def life(self, pick: int) -> Life:
        self.touched = self.lives[pick % len(self.lives)]
        return self.touched

    def call(self, verb: Any, *arguments: Any, **named: Any) -> Any:
        """A call of the api; None when the upload is closed or lacks bytes, which are answers too."""
        try:
            return self.wait(verb(self.world.db, *arguments, caller=self.world.caller, **named))
        except Problem as problem:
            assert problem.code in ("upload_closed", "upload_incomplete"), problem
            return None

    # -- the sender ---------------------------------------------------------------------------------------------

    @initialize(size=st.sampled_from(SIZES))
    def begin(self, size: int) -> None:
        self.open(size)

    @precondition(lambda self: len(self.lives) < 2)
    @rule(size=st.sampled_from(SIZES))
    def open(self, size: int) -> None:
        upload_id = new_id()
        content = random.Random(upload_id.int).randbytes(size)  # nobody has it yet
        new = NewUpload(upload_id, "plan", "a.pdf", size, "application/pdf", hashlib.sha256(content).hexdigest())
        self.touched = Life(new, content)
        self.lives.append(self.touched)
        assert self.ask_to_open(new) == "opened"

    @rule(pick=PICK, other=st.booleans())
    def open_again(self, pick: int, other: bool) -> None:
        new = self.life(pick).new
        if other:
            new = NewUpload(new.upload_id, new.kind, new.name, new.size_bytes, new.content_type, "0" * 64)
        assert self.ask_to_open(new) == ("conflict" if other else "known")

    def ask_to_open(self, new: NewUpload) -> str:
        project = self.world.company.tower
        [answer] = self.call(
            service.open_uploads,
            self.world.storage,
            project_id=project,
            bucket=UPLOADS,
            wanted=[new],
            on_linked=on_uploads_linked,
            now=self.now,
        )
        return answer.verdict

    @rule(pick=PICK, cell=st.integers(0, 2 * PART_CELLS), cells=st.integers(1, PART_CELLS), honest=st.integers(0, 9))
    def send_chunk(self, pick: int, cell: int, cells: int, honest: int) -> None:
        if signed := self.sign_chunk(pick, cell, cells):
            self.put(self.life(pick), *signed, honest=honest > 0)

    @rule(pick=PICK, part=st.integers(0, 2))
    def send_a_part_in_chunks(self, pick: int, part: int) -> None:
        for cell in (3, 0, 2, 1):
            self.send_chunk(pick, part * PART_CELLS + cell, 1, honest=1)

    @rule(pick=PICK, cell=st.integers(0, 2 * PART_CELLS), cells=st.integers(1, PART_CELLS))
    def sign_chunk_for_later(self, pick: int, cell: int, cells: int) -> None:
        if signed := self.sign_chunk(pick, cell, cells):
            self.life(pick).signed.append(signed)

    @rule(pick=PICK, honest=st.integers(0, 9))
    def send_late(self, pick: int, honest: int) -> None:
        life = self.life(pick)
        if life.signed:
            self.put(life, *life.signed[pick % len(life.signed)], honest=honest > 0)

    def sign_chunk(self, pick: int, cell: int, cells: int) -> tuple[Range, SignedUrl] | None:
        life = self.life(pick)
        offset = cell * CELL
        if offset >= life.size:
            return None
        end = layout.part_range(life.size, layout.part_of(offset)).end
        chunk = Range(offset, min(cells * CELL, end - offset))
        signed = self.sign(life, chunks=[chunk])
        return (chunk, signed[1][0].put) if signed else None

    @rule(pick=PICK, part=st.integers(1, 3), honest=st.integers(0, 9))
    def send_part(self, pick: int, part: int, honest: int) -> None:
        life = self.life(pick)
        if layout.part_count(life.size) > 1 and (signed := self.sign(life, parts=[part])):
            self.put(life, layout.part_range(life.size, part), signed[0][0].put, honest=honest > 0)

    @rule(pick=PICK)
    def send_whole(self, pick: int) -> None:
        life = self.life(pick)
        if layout.part_count(life.size) == 1:
            signed = self.call(service.sign_whole, self.world.storage, upload_id=life.new.upload_id, now=self.now)
            if signed:
                self.put(life, Range(0, life.size), signed, honest=True)

    def sign(self, life: Life, parts: Any = (), chunks: Any = ()) -> Any:
        named = {"parts": parts, "chunks": chunks, "now": self.now}
        return self.call(service.sign_pieces, self.world.storage, upload_id=life.new.upload_id, **named)

    def put(self, life: Life, place: Range, signed: SignedUrl, *, honest: bool) -> None:
        content = life.content[place.offset : place.end]
        if not honest:
            content = bytes([content[0] ^ 1]) + content[1:]
        over = self.row(life).state in ENDS
        status = self.phone.put(signed.url, content=content, headers=signed.headers).status_code
        assert status in (200, 404, 412)  # 404: that multipart upload is gone
        if status == 200 and not over:
            life.acknowledged.append(place)
            life.lied |= not honest

    @rule(pick=PICK, honest=st.booleans())
    def complete(self, pick: int, honest: bool) -> None:
        life = self.life(pick)
        held = self.look(life)
        answer = self.call(service.complete, self.world.storage, upload_id=life.new.upload_id, now=self.now)
        if held is not None:
            assert (answer is None) == bool(layout.missing(life.size, held))

    @precondition(lambda self: len(self.lives) > 1)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        life = self.life(pick)
        self.call(service.cancel, self.world.storage, upload_id=life.new.upload_id, now=self.now)

    # -- the house and the world ----------------------------------------------------------------------------------

    @rule(pick=PICK, times=st.integers(1, 2))
    def assemble(self, pick: int, times: int) -> None:
        life = self.life(pick)
        if life.asked:
            message = life.asked[pick % len(life.asked)]
            life.told += self.world.house.assemble(*[message] * times)

    @rule(pick=PICK, times=st.integers(1, 2))
    def tell(self, pick: int, times: int) -> None:
        life = self.life(pick)
        if life.told:
            self.wait(self.world.house.tell(*[life.told[pick % len(life.told)]] * times))

    @rule(pick=PICK, jump=st.sampled_from([0, 0, 0, 0, 2, 60 * 24, 60 * 24 * 8]))
    def sweep(self, pick: int, jump: int) -> None:
        self.jumped += timedelta(minutes=jump)
        self.sweep_one(self.life(pick))

    def sweep_one(self, life: Life) -> None:
        row = self.row(life)
        if row.state in ENDS:
            return
        house, soon = self.world.house, clock.now() - timedelta(seconds=1)

        async def swept() -> None:
            await house.admin.execute("update uploads set check_at = $2 where upload_id = $1", life.new.upload_id, soon)
            await service.sweep(
                house.db,
                house.storage,
                queues=frozenset(("buildpeer-assemble-live", "buildpeer-assemble-bulk")),
                backlog=nothing_waits,
                on_ready=on_upload_ready,
                now=self.now,
            )

        self.wait(swept())

    @rule(pick=PICK)
    def scan_and_derive(self, pick: int) -> None:
        life, row = self.life(pick), self.row(self.life(pick))
        held = self.wait(self.world.house.storage.head(bucket=UPLOADS, key=row.key))
        if held is None or row.state in ENDS:
            return
        stored = self.stored(row)
        thing = facts.Object(row.key, held.size, held.etag, held.version_id)
        derived = facts.FileDerived(facts.Bucket(UPLOADS), thing, hashlib.sha256(stored).hexdigest(), "application/pdf")
        known = {"version_id": held.version_id, "verdict": "clean", "scanner": "x", "derived": derived}
        place = Place(row.lane, row.tenant_id, row.upload_id)
        told = [service.Told(UPLOADS, place, known)]
        self.wait(service.learn(self.world.house.db, told, on_ready=on_upload_ready, now=self.now))
        life.lost = False

    @precondition(lambda self: len(self.lives) > 1)
    @rule(pick=PICK)
    def lose_multipart(self, pick: int) -> None:
        """What S3 itself loses may be sent anew."""
        life, row = self.life(pick), self.row(self.life(pick))
        if row.multipart_id is None or row.state not in (*AWAITING_BYTES, "stored") or self.stored(row) is not None:
            return
        s3 = self.world.house.s3
        with contextlib.suppress(s3.exceptions.NoSuchUpload):  # it may be lost already
            s3.abort_multipart_upload(Bucket=UPLOADS, Key=row.key, UploadId=row.multipart_id)
        life.lost = True
        life.acknowledged = self.look(life) or []

    # -- what always holds ------------------------------------------------------------------------------------------

    @invariant()
    def no_byte_is_lost_and_no_state_goes_back(self) -> None:
        if not self.lives:
            return
        life, row = self.touched, self.row(self.touched)
        self.check_state(life, row.state)
        stored = self.stored(row)
        if stored is not None and not life.lied:
            assert stored == life.content
        if row.state == "ready":
            assert stored == life.content
        if row.state not in ENDS:
            held = self.look(life, row) or []
            assert layout.merged([*held, *life.acknowledged]) == held, f"{life}: S3 holds {held} only"
        self.read_what_was_asked(life, row)

    def check_state(self, life: Life, state: str) -> None:
        before = life.states[-1]
        if state != before:
            assert before not in ENDS, f"{before} became {state}"
            lost = life.lost and (before, state) == ("stored", "receiving")
            assert lost or state in ENDS or RANKS[state] > RANKS[before], f"{before} became {state}"
            assert life.lied or state != "mismatched"
            life.states.append(state)

    def teardown(self) -> None:
        """Whatever has happened: what is all there is finished by the house alone."""
        try:
            for life in self.lives:
                self.finish(life)
        finally:
            self.phone.close()

    def finish(self, life: Life) -> None:
        for _ in range(3):
            if (held := self.look(life)) is None or layout.missing(life.size, held):
                return
            self.sweep_one(life)
            self.read_what_was_asked(life, self.row(life))
            if life.asked:
                self.wait(self.world.house.tell(*self.world.house.assemble(*life.asked)))
        row = self.row(life)
        assert self.stored(row) is not None or (row.state == "mismatched" and life.lied), f"{life} is {row.state}"

    def look(self, life: Life, row: Upload | None = None) -> list[Range] | None:
        """What S3 holds of an upload that is still on its way; None once it has ended."""
        row = row or self.row(life)
        return None if row.state in ENDS else self.wait(look(self.world.house.storage, row)).ranges

    def row(self, life: Life) -> Upload:
        return self.wait(service.get_upload(self.world.db, caller=self.world.caller, upload_id=life.new.upload_id))

    def stored(self, row: Upload) -> bytes | None:
        s3 = self.world.house.s3
        try:
            return s3.get_object(Bucket=UPLOADS, Key=row.key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None

    def read_what_was_asked(self, life: Life, row: Upload) -> None:
        life.asked = self.wait(wanted(self.world.house, row.tenant_id, row.key))


async def nothing_waits(_queue: str) -> int:
    return 0


async def wanted(house: House, tenant_id: UUID, key: str) -> list[dict[str, Any]]:
    """Every message that was ever left for assemble: nobody relays them here, so none is ever out of date enough."""
    rows = await house.admin.fetch(
        """select distinct on (body) body from outbox where tenant_id = $1 and destination like 'buildpeer-assemble-%'
        and body #>> '{detail,object,key}' = $2""",
        *(tenant_id, key),
    )
    return [json.loads(row["body"]) for row in rows]


async def test_whatever_happens_no_byte_is_lost_and_no_other_file_comes_of_it(
    db: Database, storage: Storage, house: House, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "CELL", CELL)
    monkeypatch.setattr(layout, "PART_SIZE", PART_CELLS * CELL)
    world = World()
    world.loop, world.db, world.storage, world.house = asyncio.get_running_loop(), db, storage, house
    world.company, world.caller = company, await company.hire()
    Machine.world = world
    profile = settings(max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=profile)
