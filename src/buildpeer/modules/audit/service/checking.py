"""Checking an exported bundle with nothing but the bundle and, to know who made it, a public key."""

import hashlib
import itertools
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.audit import rules
from buildpeer.modules.audit.rules import Header, Tree
from buildpeer.modules.audit.service.exporting import FORMAT
from buildpeer.platform.signing import SignatureError, read_signed


class _Proved(msgspec.Struct, frozen=True):
    entry: str
    batch: int
    index: int
    proof: list[str]


class _HeaderText(msgspec.Struct, frozen=True):
    number: int
    entries: int
    root: str
    previous: str
    sealed_at: datetime
    hash: str


class _Bundle(msgspec.Struct, frozen=True):
    format: str
    entries: list[_Proved]
    batches: list[_HeaderText]
    statement: str
    public_key: dict[str, Any]


class _Statement(msgspec.Struct, frozen=True):
    format: str
    tenant_id: UUID
    exported_at: datetime
    entries: int
    entries_root: str
    head: _HeaderText | None


class _Named(msgspec.Struct, frozen=True):
    tenant_id: UUID
    entry_id: int
    occurred_at: str


class Checked(msgspec.Struct, frozen=True):
    """What a bundle turned out to be: good, if there are no problems. `trusted`: signed by a key that was given."""

    entries: int
    batches: int
    trusted: bool
    problems: list[str]
    tenant_id: UUID | None = None
    exported_at: datetime | None = None


def check_bundle(content: bytes, trusted_keys: list[dict[str, Any]] | None) -> Checked:
    """Check signature, entries, proofs and chain. Without keys the bundle's own is taken, which proves that nothing was
    changed after signing, not who signed.
    """
    try:
        bundle = msgspec.json.decode(content, type=_Bundle)
        batches = [_header(UUID(int=0), text) for text in bundle.batches]
    except (msgspec.DecodeError, ValueError, UnicodeDecodeError) as exc:
        return Checked(0, 0, trusted=False, problems=[f"this is no bundle: {exc}"])
    statement = _statement(bundle, trusted_keys)
    if statement is None or not bundle.format == statement.format == FORMAT:
        problem = "the statement is not signed by the key" + (" that was given" if trusted_keys else " of the bundle")
        return Checked(len(bundle.entries), len(batches), trusted=False, problems=[problem])
    headers = [msgspec.structs.replace(header, tenant_id=statement.tenant_id) for header in batches]
    problems = _chain(headers, statement) + _entries(bundle, headers, statement)
    return Checked(
        len(bundle.entries),
        len(headers),
        trusted_keys is not None,
        problems,
        statement.tenant_id,
        statement.exported_at,
    )


def _statement(bundle: _Bundle, trusted_keys: list[dict[str, Any]] | None) -> _Statement | None:
    for key in [bundle.public_key] if trusted_keys is None else trusted_keys:
        try:
            return msgspec.json.decode(read_signed(bundle.statement, key), type=_Statement)
        except (SignatureError, msgspec.DecodeError):
            continue
    return None


def _chain(headers: list[Header], statement: _Statement) -> list[str]:
    problems = [f"batch {h.number} was changed" for h in headers if rules.header_hash(h) != h.hash]
    for before, after in itertools.pairwise(headers):
        if after.number != before.number + 1 or after.previous != before.hash:
            problems.append(f"batch {after.number} does not follow on batch {before.number}")
    ends = (headers[-1].number, headers[-1].hash.hex()) if headers else None
    signed = (statement.head.number, statement.head.hash) if statement.head else None
    if ends != signed:
        problems.append("the chain does not end with the batch that was signed")
    return problems


def _entries(bundle: _Bundle, headers: list[Header], statement: _Statement) -> list[str]:
    known = {header.number: header for header in headers}
    tree, problems, seen = Tree(), list[str](), set[bytes]()
    for proved in bundle.entries:
        leaf = rules.leaf_hash(proved.entry.encode())
        tree.add(leaf)
        problem = _entry_problem(proved, leaf, known.get(proved.batch), statement.tenant_id)
        if problem is None and leaf in seen:
            problem = "is there twice"
        seen.add(leaf)
        if problem is not None:
            problems.append(f"entry {_name(proved)} {problem}")
    if (tree.size, tree.root().hex()) != (statement.entries, statement.entries_root):
        problems.append(f"these are not the {statement.entries} entries that were signed, in their order")
    return problems


def _entry_problem(proved: _Proved, leaf: bytes, batch: Header | None, tenant_id: UUID) -> str | None:
    if batch is None:
        return f"is said to be in batch {proved.batch}, which is not there"
    try:
        named = msgspec.json.decode(proved.entry, type=_Named)
        path = [bytes.fromhex(step) for step in proved.proof]
    except (msgspec.DecodeError, ValueError):
        return "can't be read"
    if named.tenant_id != tenant_id:
        return "is another company's"
    if rules.root_by_proof(leaf, proved.index, batch.entries, path) != batch.root:
        return f"was changed, or is not of batch {proved.batch}"
    return None


def _name(proved: _Proved) -> str:
    try:
        named = msgspec.json.decode(proved.entry, type=_Named)
    except msgspec.DecodeError:
        return f"with the hash {hashlib.sha256(proved.entry.encode()).hexdigest()}"
    return f"{named.entry_id} of {named.occurred_at}"


def _header(tenant_id: UUID, text: _HeaderText) -> Header:
    return Header(
        tenant_id=tenant_id,
        number=text.number,
        entries=text.entries,
        root=bytes.fromhex(text.root),
        previous=bytes.fromhex(text.previous),
        sealed_at=text.sealed_at,
        hash=bytes.fromhex(text.hash),
    )
