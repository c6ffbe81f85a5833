"""Pure rules of the trail: the bytes of an entry, Merkle trees (RFC 6962), seals, harmless cells."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

HASH_BYTES = 32
GENESIS = bytes(HASH_BYTES)  # what the first batch follows on
GONE = bytes(HASH_BYTES)  # the leaf of an entry that was gone before it could be sealed


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the trail; `changes` is JSON text exactly as the database writes it. `key_id` is the key by which a
    machine did it, and `person_id` then who made the key.
    """

    tenant_id: UUID
    occurred_at: datetime
    entry_id: int
    person_id: UUID | None
    database_role: str
    request_id: str | None
    action: str
    object_type: str
    object_id: str
    project_id: UUID | None
    changes: str
    key_id: UUID | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch says of itself; `hash` is the hash of the rest."""

    tenant_id: UUID
    number: int
    entries: int
    root: bytes
    previous: bytes
    sealed_at: datetime
    hash: bytes


class Values(msgspec.Struct, frozen=True):
    """What an entry tells: the values before and after, or the details of what rows don't show."""

    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    details: dict[str, Any] | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries somebody asks for; None is any. `since` is included, `until` is not."""

    person_id: UUID | None = None
    key_id: UUID | None = None
    project_id: UUID | None = None
    object_type: str | None = None
    object_id: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def canonical(entry: Entry) -> bytes:
    """The bytes of which a leaf's hash is made: compact JSON, fields in this order, strings escaped as in RFC 8785.

    What a machine did is version 2, which names its key; everything else is version 1, as it always was.
    """
    return msgspec.json.encode(
        {
            "v": 2 if entry.key_id else 1,
            "tenant_id": entry.tenant_id,
            "entry_id": entry.entry_id,
            "occurred_at": stamp(entry.occurred_at),
            "person_id": entry.person_id,
            **({"key_id": entry.key_id} if entry.key_id else {}),
            "database_role": entry.database_role,
            "request_id": entry.request_id,
            "action": entry.action,
            "object_type": entry.object_type,
            "object_id": entry.object_id,
            "project_id": entry.project_id,
            "changes": msgspec.Raw(entry.changes.encode()),
        }
    )


def stamp(time: datetime) -> str:
    """A time as the hashes have it: UTC, always with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def leaf_hash(content: bytes) -> bytes:
    """RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The root of a Merkle tree over leaf hashes as they come; keeps one hash per level."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []  # perfect subtrees, the largest first
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: bytes) -> None:
        """Take the next leaf."""
        self.size += 1
        size, top = 1, leaf
        while self._peaks and self._peaks[-1][0] == size:
            _, left = self._peaks.pop()
            size, top = 2 * size, node_hash(left, top)
        self._peaks.append((size, top))

    def root(self) -> bytes:
        """The root over all leaves so far; without any, the hash of nothing."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        *others, (_, top) = self._peaks
        for _, left in reversed(others):
            top = node_hash(left, top)
        return top


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """A tree level by level, from the leaves up: made once, it holds the path of every leaf."""
    made = [list(leaves)]
    while len(made[-1]) > 1:
        pairs = [made[-1][i : i + 2] for i in range(0, len(made[-1]), 2)]
        made.append([node_hash(*pair) if len(pair) == 2 else pair[0] for pair in pairs])
    return made


def proof(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The audit path of a leaf, from the bottom up (RFC 6962 §2.1.1)."""
    places = [(level, (index >> height) ^ 1) for height, level in enumerate(levels)]
    return [level[beside] for level, beside in places if beside < len(level)]


def root_by_proof(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root to which a path leads from a leaf of a tree of `size` leaves; None if it can't be such a path."""
    if not 0 <= index < size:
        return None
    rest, top, last = list(path), leaf, size - 1
    while last > 0:
        if index ^ 1 <= last:
            if not rest:
                return None
            beside = rest.pop(0)
            top = node_hash(beside, top) if index & 1 else node_hash(top, beside)
        index, last = index // 2, last // 2
    return None if rest else top


def header_hash(header: Header) -> bytes:
    """The hash that chains a batch to the one before: SHA-256 of compact JSON, fields in this order, hashes in hex."""
    content = {
        "v": 1,
        "tenant_id": header.tenant_id,
        "number": header.number,
        "entries": header.entries,
        "root": header.root.hex(),
        "previous": header.previous.hex(),
        "sealed_at": stamp(header.sealed_at),
    }
    return hashlib.sha256(msgspec.json.encode(content)).digest()


def split_leaves(leaves: bytes) -> list[bytes]:
    """The leaf hashes of a batch, which are kept one behind the other."""
    return [leaves[i : i + HASH_BYTES] for i in range(0, len(leaves), HASH_BYTES)]


def values(action: str, changes: str) -> Values:
    """What an entry tells, by its action."""
    told = msgspec.json.decode(changes, type=dict[str, Any])
    match action:
        case "insert":
            return Values(after=told)
        case "delete":
            return Values(before=told)
        case "update":
            return Values(
                {name: pair[0] for name, pair in told.items()}, {name: pair[1] for name, pair in told.items()}
            )
        case _:
            return Values(details=told)


def harmless(cell: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.lstrip(" ")[:1] in tuple("=+-@\t\r\n|%＝＋－＠") else cell
