"""Daily logs and bitácoras as they stand on paper: pure functions from what was written to what Typst prints.

Templates are ours; whatever people have written is data, and never markup.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.modules.reports.rules import bitacora, entries
from buildpeer.modules.reports.rules.bitacora import Said, Signature
from buildpeer.modules.reports.rules.daily_logs import Entry
from buildpeer.platform import paper
from buildpeer.platform.messages import BITACORA_PAPER, DAILY_LOG_PAPER

FORMAT = "buildpeer-bitacora-1"
BUNDLE_FILE = "bitacora.json"

# Which fields of a kind have a column of their own; the rest stands below them, where there is any.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "weather": ("observed_at", "sky", "temperature", "rain", "wind", "ground"),
    "manpower": ("company", "trade", "workers", "hours", "location_id"),
    "equipment": ("name", "quantity", "hours_operating", "hours_idle", "inspected", "location_id"),
    "delivery": ("delivered_at", "contents", "quantity", "unit", "delivery_from"),
    "delay": ("cause", "start", "end", "hours", "location_id"),
    "note": ("text", "is_issue", "location_id"),
    "visitor": ("name", "organization", "arrived_at", "left_at", "purpose"),
    "accident": ("happened_at", "severity", "description", "involved", "location_id"),
    "safety": ("type", "description", "attendees", "issued_to", "compliance_due"),
    "quantity": ("item", "quantity", "unit", "location_id", "cost_code"),
}
_WIDE = ("text", "description", "contents", "purpose", "name", "item", "company")
_NUMBERS = (
    *("temperature", "rain", "workers", "hours", "quantity", "hours_operating", "hours_idle", "attendees"),
    "wind_speed",
)
_SAME = {"company": "company_id", "trade": "trade_id"}  # typed in, or chosen from the project's

LOG_TEMPLATE = """
#show: letter
#facts(data.facts)
#if data.notice != "" { block(inset: (y: 4pt), text(fill: accent, data.notice)) }
#for part in data.parts [
  = #part.title
  #sheet(part.names, part.rows, widths: part.widths.map(w => if w == "wide" { 1fr } else { auto }), right: part.numbers)
]
#if data.parts.len() == 0 { block(above: 12pt, text(fill: quiet, data.empty)) }
#if data.photos.len() > 0 [
  = #data.photos_title
  #photos(data.photos.map(p => (p.file, p.caption)), columns: 3, height: 44mm)
]
#if data.signers.len() > 0 {
  v(18mm)
  align(center, box(width: 75mm, signatures(data.signers)))
}
"""

BITACORA_TEMPLATE = """
#pdf.attach("bitacora.json", mime-type: "application/json", relationship: "source")
#show: letter
#facts(data.facts)
= #data.parties_title
#sheet(data.parties_names, data.parties, widths: (auto, 1fr))
= #data.notes_title
#for note in data.notes {
  block(above: 10pt, breakable: true, stroke: 0.6pt + rule, radius: 3pt, width: 100%, inset: 0pt, {
    block(fill: shade, width: 100%, inset: (x: 10pt, y: 7pt), below: 0pt, sticky: true, grid(
      columns: (auto, 1fr, auto),
      column-gutter: 10pt,
      text(weight: "bold", size: 12pt, fill: accent, note.folio),
      text(weight: "bold", note.subject),
      text(size: 9pt, fill: quiet, note.class),
    ))
    block(inset: 10pt, width: 100%, {
      text(size: 8.5pt, fill: quiet, note.meta)
      parbreak()
      note.text
      if note.details.len() > 0 {
        v(2pt)
        grid(columns: (auto, 1fr), column-gutter: 10pt, row-gutter: 6pt,
          ..note.details.map(((name, value)) => (text(size: 9pt, fill: quiet, name), [#value])).flatten())
      }
      v(4pt)
      line(length: 100%, stroke: 0.4pt + rule)
      set text(size: 8.5pt)
      grid(columns: (auto, 1fr, auto), column-gutter: 10pt, row-gutter: 5pt,
        ..note.signatures.map(((role, name, at)) =>
          (text(fill: quiet, role), [#name], text(fill: quiet, at))).flatten())
      v(2pt)
      text(size: 6.5pt, fill: quiet, font: "DejaVu Sans Mono", note.hash)
    })
  })
}
= #data.proof_title
#data.proof
#v(4pt)
#facts(data.seal)
"""


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """Whose paper it is, and in which language: what the pages show besides the notes."""

    company: str
    project_code: str
    project: str
    timezone: str
    country: str | None
    language: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What BuildPeer signs of an exported bitácora: so many notes up to this head, and these signatures."""

    format: str
    tenant_id: UUID
    project_id: UUID
    bitacora_id: UUID
    title: str
    signing_days: int
    exported_at: datetime
    exported_by: UUID
    notes: int
    head: str
    signatures: int
    signatures_hash: str
    paper: Paper


class BundledNote(msgspec.Struct, frozen=True):
    """A note's canonical content, and its hash in hex."""

    content: str
    hash: str


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bitácora as it is given away; `statement` is a JWS over a `Statement`, by the holder of `public_key`, a JWK."""

    format: str
    notes: list[BundledNote]
    signatures: list[Signature]
    statement: str
    public_key: dict[str, Any]


class PrintedPhoto(msgspec.Struct, frozen=True):
    """A picture, and what stands below it."""

    file: str
    caption: str


def day_text(day: date, language: str) -> str:
    """A day as people write it."""
    return paper.day_text(day, language)


def photo(file: str, entry: Entry, captured_at: datetime | None, *, zone: str, language: str) -> PrintedPhoto:
    """A picture with what its entry says, and when it was taken, in the project's zone."""
    words = DAILY_LOG_PAPER[language]
    told = next((str(entry.fields[f]) for f in ("caption", *_WIDE) if entry.fields.get(f)), words[f"kind_{entry.kind}"])
    at = (captured_at or entry.noted_at).astimezone(ZoneInfo(zone))
    return PrintedPhoto(file, f"{told[:160]} · {at:%H:%M}")


def log_data(
    log: Any,
    written: Sequence[Entry],
    *,
    names: Mapping[UUID, str],
    photos: Sequence[PrintedPhoto],
    zone: str,
    language: str,
) -> tuple[str, dict[str, Any]]:
    """The title of a day's paper, and what its template sees."""
    words = DAILY_LOG_PAPER[language]
    facts = [(words["state"], words[f"state_{log.state}"]), (words["entries"], str(len(written)))]
    if log.completed_at and log.completed_by:
        facts.append((words["completed_by"], names.get(log.completed_by, "—")))
        facts.append((words["completed_at"], paper.moment_text(log.completed_at, zone, language)))
    notices = [
        words[name].format(count=count)
        for name, count in (("late_notice", log.late_entries), ("conflict_notice", log.conflicts))
        if count
    ]
    parts = [_part(kind, [e for e in written if e.kind == kind], names, language) for kind in _COLUMNS]
    return words["title"], {
        "facts": facts,
        "notice": " ".join(notices),
        "parts": [part for part in parts if part["rows"]],
        "empty": words["empty"],
        "photos_title": words["kind_photo"],
        "photos": list(photos),
        "signers": [(words["completed_by"], names[log.completed_by])] if log.completed_by in names else [],
    }


def bitacora_data(bundle: Bundle, statement: Statement) -> tuple[str, dict[str, Any]]:
    """The title of a bitácora's paper, and what its template sees."""
    language, zone = statement.paper.language, statement.paper.timezone
    words = BITACORA_PAPER[language]
    notes = [bitacora.read(note.content) for note in bundle.notes]
    signed: dict[int, list[Signature]] = {}
    for signature in bundle.signatures:
        signed.setdefault(signature.folio, []).append(signature)
    contract = notes[0].contract if notes else None
    facts = [(words["signing_days"], str(statement.signing_days)), (words["notes"], str(statement.notes))]
    if contract is not None:
        facts = [
            (words["contract"], contract.number),
            (words["works"], contract.works),
            (words["client"], contract.client),
            (words["contractor"], contract.contractor),
            *([(words["amount"], contract.amount)] if contract.amount else []),
            *facts,
        ]
    parties = notes[-1].parties if notes else []
    return words["title"], {
        "facts": facts,
        "parties_title": words["parties"],
        "parties_names": [words["role"], words["name"]],
        "parties": [[words[f"role_{party.role}"], party.name] for party in parties],
        "notes_title": words["notes"],
        "notes": [
            _note(said, note.hash, signed.get(said.folio, []), statement.exported_at, language)
            for said, note in zip(notes, bundle.notes, strict=True)
        ],
        "proof_title": words["proof_title"],
        "proof": words["proof"].format(command="buildpeer bitacora verify"),
        "seal": [
            (words["last_hash"], _spaced(statement.head)),
            (words["signatures"], str(statement.signatures)),
            (words["signatures_hash"], _spaced(statement.signatures_hash)),
            (words["exported"], paper.moment_text(statement.exported_at, zone, language)),
        ],
    }


def _part(kind: str, written: Sequence[Entry], names: Mapping[UUID, str], language: str) -> dict[str, Any]:
    words = DAILY_LOG_PAPER[language]
    shown = [name for name in _COLUMNS[kind] if any(_value(e, name, names, language) for e in written)]
    rest = [name for name in entries.names_of(kind) if name not in (*_COLUMNS[kind], *_SAME.values())]
    columns = [*shown, "remarks"]
    rows = [
        [*(_value(e, name, names, language) for name in shown), _remarks(e, rest, names, language)] for e in written
    ]
    if not any(row[-1] for row in rows):
        columns, rows = shown, [row[:-1] for row in rows]
    wide = [name in (*_WIDE, "remarks") for name in columns]
    return {
        "title": words[f"kind_{kind}"],
        "names": [words[name] for name in columns],
        "rows": rows,
        "widths": ["wide" if w else "auto" for w in wide] if any(wide) else ["wide"] * len(columns),
        "numbers": [place for place, name in enumerate(columns) if name in _NUMBERS],
    }


def _remarks(entry: Entry, rest: Sequence[str], names: Mapping[UUID, str], language: str) -> str:
    words = DAILY_LOG_PAPER[language]
    told = [(name, _value(entry, name, names, language)) for name in rest]
    remarks = [value if name == "comments" else f"{words[name]}: {value}" for name, value in told if value]
    return "; ".join([*remarks, words["late"]] if entry.late else remarks)


def _value(entry: Entry, name: str, names: Mapping[UUID, str], language: str) -> str:
    """A field as people read it; nothing for none, and for what isn't so."""
    words, value = DAILY_LOG_PAPER[language], entry.fields.get(name)
    if not value and name in _SAME:
        name, value = _SAME[name], entry.fields.get(_SAME[name])
    if value is None or value is False:
        return ""
    if value is True:
        return words["yes"]
    if name.endswith("_id"):
        return names.get(UUID(value), "—")
    if isinstance(value, int | float):
        whole = float(value).is_integer()
        return paper.number_text(value, country=None, language=language, decimals=0 if whole else 1)
    return words.get(f"{name}_{value}", str(value))


def _note(said: Said, told_hash: str, signed: Sequence[Signature], at: datetime, language: str) -> dict[str, Any]:
    words = BITACORA_PAPER[language]
    issued = datetime.fromisoformat(said.issued_at)
    details = [
        (words[name], value if isinstance(value, str) else day_text(value, language))
        for name in (
            *("place", "cause", "solution", "prevention", "economic_consequence", "responsibility"),
            "attend_by",
        )
        if (value := getattr(said, name)) is not None
    ]
    if said.refers_to is not None:
        details.append((words["refers_to"], str(said.refers_to)))
    details += [(words["attachment"], f"{each.name} (SHA-256 {each.sha256[:16]}…)") for each in said.attachments]
    roles: set[bitacora.Role] = {signature.role for signature in signed}
    signatures = [
        (words[f"role_{s.role}"], s.name, paper.moment_text(s.signed_at, said.timezone, language)) for s in signed
    ]
    waiting = words["overdue" if bitacora.signing(said, roles, now=at) == "overdue" else "awaited"]
    until = waiting.format(day=day_text(said.sign_by, language))
    signatures += [
        (words[f"role_{party.role}"], party.name, until) for party in said.parties if party.role not in roles
    ]
    author = f"{said.author.name}, {words[f'role_{said.author.role}']}"
    return {
        "folio": f"{words['folio']} {said.folio}",
        "subject": said.subject,
        "class": words[f"class_{said.note_class}"],
        "meta": f"{paper.moment_text(issued, said.timezone, language)} · {author}",
        "text": said.text,
        "details": details,
        "signatures": signatures,
        "hash": f"SHA-256 {told_hash}",
    }


def _spaced(digest: str) -> str:
    """A hash in groups of eight, which can be read out and broken into lines."""
    return " ".join(digest[i : i + 8] for i in range(0, len(digest), 8))
