import asyncio
import random

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


LEFT_BEHIND = """
select coalesce(current_setting('app.tenant_id', true), '') || coalesce(current_setting('app.person_id', true), '')
  || coalesce(current_setting('app.request_id', true), '') as settings, current_setting('role') as role,
  (select count(*) from projects) as rows,
  (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') as locks
"""
ENDS = {
    "commits": "select 1",
    "fails": "select 1 / 0",
    "takes too long": "set local statement_timeout = 1; select pg_sleep(10)",
    "waits": "select pg_sleep(0.01)",
    "loses its connection": "select pg_terminate_backend(pg_backend_pid())",
    "holds a lock": "select pg_advisory_xact_lock(1)",
}


class Storm:
    """Transactions of several people on few connections, which end in every way there is and at any moment; and looks
    in between, by whoever gets a connection next.
    """

    def __init__(self, db: Database, scopes: list[Scope], seed: int) -> None:
        self.db, self.scopes, self.rng = db, scopes, random.Random(seed)
        self.seen = 0

    async def blow(self, transactions: int) -> None:
        await asyncio.gather(*(self._one(self.rng.random() * 0.5) for _ in range(transactions)))
        await asyncio.gather(*(self._look() for _ in range(20)))

    async def _one(self, delay: float) -> None:
        await asyncio.sleep(delay)
        serving = asyncio.create_task(self._serve(self.rng.choice(self.scopes), self.rng.choice(list(ENDS))))
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):  # cancelled again while it is rolled back
            await asyncio.wait([serving], timeout=self.rng.random() * 0.02)
            serving.cancel()
        [outcome] = await asyncio.gather(serving, return_exceptions=True)
        if isinstance(outcome, AssertionError):
            raise outcome
        await self._look()

    async def _serve(self, scope: Scope, end: str) -> None:
        async with self.db.transaction(scope) as tx:
            for row in await tx.all("select tenant_id from projects"):
                assert row["tenant_id"] == scope.tenant_id
                self.seen += 1
            await tx.run(ENDS[end])
            if self.rng.random() < 0.3:
                raise RuntimeError

    async def _look(self) -> None:
        if self.rng.random() < 0.5:
            [left] = await self.db.call(LEFT_BEHIND)
        else:
            async with self.db.across_tenants() as tx:
                left = await tx.one(LEFT_BEHIND)
        assert tuple(left) == ("", "none", 0, 0)


@pytest.mark.parametrize("seed", range(3))
async def test_however_transactions_end_the_next_one_finds_nothing_of_them(settings, found_company, seed: int) -> None:
    companies = [await found_company() for _ in range(3)]
    scopes = [Scope(each.tenant_id, (await each.hire("owner")).person_id, "request") for each in companies]
    db = await Database.connect(settings.database_url, size=3)
    storm = Storm(db, scopes, seed)
    await storm.blow(300)
    await db.close()
    assert storm.seen > 50


async def test_a_setting_that_outlives_its_transaction_would_be_found(settings, company, monkeypatch) -> None:
    """`reset=_nothing_to_reset` is right only while nothing is set for longer than a transaction."""
    session_wide = """select null::text as role, false as session_ended, set_config('app.tenant_id', $1, false),
      set_config('app.person_id', $2, false), set_config('app.request_id', $3, false), $4::uuid, $5::uuid"""
    monkeypatch.setattr("buildpeer.platform.db._BEGIN", session_wide)
    scope = Scope(company.tenant_id, (await company.hire("owner")).person_id)
    db = await Database.connect(settings.database_url, size=3)
    with pytest.raises(AssertionError):
        await Storm(db, [scope], 0).blow(50)
    await asyncio.gather(*(t for t in asyncio.all_tasks() if "Storm" in repr(t)), return_exceptions=True)
    await db.close()


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
