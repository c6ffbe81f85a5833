"""What a push remembers on disk, so that after a crash the same push goes on with the same ids.

SQLite, because it survives `kill -9` and two pushes at once without any code of ours.
"""

import os
import secrets
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import msgspec

_SCHEMA = """
create table if not exists uploads (
    scope text not null, path blob not null, size integer not null, mtime_ns integer not null,
    kind text not null, upload_id text not null, sha256 text not null, noted_at integer not null,
    primary key (scope, path, size, mtime_ns, kind)
) without rowid
"""
_REMEMBERED_S = 180 * 24 * 3600


class Entry(msgspec.Struct, frozen=True):
    """The id and hash under which a file was announced."""

    upload_id: str
    sha256: str


class Journal:
    """Which upload each file became. `scope` is api, person and project; a changed file is another file.

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
        self._db.execute("delete from uploads where noted_at < ?", (int(time.time()) - _REMEMBERED_S,))

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


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): milliseconds first, the rest random."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
