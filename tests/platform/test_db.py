import asyncio

import asyncpg
import pytest

from buildpeer.platform import migrate
from buildpeer.platform.db import Database, Scope, ScopeError
from buildpeer.platform.migrate import MigrationError


async def test_a_transaction_without_tenant_or_person_is_refused(db: Database) -> None:
    with pytest.raises(ScopeError):
        async with db.transaction(Scope(None, None)):
            pass


async def test_across_tenants_no_row_is_in_sight(db: Database, worker_db: Database, company) -> None:
    for database in (db, worker_db):
        async with database.across_tenants() as tx:
            assert await tx.value("select count(*) from projects") == 0
            with pytest.raises(ScopeError):
                _ = tx.tenant_id


async def test_a_broken_or_cancelled_transaction_leaves_no_tenant_behind(db: Database, company) -> None:
    caller = await company.hire("owner")
    scope = Scope(company.tenant_id, caller.person_id)

    async def broken(how: int) -> None:
        async with db.transaction(scope) as tx:
            assert await tx.value("select count(*) from projects") == 2
            if how == 0:
                await tx.run("select 1 / 0")
            if how == 1:
                raise RuntimeError
            await tx.run("select pg_sleep(10)")

    async def cut(how: int) -> None:
        task = asyncio.create_task(broken(how))
        await asyncio.wait([task], timeout=0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def look() -> None:
        async with db.across_tenants() as tx:
            assert await tx.value("select coalesce(current_setting('app.tenant_id', true), '')") == ""
            assert await tx.value("select count(*) from projects") == 0

    await asyncio.gather(*(cut(n % 3) for n in range(30)), *(look() for _ in range(30)))
    await asyncio.gather(*(look() for _ in range(30)))


async def test_what_a_rolled_back_transaction_announces_is_never_told(db: Database, company, admin) -> None:
    from buildpeer.platform.messaging import LOG, Outgoing

    caller = await company.hire("owner")
    with pytest.raises(RuntimeError):
        async with db.transaction(Scope(company.tenant_id, caller.person_id)) as tx:
            await tx.announce([Outgoing(LOG, "test", {}, company.tower)])
            raise RuntimeError
    assert await admin.fetchval("select count(*) from outbox where tenant_id = $1", company.tenant_id) == 0


async def test_migrations_run_once_and_refuse_a_changed_past(admin_url: str, tmp_path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in migrate.FOLDER.glob("*.sql"):
        (folder / path.name).write_text(path.read_text())
    assert await migrate.migrate(admin_url, migrate.read(folder)) == []
    (folder / "0001_foundation.sql").write_text("select 1")
    with pytest.raises(MigrationError, match="1 has been changed"):
        await migrate.migrate(admin_url, migrate.read(folder))


@pytest.mark.parametrize("names", [["0001_a.sql", "0003_b.sql"], ["0002_a.sql"], ["first.sql"]])
def test_migrations_are_numbered_without_a_gap(tmp_path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("select 1")
    with pytest.raises(MigrationError):
        migrate.read(tmp_path)


async def test_a_migration_that_fails_leaves_nothing(admin_url: str, admin: asyncpg.Connection) -> None:
    good = migrate.read()
    broken = migrate.Migration(len(good) + 1, "broken", "create table half (x int); select nonsense", "-")
    with pytest.raises(asyncpg.PostgresError):
        await migrate.migrate(admin_url, [*good, broken])
    assert await admin.fetchval("select to_regclass('half')") is None
