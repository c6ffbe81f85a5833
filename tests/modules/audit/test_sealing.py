"""Sealing misses nothing, and whatever is done to the trail by the database's superuser is found and named."""

import asyncio
import itertools
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import structlog
from botocore.exceptions import ClientError
from tests.conftest import OPERATOR_KEY, Clients, Company
from tests.modules.audit.conftest import BUCKET, Trail

from buildpeer.local.stack import Stack
from buildpeer.modules.audit import service, store
from buildpeer.platform import clock, migrate
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.storage import Storage


async def write(db: Database, company: Company, count: int = 1, request: str = "r") -> None:
    async with db.transaction(Scope(company.tenant_id, None, request)) as tx:
        for n in range(count):
            await tx.run("select audit.record('export', 'documents', $1, '{\"n\": 1}')", str(n))


async def rows(admin: asyncpg.Connection, trail: Trail, table: str) -> list[Any]:
    order = "entry_id" if table == "entries" else "number"
    return await admin.fetch(
        f"select * from audit.{table} where tenant_id = $1 order by {order}", trail.company.tenant_id
    )


async def several_batches(db: Database, trail: Trail, admin: asyncpg.Connection) -> list[Any]:
    """Four batches, only the last of which has its seal in the second place."""
    for _ in range(3):
        await write(db, trail.company, 3)
        await admin.fetchval("select audit.seal($1)", trail.company.tenant_id)
    await write(db, trail.company, 3)
    await trail.seal()
    assert await trail.findings() == []
    batches = await rows(admin, trail, "batches")
    assert [batch["number"] for batch in batches] == [1, 2, 3, 4]
    return batches


async def test_what_is_committed_is_sealed_once_and_the_chain_is_whole(db, trail: Trail, admin) -> None:
    await write(db, trail.company, 5)
    assert await trail.seal() >= 1
    progress: list[tuple[int, int]] = []
    assert await trail.findings(lambda done, total: progress.append((done, total))) == []
    entries = await rows(admin, trail, "entries")
    sealed = [entry_id for batch in await rows(admin, trail, "batches") for entry_id in batch["entry_ids"]]
    assert sorted(sealed) == [entry["entry_id"] for entry in entries]
    assert progress[-1] == (2 * len(entries), 2 * len(entries))


async def test_an_entry_committed_late_is_sealed_although_later_ones_already_are(db, trail: Trail, admin) -> None:
    company = trail.company
    await trail.seal()
    async with db.transaction(Scope(company.tenant_id, None, "late")) as tx:
        await tx.run("select audit.record('export', 'documents', 'late', '{}')")
        await write(db, company, 3)
        await trail.seal()
    await trail.seal()
    before, after = (await rows(admin, trail, "batches"))[-2:]
    assert (len(before["entry_ids"]), len(after["entry_ids"])) == (3, 1)
    assert after["entry_ids"][0] < before["entry_ids"][0]
    assert await trail.findings() == []


async def test_sealers_side_by_side_among_writers_that_commit_and_fail_miss_nothing(
    db, trail, worker_db, admin
) -> None:
    """Writers of random length, some rolled back, and three sealers at once; at the end all is in exactly one batch."""
    dice, company, writing = random.Random(7), trail.company, True

    async def writer() -> None:
        for _ in range(12):
            try:
                async with db.transaction(Scope(company.tenant_id, None, "w")) as tx:
                    for n in range(dice.randrange(1, 4)):
                        await tx.run("select audit.record('export', 'documents', $1, '{}')", str(n))
                        await tx.run("select pg_sleep($1)", dice.random() / 50)
                    if dice.random() < 0.2:
                        await tx.run("select 1 / 0")
            except asyncpg.DivisionByZeroError:
                pass

    async def sealer() -> None:
        while writing:
            await store.seal(worker_db, company.tenant_id)

    sealing = [asyncio.create_task(sealer()) for _ in range(3)]
    await asyncio.gather(*(writer() for _ in range(4)))
    writing = False
    await asyncio.gather(*sealing)
    await trail.seal()
    assert await trail.findings() == []
    entries = [entry["entry_id"] for entry in await rows(admin, trail, "entries")]
    sealed = [entry_id for batch in await rows(admin, trail, "batches") for entry_id in batch["entry_ids"]]
    assert sorted(sealed) == entries


async def test_one_company_that_cannot_be_sealed_holds_no_other_up_and_is_counted(
    http: Any, trail: Trail, found_company: Any, worker_db: Database, worker_clients: Clients, admin: asyncpg.Connection
) -> None:
    others = [await found_company() for _ in range(4)]
    broken, *whole = sorted([trail.company, *others], key=lambda each: each.tenant_id)  # in the sealer's order
    for each in (broken, *whole):
        await each.hire()
    await trail.seal()
    number = await admin.fetchval(
        "update audit.heads set number = 0 where tenant_id = $1 returning 1", broken.tenant_id
    )
    assert number == 1  # the next batch has a number that is taken
    for each in (broken, *whole):
        await each.hire()
    waiting = "select count(*) from audit.pending where tenant_id = $1"
    with structlog.testing.capture_logs() as logs:
        await trail.seal()
    assert [await admin.fetchval(waiting, each.tenant_id) for each in whole] == [0] * 4
    assert await admin.fetchval(waiting, broken.tenant_id) > 0
    assert str(broken.tenant_id) in {log["tenant_id"] for log in logs if log["event"] == "seal_failed"}

    async def counted() -> int:
        metrics = (await http.get("/v1/ops/metrics", headers={"authorization": f"Bearer {OPERATOR_KEY}"})).text
        return int(re.findall(r"^buildpeer_unsealed_tenants (\d+)$", metrics, re.MULTILINE)[0])

    before = await counted()
    await admin.execute(
        "update audit.pending set occurred_at = occurred_at - interval '6 minutes' where tenant_id = $1",
        broken.tenant_id,
    )
    assert await counted() == before + 1
    await admin.execute(
        "update audit.pending set occurred_at = occurred_at + interval '6 minutes' where tenant_id = $1",
        broken.tenant_id,
    )
    await admin.execute(
        """update audit.heads h set number = (select max(b.number) from audit.batches b where b.tenant_id = h.tenant_id)
        where h.tenant_id = $1""",
        broken.tenant_id,
    )
    await trail.seal()
    assert (await admin.fetchval(waiting, broken.tenant_id), await counted()) == (0, before)


async def test_one_seal_that_cannot_be_laid_holds_no_other_up(
    trail: Trail, found_company: Any, worker_clients: Clients, auditor_storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await found_company()
    real = worker_clients.storage.put_once

    async def put_once(*, key: str, **more: Any) -> Any:
        if str(trail.company.tenant_id) in key:
            raise OSError("no room")
        await asyncio.sleep(0.05)  # so that it is still under way
        return await real(key=key, **more)

    monkeypatch.setattr(worker_clients.storage, "put_once", put_once)
    await trail.seal()
    assert await service.published(auditor_storage, bucket=BUCKET, tenant_id=other.tenant_id) != []
    assert await service.published(auditor_storage, bucket=BUCKET, tenant_id=trail.company.tenant_id) == []


async def test_a_batch_is_never_larger_than_its_bound(trail: Trail, admin: asyncpg.Connection) -> None:
    company = trail.company
    await admin.execute(
        """insert into projects (tenant_id, project_id, code, name, timezone)
        select $1, gen_random_uuid(), 'C' || n, 'C', 'America/Lima' from generate_series(1, 2500) n""",
        company.tenant_id,
    )
    await trail.seal()
    batches = await rows(admin, trail, "batches")
    assert max(batch["entries"] for batch in batches) == 1024
    assert sum(batch["entries"] for batch in batches) == len(await rows(admin, trail, "entries"))
    assert await trail.findings() == []


async def test_a_seal_that_could_not_be_published_is_published_later(
    db, trail: Trail, worker_db, worker_clients: Clients, auditor_storage, admin
) -> None:
    await write(db, trail.company)
    await service.seal(worker_db, worker_clients.storage, bucket="no-such-bucket")
    tenant_id = trail.company.tenant_id
    assert await service.published(auditor_storage, bucket=BUCKET, tenant_id=tenant_id) == []
    await trail.seal()
    seals = await service.published(auditor_storage, bucket=BUCKET, tenant_id=tenant_id)
    batches = await rows(admin, trail, "batches")
    assert [(s.number, s.hash) for s in seals] == [(batches[-1]["number"], batches[-1]["hash"])]


# ----------------------------------------------------------------------------------------------------------------------


async def entry_of(admin: asyncpg.Connection, trail: Trail, batch: int) -> int:
    found = await admin.fetchval(
        "select entry_ids[2] from audit.batches where tenant_id = $1 and number = $2", trail.company.tenant_id, batch
    )
    assert found is not None
    return found


CHANGES = {
    "changes": "changes || '{\"n\": 2}'",
    "person_id": "gen_random_uuid()",
    "request_id": "'another'",
    "action": "'download'",
    "object_id": "'another'",
    "project_id": "gen_random_uuid()",
    "database_role": "'postgres'",
    "key_id": "gen_random_uuid()",
}


@pytest.mark.parametrize("column", CHANGES)
async def test_a_changed_entry_is_named(db, trail: Trail, admin, column: str) -> None:
    await several_batches(db, trail, admin)
    entry_id = await entry_of(admin, trail, 2)
    await admin.execute(f"update audit.entries set {column} = {CHANGES[column]} where entry_id = $1", entry_id)
    (finding,) = await trail.findings()
    assert finding.startswith(f"entry {entry_id} was changed (batch 2)")


async def test_an_entry_moved_in_time_is_named_at_both_places(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    entry_id = await entry_of(admin, trail, 2)
    await admin.execute(
        "update audit.entries set occurred_at = occurred_at - interval '1 s' where entry_id = $1", entry_id
    )
    removed, inserted = await trail.findings()
    assert removed == f"entry {entry_id} was removed (batch 2)"
    assert inserted.startswith(f"entry {entry_id} was inserted")


async def test_a_removed_entry_is_named(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    entry_id = await entry_of(admin, trail, 3)
    await admin.execute("delete from audit.entries where entry_id = $1", entry_id)
    assert await trail.findings() == [f"entry {entry_id} was removed (batch 3)"]


async def test_an_inserted_entry_is_named(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    entry_id = await admin.fetchval(
        """insert into audit.entries (tenant_id, database_role, action, object_type, object_id, changes)
        values ($1, 'buildpeer_app', 'download', 'documents', 'x', '{}') returning entry_id""",
        trail.company.tenant_id,
    )
    assert await trail.findings() == [f"entry {entry_id} was inserted; it says: download documents x"]


async def test_a_copy_of_an_entry_under_its_own_number_is_named(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    entry_id = await entry_of(admin, trail, 2)
    await admin.execute(
        """insert into audit.entries (tenant_id, occurred_at, entry_id, database_role, action, object_type, object_id,
          changes) overriding system value
        select tenant_id, occurred_at + interval '1 h', entry_id, database_role, action, object_type, 'x', changes
        from audit.entries where entry_id = $1""",
        entry_id,
    )
    assert await trail.findings() == [f"entry {entry_id} was inserted; it says: export documents x"]


async def test_an_entry_removed_before_it_was_sealed_is_named(db, trail: Trail, admin) -> None:
    await trail.seal()
    await write(db, trail.company, 2)
    entry_id = max([row["entry_id"] for row in await rows(admin, trail, "entries")])
    await admin.execute("delete from audit.entries where entry_id = $1", entry_id)
    assert await trail.findings() == [f"entry {entry_id} was removed before it was sealed"]
    await trail.seal()
    (finding,) = await trail.findings()
    assert finding.startswith(f"entry {entry_id} was removed before it was sealed (batch")


async def test_an_entry_that_nobody_sealed_for_long_is_named(db, trail: Trail, admin) -> None:
    await trail.seal()
    await write(db, trail.company)
    old = "occurred_at = occurred_at - interval '20 min' where tenant_id = $1 and "
    tenant_id = trail.company.tenant_id
    entry_id = await admin.fetchval("select entry_ids[1] from audit.pending where tenant_id = $1", tenant_id)
    await admin.execute(f"update audit.entries set {old} entry_id = $2", tenant_id, entry_id)
    await admin.execute(f"update audit.pending set {old} true", tenant_id)
    assert await trail.findings() == [f"entry {entry_id} has not been sealed for 20 minutes"]


async def test_an_entry_changed_together_with_its_leaf_still_shows(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    entry_id = await entry_of(admin, trail, 2)
    await admin.execute("update audit.entries set object_id = 'x' where entry_id = $1", entry_id)
    await admin.execute(
        """update audit.batches b set leaves = overlay(b.leaves placing
          (select sha256('\\x00'::bytea || convert_to(audit.canonical(e), 'UTF8'))
           from audit.entries e where entry_id = $2) from 33) where tenant_id = $1 and number = 2""",
        *(trail.company.tenant_id, entry_id),
    )
    assert await trail.findings() == ["batch 2 was changed: its leaves do not give its root"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("root = sha256(root)", "was changed: its hash is another"),
        ("sealed_at = sealed_at - interval '1 h'", "was changed: its hash is another"),
        ("entries = entries + 1", "was changed: its hash is another"),
        ("previous = sha256(previous)", "does not follow on the batch before it"),
        ("hash = sha256(hash)", "was changed: its hash is another"),
        ("entry_ids = entry_ids[1:2]", "was changed: it does not list as many entries as it sealed"),
    ],
)
async def test_a_changed_batch_is_named(db, trail: Trail, admin, change: str, problem: str) -> None:
    await several_batches(db, trail, admin)
    await admin.execute(
        f"update audit.batches set {change} where tenant_id = $1 and number = 2", trail.company.tenant_id
    )
    assert f"batch 2 {problem}" in await trail.findings()


async def test_a_removed_batch_and_its_entries_are_named(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    entry_id = await entry_of(admin, trail, 2)
    await admin.execute("delete from audit.batches where tenant_id = $1 and number = 2", trail.company.tenant_id)
    findings = await trail.findings()
    assert "batch 2 is missing" in findings
    assert f"entry {entry_id} was inserted; it says: export documents 1" in findings


async def test_reordered_batches_are_named(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    for old, new in ((2, 99), (3, 2), (99, 3)):
        await admin.execute(
            "update audit.batches set number = $3 where tenant_id = $1 and number = $2",
            *(trail.company.tenant_id, old, new),
        )
    findings = await trail.findings()
    for number in (2, 3):
        assert f"batch {number} was changed: its hash is another" in findings
        assert f"batch {number} does not follow on the batch before it" in findings


async def cut_tail(admin: asyncpg.Connection, trail: Trail, after: int) -> None:
    """Remove the last batches with their entries, and every note of them in the database."""
    tenant_id = trail.company.tenant_id
    await admin.execute(
        """delete from audit.entries where tenant_id = $1 and entry_id in (
          select unnest(entry_ids) from audit.batches where tenant_id = $1 and number > $2)""",
        *(tenant_id, after),
    )
    await admin.execute("delete from audit.batches where tenant_id = $1 and number > $2", tenant_id, after)
    await admin.execute(
        """update audit.heads h set number = b.number, hash = b.hash, sealed_at = b.sealed_at, published = b.number
        from audit.batches b where h.tenant_id = $1 and b.tenant_id = $1 and b.number = $2""",
        *(tenant_id, after),
    )


async def test_a_tail_cut_off_without_a_trace_is_named_by_the_second_place(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    await cut_tail(admin, trail, after=2)
    assert await trail.findings() == [
        "batch 3 is missing",
        "batch 4 is missing, and its seal lies in the second place",
    ]


async def test_a_tail_cut_off_and_written_anew_is_named_by_the_second_place(db, trail: Trail, admin) -> None:
    await several_batches(db, trail, admin)
    await cut_tail(admin, trail, after=2)
    for _ in range(2):
        await write(db, trail.company)
        await trail.seal()
    assert await trail.findings() == ["batch 4 is not the one whose seal lies in the second place"]


async def test_a_seal_that_is_missing_in_the_second_place_is_named_after_a_while(db, trail: Trail, admin) -> None:
    await write(db, trail.company)
    await admin.fetchval("select audit.seal($1)", trail.company.tenant_id)
    assert await trail.findings() == []
    tenant_id = trail.company.tenant_id
    seals = service.verify(
        trail._auditor[0],
        [],
        tenant_id=tenant_id,
        now=(await rows(admin, trail, "batches"))[0]["sealed_at"] + timedelta(hours=1),
        progress=lambda _done, _total: None,
    )
    assert [f"{f.what} {f.number} {f.problem}" async for f in seals] == ["seal 1 does not lie in the second place"]


# ----------------------------------------------------------------------------------------------------------------------


async def test_the_second_place_holds_no_personal_data(db, trail: Trail, stack: Stack) -> None:
    await write(db, trail.company)
    await trail.seal()
    s3 = stack.ministack.client("s3")
    (found,) = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"seals/{trail.company.tenant_id}/")["Contents"]
    seal = msgspec.json.decode(s3.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read())
    assert set(seal) == {"v", "tenant_id", "number", "hash", "sealed_at"}


async def test_only_the_worker_lays_seals_and_nobody_removes_them(
    db, trail: Trail, worker_clients: Clients, api_clients: Clients, auditor_storage: Storage, stack: Stack
) -> None:
    await write(db, trail.company)
    await trail.seal()
    s3 = stack.ministack.client("s3")
    (found,) = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"seals/{trail.company.tenant_id}/")["Contents"]

    async def refused(call: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(ClientError) as error:
            await call()
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    new = {"bucket": BUCKET, "key": "seals/x/1.json", "content": b"{}", "content_type": "application/json"}
    for storage in (api_clients.storage, auditor_storage):
        await refused(lambda storage=storage: storage.put_once(**new))
    for storage in (api_clients.storage, auditor_storage, worker_clients.storage):
        await refused(lambda s=storage: s._call("delete_object", Bucket=BUCKET, Key=found["Key"]))
    assert not await worker_clients.storage.put_once(**(new | {"key": found["Key"]}))


@pytest.fixture
async def before_machines(admin_url: str) -> AsyncIterator[str]:
    """A database of its own, as it was before entries could name a machine."""
    admin = await asyncpg.connect(admin_url)
    await admin.execute("drop database if exists old_trail_test with (force)")
    await admin.execute("create database old_trail_test")
    url = admin_url.rsplit("/", 1)[0] + "/old_trail_test"
    await migrate.migrate(url, list(itertools.takewhile(lambda m: m.name != "second_step", migrate.read())))
    yield url
    await admin.execute("drop database old_trail_test with (force)")
    await admin.close()


async def test_what_was_sealed_before_machines_had_a_name_is_still_as_it_was_sealed(before_machines: str) -> None:
    admin = await asyncpg.connect(before_machines)
    tenant_id = uuid4()

    async def write_and_seal() -> None:
        await admin.execute("update tenants set name = name || 'x' where tenant_id = $1", tenant_id)
        assert await admin.fetchval("select audit.seal($1)", tenant_id) > 0

    await admin.execute("insert into tenants (tenant_id, name) values ($1, 'Obra')", tenant_id)
    await write_and_seal()
    await migrate.migrate(before_machines, migrate.read())
    await write_and_seal()
    async with admin.transaction():
        await admin.execute("select set_config('app.key_id', $1, true)", str(uuid4()))
        await write_and_seal()
    db = await Database.connect(before_machines, size=1, role="buildpeer_audit")
    found = service.verify(db, [], tenant_id=tenant_id, now=clock.now(), progress=lambda _done, _total: None)
    assert [finding async for finding in found] == []
    assert await admin.fetchval("select count(*) from audit.entries where key_id is not null") == 1
    await admin.execute("update audit.entries set key_id = gen_random_uuid() where key_id is null")
    found = service.verify(db, [], tenant_id=tenant_id, now=clock.now(), progress=lambda _done, _total: None)
    assert len([finding async for finding in found]) == 3
    await db.close()
    await admin.close()
