"""Every statement of every store is prepared against the real schema, and no SQL is newer than Aurora may be."""

import importlib
import pkgutil
import re
from pathlib import Path

import asyncpg
import pytest

import buildpeer.modules
from buildpeer.platform import db

ROOT = Path(__file__).parents[2]
NEWER_THAN_17 = ("uuidv7(", "without overlaps", "virtual generated", "old_value", "casefold(", "array_sort(")


def statements() -> dict[str, str]:
    found = {"platform.db._BEGIN": db._BEGIN, "platform.db._OUTBOX": db._OUTBOX, "platform.db._MAIL": db._MAIL}
    for module in pkgutil.walk_packages(buildpeer.modules.__path__, "buildpeer.modules."):
        place = module.name.removeprefix("buildpeer.modules.").split(".")
        if "store" not in place:
            continue
        store = importlib.import_module(module.name)
        name = ".".join(part for part in place if part != "store")
        named = {
            key: sql
            for key, sql in vars(store).items()
            if isinstance(sql, str) and key.isupper() and key[0] != "_" and key != "COLUMNS"
        }
        found |= {f"{name}.{key}": sql for key, sql in named.items()}
    return found


@pytest.mark.parametrize("name", sorted(statements()))
async def test_a_statement_fits_the_schema(admin: asyncpg.Connection, name: str) -> None:
    await admin.prepare(statements()[name])


def test_sql_stands_in_stores_only() -> None:
    query = re.compile(r'"\s*(select|insert|update|delete)\s+\S+\s', re.IGNORECASE)
    allowed = {"store.py", "db.py", "migrate.py"}
    offenders = [
        str(path)
        for room in ("modules", "entrypoints", "platform")
        for path in (ROOT / "src" / "buildpeer" / room).rglob("*.py")
        if path.name not in allowed
        and path.parent.name != "store"
        and query.search(path.read_text().replace('"select 1"', "").replace('"select audit', ""))
    ]
    assert offenders == []


def test_no_sql_needs_a_postgres_that_aurora_may_not_have() -> None:
    texts = [path.read_text() for path in (ROOT / "migrations").glob("*.sql")] + list(statements().values())
    for text in texts:
        for word in NEWER_THAN_17:
            assert word not in text.lower(), word
