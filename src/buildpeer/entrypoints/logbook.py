"""`buildpeer bitacora`: check an exported bitácora, and say each thing that is wrong with it."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from buildpeer.modules.audit import service as audit
from buildpeer.modules.reports.rules.bitacora import read
from buildpeer.modules.reports.service.verifying import Checked, check_file
from buildpeer.platform.signing import SignatureError, public_keys


class _Entry(msgspec.Struct, frozen=True):
    action: str
    object_type: str
    object_id: str
    changes: dict[str, Any]


class _Proved(msgspec.Struct, frozen=True):
    entry: str


class _Trail(msgspec.Struct, frozen=True):
    entries: list[_Proved]


def verify(file: Path, public_key: Path | None, trail: Path | None) -> tuple[list[str], bool]:
    """What to say of a file, and whether it is good: a PDF or a bundle, by itself, and beside an export of the audit
    trail, which holds the hash of each note as it was issued.
    """
    try:
        keys = public_keys(public_key.read_bytes()) if public_key else None
    except SignatureError as exc:
        return [str(exc)], False
    checked = asyncio.run(check_file(file.read_bytes(), keys))
    problems = checked.problems + (_beside(checked, trail.read_bytes(), keys) if trail else [])
    statement, bundle = checked.statement, checked.bundle
    if problems or statement is None or bundle is None:
        return [*problems, f"{len(problems)} problems"], False
    said = [f"{n.folio}. {n.dated} {n.subject} – {n.author.name}" for n in (read(b.content) for b in bundle.notes)]
    good = (
        f"{statement.notes} notes and {statement.signatures} signatures of “{statement.title}” "
        f"({statement.bitacora_id}), exported {statement.exported_at:%Y-%m-%d %H:%M} UTC, are as they were signed."
    )
    unknown = [] if checked.trusted else ["Who exported it is not known: give --public-key, from GET /v1/audit/keys."]
    return [*said, good, *unknown], True


def _beside(checked: Checked, trail: bytes, keys: list[dict[str, Any]] | None) -> list[str]:
    """What the notes are in the trail, if not as they are here."""
    found = audit.check_bundle(trail, keys)
    if found.problems or checked.statement is None or checked.bundle is None:
        return [f"the trail: {problem}" for problem in found.problems]
    kept = dict[str, str]()
    for proved in msgspec.json.decode(trail, type=_Trail).entries:
        entry = msgspec.json.decode(proved.entry, type=_Entry)
        if (entry.object_type, entry.action) == ("bitacora_notes", "insert"):
            kept[entry.object_id] = str(entry.changes.get("hash", "")).removeprefix("\\x")
    notes = enumerate(checked.bundle.notes, start=1)
    place = checked.statement.bitacora_id
    return [f"note {n} is not in the trail as it is here" for n, b in notes if kept.get(f"{place}/{n}") != b.hash]
