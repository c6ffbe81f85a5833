"""Migrations: numbered SQL files, applied in order, once, forward only."""

import hashlib
from pathlib import Path

import asyncpg
import msgspec
import structlog

FOLDER = Path(__file__).parents[3] / "migrations"
_LIMITS = {"lock_timeout": "10s", "statement_timeout": "10min", "timezone": "UTC"}
_LOCK = 0x6275696C64  # "build": two deployments at once wait for each other

_log = structlog.get_logger()

_TABLE = """
create table if not exists schema_migrations (
  number int primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now()
)
"""


class MigrationError(RuntimeError):
    """The migrations on disk and those in the database don't fit together."""


class Migration(msgspec.Struct, frozen=True):
    """One file: its number, name, text and the hash that proves it was not changed after it ran."""

    number: int
    name: str
    sql: str
    sha256: str


def read(folder: Path = FOLDER) -> list[Migration]:
    """The migrations of a folder, by number.

    Raises MigrationError unless they are numbered 1, 2, 3 … without a gap.
    """
    migrations = [_read(path) for path in sorted(folder.glob("*.sql"))]
    numbers = [migration.number for migration in migrations]
    if numbers != list(range(1, len(numbers) + 1)):
        raise MigrationError(f"migrations are numbered {numbers}; expected 1, 2, 3 … without a gap")
    return migrations


async def migrate(admin_url: str, migrations: list[Migration]) -> list[str]:
    """Apply what the database at `admin_url` lacks, each file in a transaction of its own.

    Returns the names of those applied. Raises MigrationError when a file that ran has been changed or is missing.
    """
    connection = await asyncpg.connect(admin_url, server_settings=_LIMITS)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(_TABLE)
        rows = await connection.fetch("select number, sha256 from schema_migrations")
        ran = {row["number"]: row["sha256"] for row in rows}
        _check(migrations, ran)
        return [await _apply(connection, migration) for migration in migrations if migration.number not in ran]
    finally:
        await connection.close()


def _read(path: Path) -> Migration:
    number, _, name = path.stem.partition("_")
    if not number.isdecimal():
        raise MigrationError(f"{path.name} does not begin with a number")
    text = path.read_text(encoding="utf-8")
    return Migration(int(number), name, text, hashlib.sha256(text.encode()).hexdigest())


def _check(migrations: list[Migration], ran: dict[int, str]) -> None:
    known = {migration.number: migration.sha256 for migration in migrations}
    for number, sha256 in ran.items():
        if known.get(number) != sha256:
            raise MigrationError(f"migration {number} has been changed or removed after it ran; write a new one")


async def _apply(connection: asyncpg.Connection, migration: Migration) -> str:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "insert into schema_migrations (number, name, sha256) values ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.sha256,
        )
    _log.info("migration_applied", number=migration.number, name=migration.name)
    return migration.name
