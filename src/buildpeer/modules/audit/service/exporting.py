"""Giving the trail away, so that whoever has it can prove what it says.

An export holds what is sealed when it begins, which is a fixed set however long it takes: each page is a transaction of
its own, that looks again whether the caller may read. It is at most a minute old.
"""

import contextlib
import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.audit import rules, store
from buildpeer.modules.audit.rules import Header, Wanted
from buildpeer.modules.audit.service.reading import Listed, named
from buildpeer.modules.audit.store import Batch
from buildpeer.modules.identity import facade as identity
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.signing import Signer

FORMAT = "buildpeer-audit-bundle-1"
_ENTRIES_AT_ONCE = 500
_HEADERS_AT_ONCE = 1000
_BATCHES_KEPT = 16
_COLUMNS = (
    "occurred_at",
    "local_time",
    "timezone",
    "person",
    "person_id",
    "machine",
    "key_id",
    "action",
    "object_type",
    "object_id",
    "project_id",
    "before",
    "after",
    "details",
    "request_id",
    "database_role",
    "entry_id",
    "batch",
)


Reading = Callable[[], AbstractAsyncContextManager[Transaction]]


class Exported(msgspec.Struct, frozen=True):
    """An export that has begun: of which tenant, who asked for what (None: an operator for all), when, and the newest
    batch of that moment.
    """

    tenant_id: UUID
    caller: Caller | None
    wanted: Wanted
    at: datetime
    head: Header | None


class _Sealed(msgspec.Struct, frozen=True):
    listed: Listed
    batch: Batch
    index: int


async def begin_export(db: Database, *, caller: Caller, wanted: Wanted, form: str, now: datetime) -> Exported:
    """Put the export into the trail, and fix what it holds. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "audit", "read")
        head = await store.last(tx)
        filters = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
        await store.record_export(tx, form, {"filters": filters, "up_to_batch": head.number if head else 0})
    return Exported(caller.tenant_id, caller, wanted, now, head)


async def csv_export(db: Database, exported: Exported) -> AsyncIterator[bytes]:
    """The entries as CSV for spreadsheets: UTF-8 with a mark, every cell quoted, none run as a formula."""
    yield "\ufeff".encode() + _csv_line(_COLUMNS)
    async for page in _pages(_reading(db, exported.caller), exported):
        yield b"".join(_csv_line(_row(sealed)) for sealed in page)


async def json_export(db: Database, exported: Exported, signer: Signer) -> AsyncIterator[bytes]:
    """The entries with all that proves them, signed; `docs/guides/audit.md` describes the bundle."""
    async for piece in _bundle(_reading(db, exported.caller), exported, signer):
        yield piece


async def whole_trail(tx: Transaction, signer: Signer, *, now: datetime) -> AsyncIterator[bytes]:
    """All of a tenant's trail that is sealed, as `json_export` gives it, but within the operator's one transaction,
    which sees no names.
    """

    @contextlib.asynccontextmanager
    async def the_same() -> AsyncGenerator[Transaction, None]:
        yield tx

    exported = Exported(tx.tenant_id, None, Wanted(), now, await store.last(tx))
    async for piece in _bundle(the_same, exported, signer):
        yield piece


async def _bundle(reading: Reading, exported: Exported, signer: Signer) -> AsyncIterator[bytes]:
    tree = rules.Tree()
    people: dict[UUID, str] = {}
    keys: dict[UUID, str] = {}
    first: int | None = None
    yield b'{"format":"%b","entries":[' % FORMAT.encode()
    async for page in _pages(reading, exported):
        lines: list[bytes] = []
        # One tree for each batch: one for each entry would keep everybody else waiting for most of a second.
        batches = {sealed.batch.number: sealed.batch for sealed in page}
        trees = {number: rules.levels(rules.split_leaves(batch.leaves)) for number, batch in batches.items()}
        for sealed in page:
            content = rules.canonical(sealed.listed.found.entry)
            path = rules.proof(trees[sealed.batch.number], sealed.index)
            lines.append((b",\n" if tree.size else b"\n") + _proved(content, sealed, path))
            tree.add(rules.leaf_hash(content))
            first = min(first or sealed.batch.number, sealed.batch.number)
            if sealed.listed.person_name and (person := sealed.listed.found.entry.person_id):
                people[person] = sealed.listed.person_name
            if sealed.listed.key_name and (key := sealed.listed.found.entry.key_id):
                keys[key] = sealed.listed.key_name
        yield b"".join(lines)
    yield b'\n],"batches":['
    if exported.head is not None:
        first = first or exported.head.number
        async for chunk in _headers(reading, first, exported.head.number):
            yield chunk
    statement = {
        "format": FORMAT,
        "tenant_id": exported.tenant_id,
        "exported_at": rules.stamp(exported.at),
        "exported_by": exported.caller.person_id if exported.caller else None,
        "filters": {k: v for k, v in msgspec.structs.asdict(exported.wanted).items() if v is not None},
        "entries": tree.size,
        "entries_root": tree.root().hex(),
        "head": _header(exported.head) if exported.head else None,
        "people": {str(person): name for person, name in people.items()},
        "keys": {str(key): name for key, name in keys.items()},
    }
    signed = signer.sign(msgspec.json.encode(statement))
    yield b'\n],"statement":%b,"public_key":%b}\n' % (msgspec.json.encode(signed), msgspec.json.encode(signer.public))


def _reading(db: Database, caller: Caller | None) -> Reading:
    """Transactions of a caller who may read the trail. Each raises Problem not_found once they may no more."""

    @contextlib.asynccontextmanager
    async def begin() -> AsyncGenerator[Transaction, None]:
        assert caller is not None  # noqa: S101 - who exports by the api is somebody
        async with db.transaction(caller.scope) as tx:
            identity.permit(tx, "audit", "read")
            yield tx

    return begin


async def _pages(reading: Reading, exported: Exported) -> AsyncIterator[list[_Sealed]]:
    """The sealed entries, oldest first. Raises Problem not_found when the caller loses the right meanwhile."""
    after: tuple[datetime, int] | None = None
    known: dict[int, Batch] = {}
    while exported.head is not None:
        async with reading() as tx:
            found = await store.onwards(tx, exported.wanted, after, _ENTRIES_AT_ONCE)
            places = _places(known.values())
            missing = [f.entry.entry_id for f in found if f.entry.entry_id not in places]
            fresh = await store.holding(tx, missing, exported.head.number) if missing else []
            listed = await named(tx, found) if exported.caller else [Listed(one, None, None) for one in found]
        known |= {batch.number: batch for batch in fresh}
        places = _places(known.values())
        yield [_Sealed(one, *places[one.found.entry.entry_id]) for one in listed if one.found.entry.entry_id in places]
        if len(found) < _ENTRIES_AT_ONCE:
            return
        after = (found[-1].entry.occurred_at, found[-1].entry.entry_id)
        known = dict(sorted(known.items())[-_BATCHES_KEPT:])


def _places(batches: Any) -> dict[int, tuple[Batch, int]]:
    return {entry_id: (batch, index) for batch in batches for index, entry_id in enumerate(batch.entry_ids)}


def _proved(content: bytes, sealed: _Sealed, path: list[bytes]) -> bytes:
    return msgspec.json.encode(
        {
            "entry": content.decode(),
            "batch": sealed.batch.number,
            "index": sealed.index,
            "proof": [step.hex() for step in path],
        }
    )


async def _headers(reading: Reading, first: int, last: int) -> AsyncIterator[bytes]:
    for start in range(first, last + 1, _HEADERS_AT_ONCE):
        async with reading() as tx:
            headers = await store.headers(tx, start, last, _HEADERS_AT_ONCE)
        lines = [(b"\n" if h.number == first else b",\n") + msgspec.json.encode(_header(h)) for h in headers]
        yield b"".join(lines)


def _header(header: Header) -> dict[str, Any]:
    return {
        "number": header.number,
        "entries": header.entries,
        "root": header.root.hex(),
        "previous": header.previous.hex(),
        "sealed_at": rules.stamp(header.sealed_at),
        "hash": header.hash.hex(),
    }


def _row(sealed: _Sealed) -> list[str]:
    entry, told = (
        sealed.listed.found.entry,
        rules.values(sealed.listed.found.entry.action, sealed.listed.found.entry.changes),
    )
    local = sealed.listed.found.local
    cells: list[Any] = [
        rules.stamp(entry.occurred_at),
        local.isoformat(sep=" ") if local else None,
        sealed.listed.found.timezone,
        sealed.listed.person_name,
        entry.person_id,
        sealed.listed.key_name,
        entry.key_id,
        entry.action,
        entry.object_type,
        entry.object_id,
        entry.project_id,
        _json(told.before),
        _json(told.after),
        _json(told.details),
        entry.request_id,
        entry.database_role,
        entry.entry_id,
        sealed.batch.number,
    ]
    return [rules.harmless("" if cell is None else str(cell)) for cell in cells]


def _json(told: dict[str, Any] | None) -> str | None:
    return None if told is None else msgspec.json.encode(told).decode()


def _csv_line(cells: Any) -> bytes:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue().encode()
