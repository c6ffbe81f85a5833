"""What a push remembers on disk, so that after a crash the same push goes on with the same ids.

SQLite, because it survives `kill -9` and two pushes at once without any code of ours.
"""

import os
import secrets
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import msgspec

from buildpeer.client.link import Habits

T = TypeVar("T")

_SCHEMA = """
create table if not exists uploads (
    scope text not null, path blob not null, size integer not null, mtime_ns integer not null,
    kind text not null, upload_id text not null, sha256 text not null, noted_at integer not null,
    primary key (scope, path, size, mtime_ns, kind)
) without rowid
"""
_NETWORKS = """
create table if not exists networks (
    name text primary key, habits blob not null, noted_at integer not null
) without rowid
"""
_PLACES = """
create table if not exists places (
    scope text not null, name text not null, place blob not null, noted_at integer not null,
    primary key (scope, name)
) without rowid
"""
_PLACES_S = 30 * 24 * 3600
_REMEMBERED_S = 180 * 24 * 3600


class Entry(msgspec.Struct, frozen=True):
    """The id and hash under which a file was announced."""

    upload_id: str
    sha256: str


class Noted(msgspec.Struct, frozen=True):
    """A file as it was announced."""

    path: Path
    kind: str
    upload_id: str
    sha256: str


class Journal:
    """Which upload each file became, where things are, and what was learnt of networks.

    `scope` is api, person and project; a changed file is another file.

    An entry stays after its upload has ended: pushing the same file again says that it is there already
    instead of making a second document.
    """

    def __init__(self, folder: Path, scope: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._scope = scope
        self._db = sqlite3.connect(folder / "journal.db", isolation_level=None, timeout=30)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.execute(_SCHEMA)
        self._db.execute(_NETWORKS)
        self._db.execute(_PLACES)
        for table, life_s in (("uploads", _REMEMBERED_S), ("networks", _REMEMBERED_S), ("places", _PLACES_S)):
            self._db.execute(f"delete from {table} where noted_at < ?", (int(time.time()) - life_s,))  # noqa: S608

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def find(self, path: Path, size: int, mtime_ns: int, kind: str) -> Entry | None:
        """What this file was announced as, if it was."""
        row = self._db.execute(
            "select upload_id, sha256 from uploads where (scope, path, size, mtime_ns, kind) = (?, ?, ?, ?, ?)",
            (self._scope, _key(path), size, mtime_ns, kind),
        ).fetchone()
        return Entry(*row) if row else None

    def note(self, path: Path, size: int, mtime_ns: int, kind: str, entry: Entry) -> None:
        """Write it down; done before the file is announced, so no id is ever used and forgotten."""
        self._db.execute(
            "insert or replace into uploads values (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._scope, _key(path), size, mtime_ns, kind, entry.upload_id, entry.sha256, int(time.time())),
        )

    def announced(self, since: float, until: float) -> list[Noted]:
        """The files announced in this time (seconds since 1970) in this scope and those it begins; of each the last.

        A file that was changed and announced again counts once: what it was before is on no disk any more.
        """
        rows = self._db.execute(
            "select path, kind, upload_id, sha256 from uploads where substr(scope, 1, ?) = ? and noted_at >= ?"
            " and noted_at < ? order by noted_at, upload_id",
            (len(self._scope), self._scope, int(since), int(until)),
        )
        last = {(path, kind): Noted(Path(os.fsdecode(path)), kind, upload, sha) for path, kind, upload, sha in rows}
        return sorted(last.values(), key=lambda noted: noted.path)

    def place(self, name: str, kind: type[T]) -> T | None:
        """Where something was, under this name in this scope; it may have moved since."""
        row = self._db.execute("select place from places where (scope, name) = (?, ?)", (self._scope, name)).fetchone()
        try:
            return msgspec.json.decode(row[0], type=kind) if row else None
        except msgspec.DecodeError:
            return None

    def note_place(self, name: str, place: object) -> None:
        """Keep where something is, for a month; None forgets it."""
        if place is None:
            self._db.execute("delete from places where (scope, name) = (?, ?)", (self._scope, name))
            return
        row = (self._scope, name, msgspec.json.encode(place), int(time.time()))
        self._db.execute("insert or replace into places values (?, ?, ?, ?)", row)

    def habits(self, network: str) -> Habits | None:
        """What was learnt of this network, if anything was."""
        row = self._db.execute("select habits from networks where name = ?", (network,)).fetchone()
        try:
            return msgspec.json.decode(row[0], type=Habits) if row else None
        except msgspec.DecodeError:
            return None  # of another version: to be learnt again

    def note_habits(self, network: str, habits: Habits) -> None:
        """Keep what was learnt of this network."""
        row = (network, msgspec.json.encode(habits), int(time.time()))
        self._db.execute("insert or replace into networks values (?, ?, ?)", row)


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): milliseconds first, the rest random."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
