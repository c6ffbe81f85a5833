"""Postgres: transactions that know whose they are.

Every transaction begins by saying, in one statement and for itself alone, which tenant, person and request it
serves; row-level security does the rest. The pattern is that of Supabase Storage's `database/postgres/scope.ts`.
"""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import asyncpg
import msgspec

from buildpeer.platform import mail, messaging
from buildpeer.platform.errors import Problem

POOL_WAIT_S = 10.0
FIRST_PAGE = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))  # where lists begin that show the newest first
_ROWS_AHEAD = 500
# What triggers raise, whatever door somebody comes through.
_REFUSED = {
    "BP001": "tenant_suspended",
    "BP002": "project_archived",
    "BP003": "location_cycle",
    "BP004": "location_too_deep",
    "BP005": "folder_cycle",
    "BP006": "folder_too_deep",
}
_BEGIN = "select role, session_ended from app.enter($1, $2, $3, $4, $5)"
_OUTBOX = """
insert into outbox (tenant_id, destination, project_id, person_id, type, body)
select (r ->> 'tenant_id')::uuid, r ->> 'destination', (r ->> 'project_id')::uuid, (r ->> 'person_id')::uuid,
  r ->> 'type', r -> 'body'
from jsonb_array_elements($1::jsonb) with ordinality as u (r, o) order by o
"""
_MAIL = """
insert into mails (mail_id, template, recipient, locale, known_only, facts)
select (m ->> 'mail_id')::uuid, m ->> 'template', lower(m ->> 'recipient'), m ->> 'locale',
  (m ->> 'known_only')::boolean, m -> 'facts'
from jsonb_array_elements($1::jsonb) as m
"""


class ScopeError(RuntimeError):
    """A transaction was asked for without saying for whom."""


class Scope(msgspec.Struct, frozen=True):
    """Whom a transaction serves: a person in a tenant, or BuildPeer itself in a tenant (`person_id` None),
    or a person before any tenant is chosen (`tenant_id` None). `session_id` is the sign-in that they call by,
    `key_id` the key, where a machine acts for them.
    """

    tenant_id: UUID | None
    person_id: UUID | None
    request_id: str = ""
    session_id: UUID | None = None
    key_id: UUID | None = None


class Transaction:
    """An open transaction; a thin cover of asyncpg's connection that can also announce.

    `role` is what its person is in its tenant as it begins; None: nothing.
    """

    def __init__(self, connection: Any, scope: Scope | None) -> None:
        self._connection = connection
        self.scope = scope
        self.role: str | None = None
        self._announced: list[dict[str, Any]] = []

    @property
    def tenant_id(self) -> UUID:
        """The tenant of this transaction; ScopeError if it has none."""
        if self.scope is None or self.scope.tenant_id is None:
            raise ScopeError("this transaction has no tenant")
        return self.scope.tenant_id

    @property
    def person_id(self) -> UUID:
        """The person of this transaction; ScopeError if it is BuildPeer's own."""
        if self.scope is None or self.scope.person_id is None:
            raise ScopeError("this transaction has no person")
        return self.scope.person_id

    async def all(self, sql: str, *args: Any) -> list[Any]:
        """Every row."""
        return await self._connection.fetch(sql, *args)

    async def one(self, sql: str, *args: Any) -> Any | None:
        """The first row, or None."""
        return await self._connection.fetchrow(sql, *args)

    async def value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._connection.fetchval(sql, *args)

    async def run(self, sql: str, *args: Any) -> None:
        """Run a statement whose rows nobody wants."""
        await self._connection.execute(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement, and give Postgres's word on it, which ends with how many rows it touched."""
        return await self._connection.execute(sql, *args)

    async def stream(self, sql: str, *args: Any) -> AsyncGenerator[Any, None]:
        """The rows one by one, however many; only a few hundred are here at a time."""
        async for row in self._connection.cursor(sql, *args, prefetch=_ROWS_AHEAD):
            yield row

    async def announce(self, messages: Iterable["messaging.Outgoing"]) -> None:
        """Leave messages in the outbox; they go out once this transaction has committed, in this order.

        They are written together, at its end, or before it goes on for somebody else.
        """
        self._announced += [{"tenant_id": self.tenant_id, **msgspec.to_builtins(message)} for message in messages]

    async def write_announced(self) -> None:
        """Write what was announced so far; the transaction's end does, before it commits."""
        rows, self._announced = self._announced, []
        if rows:
            await self.run(_OUTBOX, rows)

    async def serve(self, scope: Scope) -> None:
        """Go on for somebody else: what a transaction does once it has found out whom it serves, or in which tenant.

        Raises Problem session_ended like the beginning of a transaction.
        """
        await self.write_announced()
        begun = await self.one(
            _BEGIN,
            _text(scope.tenant_id),
            _text(scope.person_id),
            scope.request_id[:200],
            scope.session_id,
            scope.key_id,
        )
        assert begun is not None  # noqa: S101 - a function's one row
        if begun["session_ended"]:
            raise Problem("session_ended")
        self.scope, self.role = scope, begun["role"]

    async def mail(self, *letters: "mail.Letter") -> None:
        """Leave e-mails to be sent once this transaction has committed."""
        await self.run(_MAIL, msgspec.to_builtins(letters))


class Database:
    """A pool of connections of one role."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, url: str, *, size: int = 10, role: str | None = None, snapshots: bool = False) -> Self:
        """Open a pool of at most `size` connections; `url` is a libpq address, `role` one to act in all the time. With
        `snapshots` a transaction sees the database as it was when it began.
        """
        settings = {"application_name": "buildpeer", "lock_timeout": "5000", "timezone": "UTC"}
        settings |= {"default_transaction_isolation": "repeatable read"} if snapshots else {}
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            init=_codecs,
            reset=_nothing_to_reset,
            command_timeout=30,
            server_settings=settings | ({"role": role} if role else {}),
        )
        return cls(pool)

    async def close(self) -> None:
        """Close every connection, waiting for those in use."""
        await self._pool.close()

    @contextlib.asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncGenerator[Transaction, None]:
        """One transaction for `scope`: commits when the block ends, rolls back when it raises.

        Raises ScopeError for a scope that names neither tenant nor person: it would see nothing, or the wrong thing;
        Problem session_ended for a session that has ended, whatever its access token still says, or a revoked key;
        Problem tenant_suspended or project_archived for writing to what may only be read, location_cycle,
        location_too_deep, folder_cycle or folder_too_deep for what would be no tree.
        """
        if scope.tenant_id is None and scope.person_id is None:
            raise ScopeError("a transaction needs a tenant or a person")
        async with self._begun() as connection:
            tx = Transaction(connection, scope)
            await tx.serve(scope)
            yield tx
            await tx.write_announced()

    @contextlib.asynccontextmanager
    async def across_tenants(self, request_id: str = "") -> AsyncGenerator[Transaction, None]:
        """A transaction without a tenant: it sees no tenant's rows and may only call the named functions."""
        async with self._begun() as connection:
            tx = Transaction(connection, None)
            if request_id:
                await tx.serve(Scope(None, None, request_id))
            yield tx
            await tx.write_announced()

    @contextlib.asynccontextmanager
    async def _begun(self) -> AsyncGenerator[Any, None]:
        try:
            async with self._pool.acquire(timeout=POOL_WAIT_S) as connection, connection.transaction():
                yield connection
        except asyncpg.PostgresError as exc:
            if (code := _REFUSED.get(getattr(exc, "sqlstate", "") or "")) is not None:
                raise Problem(code) from exc
            raise

    async def call(self, sql: str, *args: Any) -> list[Any]:
        """One statement across tenants, a transaction of its own: a third of the round trips, for what is polled."""
        async with self._pool.acquire(timeout=POOL_WAIT_S) as connection:
            return await connection.fetch(sql, *args)


def record(row: Any, shape: type[Any]) -> Any:
    """A database row as a msgspec struct of type `shape`, field by column name."""
    return msgspec.convert(dict(row), shape, strict=False, builtin_types=(bytes, UUID, datetime))


def records(rows: Sequence[Any], shape: type[Any]) -> list[Any]:
    """Database rows as structs of type `shape`."""
    return [record(row, shape) for row in rows]


def _text(value: UUID | None) -> str:
    return "" if value is None else str(value)


async def _nothing_to_reset(_connection: Any) -> None:
    """All that a transaction sets ends with it, so the usual round trip of a reset is saved."""


async def _codecs(connection: Any) -> None:
    def encode(value: Any) -> str:
        return msgspec.json.encode(value).decode()

    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=encode,
        decoder=msgspec.json.decode,
    )
