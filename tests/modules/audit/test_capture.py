"""What gets into the trail, what never does, and that nobody gets anything out of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from tests.conftest import Company

from buildpeer.local.stack import Stack
from buildpeer.modules.audit import service
from buildpeer.platform import migrate
from buildpeer.platform.db import Database, Scope

ROLES = ("buildpeer_app", "buildpeer_worker", "buildpeer_owner", "buildpeer_system", "buildpeer_audit")
TABLES = ("audit.entries", "audit.batches", "audit.entries_rest")


async def state(admin: asyncpg.Connection) -> tuple[int, ...]:
    return tuple([await admin.fetchval(f"select count(*) from {table}") for table in TABLES])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "update audit.entries set action = 'forged'",
        "delete from audit.entries",
        "truncate audit.entries",
        "truncate audit.entries_rest",
        "update audit.batches set root = hash",
        "delete from audit.batches",
        "truncate audit.batches",
    ],
)
async def test_no_role_changes_or_removes_what_is_in_the_trail(
    company: Company, admin: asyncpg.Connection, role: str, statement: str
) -> None:
    """Most lack the right; the owner of the tables has no policy to do it but for erased tenants: it reaches no row."""
    await admin.fetchval("select audit.seal($1)", company.tenant_id)
    before = await state(admin)
    transaction = admin.transaction()
    await transaction.start()
    try:
        await admin.execute("delete from tenant_erasures")  # of other tests
        await admin.execute(f"set local role {role}")
        done = await admin.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        done = "refused"
    finally:
        await transaction.rollback()
    assert done in ("refused", "UPDATE 0", "DELETE 0")
    if role != "buildpeer_audit" or statement.startswith("truncate"):
        assert done == "refused"
    assert await state(admin) == before


@pytest.mark.parametrize("role", ROLES[:4])
@pytest.mark.parametrize("table", ["entries", "pending", "batches", "heads"])
async def test_nobody_but_the_trails_own_role_writes_to_it(admin: asyncpg.Connection, role: str, table: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with admin.transaction():
            await admin.execute(f"set local role {role}")
            await admin.execute(f"insert into audit.{table} (tenant_id) values (gen_random_uuid())")


async def test_no_argument_says_who_when_which_company_or_which_request(db: Database, company: Company, admin) -> None:
    """`audit.record` has no such parameter, its helper is closed to the api, and details are only details."""
    caller = await company.hire()
    forged = {"person_id": "x", "occurred_at": "1999-01-01", "tenant_id": "x", "request_id": "x"}
    began = datetime.now(UTC)
    async with db.transaction(Scope(company.tenant_id, caller.person_id, "r-7")) as tx:
        await tx.run("select audit.record('export', 'documents', 'x', $1)", forged)
    entry = await admin.fetchrow(
        "select * from audit.entries where tenant_id = $1 and action = 'export'", company.tenant_id
    )
    assert (entry["person_id"], entry["request_id"]) == (caller.person_id, "r-7")
    assert entry["occurred_at"] >= began
    for sql in (
        "select audit.note(gen_random_uuid(), gen_random_uuid(), 'x', 'x', 'x', '{}', null)",
        "select audit.seal(gen_random_uuid())",
        "select audit.published(gen_random_uuid(), 1)",
        "select audit.settle_rest(1)",
        "select audit.capture_rows()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with db.transaction(caller.scope) as tx:
                await tx.run(sql)
    for action in ("insert", "update", "delete", "Sign in", "x" * 41, ""):
        with pytest.raises(asyncpg.RaiseError):
            async with db.transaction(caller.scope) as tx:
                await tx.run("select audit.record($1, 'documents', 'x', '{}')", action)


@pytest.fixture
async def watched(admin: asyncpg.Connection) -> AsyncIterator[str]:
    """A table under audit with a secret, a quiet column, and a key of two columns."""
    await admin.execute(
        """set role buildpeer_owner;
        create table watched_test (tenant_id uuid, a int, b int, name text, pin_hash text, seen_at timestamptz,
          primary key (tenant_id, a, b));
        select audit.watch('watched_test', 'a,b', 'seen_at', 'pin_hash');
        reset role"""
    )
    yield "watched_test"
    await admin.execute("drop table watched_test")


async def test_before_and_after_are_kept_and_secrets_never(watched: str, company: Company, admin: Any) -> None:
    tenant = company.tenant_id
    await admin.execute(
        f"insert into {watched} values ($1, 1, 2, 'x', 'hunter2', now()), ($1, 1, 3, 'y', 'hunter2', now())", tenant
    )
    await admin.execute(f"update {watched} set seen_at = '2020-01-01' where tenant_id = $1", tenant)
    await admin.execute(
        f"update {watched} set name = null, pin_hash = 'hunter3' where b = 2 and tenant_id = $1", tenant
    )
    await admin.execute(f"delete from {watched} where b = 2 and tenant_id = $1", tenant)
    rows = await admin.fetch(
        """select action, object_id, changes::text from audit.entries
        where object_type = $1 and tenant_id = $2 order by entry_id""",
        *(watched, tenant),
    )
    told = [(row["action"], row["object_id"], json.loads(row["changes"])) for row in rows]
    assert [(action, name) for action, name, _ in told] == [
        ("insert", "1/2"),
        ("insert", "1/3"),
        ("update", "1/2"),
        ("delete", "1/2"),
    ]
    assert "hunter" not in repr(told)
    assert told[2][2] == {"name": ["x", None], "pin_hash": ["(secret)", "(secret)"]}
    assert {k: v for k, v in told[3][2].items() if k in ("a", "b", "pin_hash")} == {"a": 1, "b": 2}
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await admin.execute(f"truncate {watched}")


# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def fresh(stack: Stack, admin_url: str) -> AsyncIterator[str]:
    """A database of its own, since partitions are everybody's."""
    admin = await asyncpg.connect(admin_url)
    await admin.execute("drop database if exists partitions_test with (force)")
    await admin.execute("create database partitions_test")
    url = admin_url.rsplit("/", 1)[0] + "/partitions_test"
    await migrate.migrate(url, migrate.read())
    yield url
    await admin.execute("drop database partitions_test with (force)")
    await admin.close()


ENTRY = """insert into audit.entries (tenant_id, occurred_at, database_role, action, object_type, object_id, changes)
select gen_random_uuid(), $1::timestamptz + n * interval '1 ms', 'r', 'a', 't', n::text, '{}'
from generate_series(1, $2::int) n"""
MONTHS = """select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'audit.entries'::regclass and c.relname <> 'entries_rest'"""


async def test_a_month_that_began_in_the_default_partition_gets_one_of_its_own_while_people_write(
    fresh: str, stack: Stack
) -> None:
    admin = await asyncpg.connect(fresh)
    now = await admin.fetchval("select date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'")
    for table in await admin.fetch(MONTHS):
        await admin.execute(f"drop table audit.{table['relname']}")
    years_ahead = now.replace(year=now.year + 10)
    await admin.execute(ENTRY, now, 5000)
    await admin.execute(ENTRY, years_ahead, 7)
    worker = await Database.connect(
        stack.env("worker")["BUILDPEER_DATABASE_URL"].rsplit("/", 1)[0] + "/partitions_test"
    )
    waited: list[float] = []
    writing = True

    async def write() -> int:
        connection, count, loop = await asyncpg.connect(fresh), 0, asyncio.get_running_loop()
        while writing:
            began = loop.time()
            await connection.execute(ENTRY, now, 1)
            waited.append(loop.time() - began)
            count += 1
        await connection.close()
        return count

    writers = [asyncio.create_task(write()) for _ in range(3)]
    moved = [n for _ in range(40) if (n := (await worker.call("select audit.settle_rest(500)"))[0][0])]
    await service.keep_partitions(worker)
    writing = False
    written = sum(await asyncio.gather(*writers))
    assert len(moved) > 2, "it was done step by step"
    assert max(waited) < 2
    assert await admin.fetchval("select count(*) from audit.entries") == 5007 + written
    assert await admin.fetchval("select count(distinct (tenant_id, entry_id)) from audit.entries") == 5007 + written
    assert await admin.fetchval("select count(*) from audit.entries_rest") == 0
    here, far = (f"audit.entries_{time:%Y_%m}" for time in (now, years_ahead))
    assert await admin.fetchval(f"select count(*) from {here}") == 5000 + written
    assert await admin.fetchval(f"select count(*) from {far}") == 7
    assert await admin.fetchval("select to_regclass('audit.entries_moved')") is None
    await service.keep_partitions(worker)
    months = await admin.fetchval("select count(*) from pg_inherits where inhparent = 'audit.entries'::regclass")
    assert months == 1 + 1 + 3 + 1, "this month, three ahead, the far one, and the default"
    forced = await admin.fetch(
        """select relrowsecurity and relforcerowsecurity as ok from pg_class
        where relname like 'entries_%' and relkind = 'r'"""
    )
    assert all(row["ok"] for row in forced)
    await worker.close()
    await admin.close()
