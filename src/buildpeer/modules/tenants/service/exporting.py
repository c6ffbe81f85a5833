"""Taking a tenant away: every row of it as of one moment, its trail with all that proves it, its files.

An export is a directory. `manifest.json` lists each file in it with its SHA-256 and how many rows it has, and is
signed; it is written last, so an export without one isn't whole.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path, PurePosixPath
from uuid import UUID

import msgspec

from buildpeer.modules.tenants import store
from buildpeer.modules.tenants.rules import TenantError
from buildpeer.modules.tenants.service.erasing import Report
from buildpeer.modules.tenants.store import DocumentFile
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.signing import Signer
from buildpeer.platform.storage import Storage

FORMAT = "buildpeer-tenant-1"
MANIFEST, SIGNATURE, TRAIL, FILES, README = "manifest.json", "manifest.jws", "audit.json", "files.jsonl", "README.md"
WITHOUT = frozenset({"public.tokens"})  # nothing but hashes of what opens something
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")

Trail = Callable[[Transaction], AsyncIterator[bytes]]


class Part(msgspec.Struct, frozen=True):
    """One file of an export: its place, how many lines it has (0: it isn't lines), its size in bytes, its SHA-256."""

    path: str
    lines: int
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds; `with_files`: the bytes of the files too."""

    format: str
    tenant_id: UUID
    name: str
    data_region: str
    at: datetime
    with_files: bool
    parts: list[Part]


class FileLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of files; `path` is where its bytes lie in an export that has them."""

    document_id: UUID
    project_id: UUID
    name: str
    content_type: str
    bucket: str
    key: str
    version_id: str
    size: int
    sha256: str
    path: str


class Exported(msgspec.Struct, frozen=True):
    """How much an export holds; `size` of the files in bytes."""

    tables: int
    rows: int
    files: int
    size: int


async def export(
    db: Database,
    storage: Storage,
    *,
    tenant_id: UUID,
    out: Path,
    with_files: bool,
    trail: Trail,
    signer: Signer,
    progress: Report,
) -> Exported:
    """Write everything of a tenant into a directory, as of one moment: `db` gives each transaction a snapshot.

    Again into the same directory makes it anew, but for files' bytes that are there already. No secret is in it:
    columns that the audit trail keeps secret, tokens, and passwords stay. Raises TenantError if there is no such
    tenant, or `out` holds another's export.
    """
    (out / "tables").mkdir(parents=True, exist_ok=True)
    _check_place(out, tenant_id)
    (out / MANIFEST).unlink(missing_ok=True)
    async with db.transaction(_scope(tenant_id)) as tx:
        if await store.find(tx) is None:
            raise TenantError(f"there is no tenant {tenant_id}")
        await store.note(tx, "export", {"what": "everything", "with_files": with_files})
    await _seal(db, tenant_id)
    async with db.transaction(_scope(tenant_id)) as tx:
        tenant, at = await store.find(tx), await store.moment(tx)
        assert tenant is not None  # noqa: S101 - it was there a moment ago
        tables = [table for table in await store.tables(tx) if table.name not in WITHOUT]
        parts = [await _write(out, f"tables/{t.name}.jsonl", _lines(store.lines(tx, t)), progress) for t in tables]
        parts.append(await _write(out, "tables/public.people.jsonl", _lines(store.people_lines(tx)), progress))
        parts.append(await _write(out, TRAIL, trail(tx), progress, lines=False))
        parts.append(await _write(out, FILES, _lines(_file_lines(tx)), progress))
    rows = sum(part.lines for part in parts[:-2])
    size = await _fetch(storage, out, progress, fetching=with_files)
    parts.append(await _write(out, README, _readme(tenant.name, at, with_files=with_files), progress, lines=False))
    manifest = Manifest(
        format=FORMAT,
        tenant_id=tenant_id,
        name=tenant.name,
        data_region=tenant.data_region,
        at=at,
        with_files=with_files,
        parts=parts,
    )
    content = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    (out / SIGNATURE).write_text(signer.sign(content))
    _put(out / MANIFEST, content)
    return Exported(len(tables) + 1, rows, next(part.lines for part in parts if part.path == FILES), size)


def file_lines(out: Path) -> list[FileLine]:
    """The list of files of an export."""
    with (out / FILES).open("rb") as lines:
        return [msgspec.json.decode(line, type=FileLine) for line in lines]


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_place(out: Path, tenant_id: UUID) -> None:
    try:
        there = msgspec.json.decode((out / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return
    if there.tenant_id != tenant_id:
        raise TenantError(f"{out} holds the export of {there.name}; take another directory")


async def _seal(db: Database, tenant_id: UUID) -> None:
    """So that the trail holds everything until now."""
    async with db.transaction(_scope(tenant_id)) as tx:
        while await store.seal(tx):
            pass


async def _write(out: Path, path: str, pieces: AsyncIterator[bytes], progress: Report, *, lines: bool = True) -> Part:
    count, size, hashed = 0, 0, hashlib.sha256()
    with (out / path).open("wb") as file:
        async for piece in pieces:
            count += lines
            size += len(piece)
            hashed.update(piece)
            file.write(piece)
            progress(path, count if lines else size, None)
    return Part(path, count, size, hashed.hexdigest())


async def _lines(rows: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for row in rows:
        yield row.encode() + b"\n"


async def _file_lines(tx: Transaction) -> AsyncIterator[str]:
    async for file in store.document_files(tx):
        line = FileLine(
            document_id=file.document_id,
            project_id=file.project_id,
            name=file.name,
            content_type=file.content_type,
            bucket=file.bucket,
            key=file.key,
            version_id=file.version_id,
            size=file.size_bytes,
            sha256=file.sha256,
            path=_path(file),
        )
        yield msgspec.json.encode(line).decode()


def _path(file: DocumentFile) -> str:
    """Same content, same place; a name that people typed never is one."""
    suffix = PurePosixPath(file.name).suffix
    return f"files/{file.sha256}{suffix.lower() if _SUFFIX.fullmatch(suffix) else ''}"


async def _fetch(storage: Storage, out: Path, progress: Report, *, fetching: bool) -> int:
    """Fetch the bytes that aren't there yet; returns how many bytes the list names.

    Raises TenantError for bytes that are not what the list says.
    """
    listed = {line.path: line for line in file_lines(out)}
    size = sum(line.size for line in listed.values())
    if not fetching:
        return size
    (out / "files").mkdir(exist_ok=True)
    for done, line in enumerate(listed.values(), 1):
        place = out / line.path
        if not place.exists():
            arriving = place.with_name(place.name + ".part")
            found = await storage.fetch(bucket=line.bucket, key=line.key, version_id=line.version_id, to=arriving)
            if found != line.sha256:
                raise TenantError(f"{line.bucket}/{line.key} version {line.version_id} is not what its row says")
            arriving.replace(place)
        progress("files", done, len(listed))
    return size


async def _readme(name: str, at: datetime, *, with_files: bool) -> AsyncIterator[bytes]:
    files = "their bytes lie under `path`" if with_files else "their bytes are not part of this export"
    yield f"""# {name}

Everything that BuildPeer held of this company at {at:%Y-%m-%d %H:%M:%S} UTC, without passwords and other secrets.

| file | what it is |
|---|---|
| `tables/*.jsonl` | a table each, a row a line, as JSON; bytes are hexadecimal after `\\x` |
| `{FILES}` | the files: bucket, key and version in storage, size in bytes, SHA-256; {files} |
| `{TRAIL}` | the audit trail with its seals: `buildpeer audit check {TRAIL}` verifies it |
| `{MANIFEST}` | each of these, with its rows, size and SHA-256 |
| `{SIGNATURE}` | the signature over `{MANIFEST}`: a JWS (Ed25519) |

`buildpeer tenants verify .` checks all of it, with no access to BuildPeer.
""".encode()


def _put(path: Path, content: bytes) -> None:
    arriving = path.with_name(path.name + ".part")
    arriving.write_bytes(content)
    arriving.replace(path)


def _scope(tenant_id: UUID) -> Scope:
    return Scope(tenant_id, None, "operator:export")
