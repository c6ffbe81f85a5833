"""Checking an export with nothing but the export and, to know who made it, a public key."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from buildpeer.modules.tenants.service.erasing import Report
from buildpeer.modules.tenants.service.exporting import (
    FILES,
    FORMAT,
    MANIFEST,
    SIGNATURE,
    TRAIL,
    Manifest,
    Part,
    digest,
    file_lines,
)
from buildpeer.platform.signing import SignatureError, read_signed


class Checked(msgspec.Struct, frozen=True):
    """What an export turned out to be: good, if there are no problems."""

    problems: list[str]
    name: str = ""
    at: datetime | None = None
    rows: int = 0
    files: int = 0
    with_files: bool = False


class _Trail(msgspec.Struct, frozen=True):
    public_key: dict[str, Any]


def check_export(out: Path, trusted_keys: list[dict[str, Any]] | None, *, progress: Report) -> Checked:
    """Check the signature, every file that the manifest names, and every document's bytes where the export has them.

    Without keys the one within is taken, which proves that nothing was changed after signing, not who signed.
    """
    try:
        content = (out / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        signature = (out / SIGNATURE).read_text()
        keys = trusted_keys or [msgspec.json.decode((out / TRAIL).read_bytes(), type=_Trail).public_key]
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as exc:
        return Checked([f"this is no whole export: {exc}"])
    if manifest.format != FORMAT or not any(_is_signed(content, signature, key) for key in keys):
        return Checked([f"{MANIFEST} is not signed by the key" + (" that was given" if trusted_keys else " within")])
    problems = [problem for part in manifest.parts if (problem := _problem(out, part))]
    named = {part.path for part in manifest.parts} | {MANIFEST, SIGNATURE}
    there = {str(path.relative_to(out)) for path in [*out.glob("*.*"), *out.glob("tables/*")]}
    problems += [f"{path} is not part of what was signed" for path in sorted(there - named)]
    if not problems and manifest.with_files:
        problems = _check_bytes(out, progress)
    rows = sum(part.lines for part in manifest.parts if part.path != FILES)
    files = sum(part.lines for part in manifest.parts if part.path == FILES)
    return Checked(problems, manifest.name, manifest.at, rows, files, manifest.with_files)


def _is_signed(content: bytes, signature: str, key: dict[str, Any]) -> bool:
    try:
        return read_signed(signature, key) == content
    except SignatureError:
        return False


def _problem(out: Path, part: Part) -> str | None:
    path = out / part.path
    if not path.is_file():
        return f"{part.path} is missing"
    if path.stat().st_size != part.size or digest(path) != part.sha256:
        return f"{part.path} was changed"
    return None


def _check_bytes(out: Path, progress: Report) -> list[str]:
    listed = {line.path: line for line in file_lines(out)}
    problems: list[str] = []
    for done, (path, line) in enumerate(listed.items(), 1):
        if not (out / path).is_file():
            problems.append(f"{path} ({line.name}) is missing")
        elif digest(out / path) != line.sha256:
            problems.append(f"{path} ({line.name}) was changed")
        progress("files", done, len(listed))
    return problems
