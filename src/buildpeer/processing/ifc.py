"""Reads untrusted building models (IFC) as the text that they are; runs in a child process only (see `derive`).

An IFC file is a STEP exchange structure (ISO 10303-21): a header with the schema's name, and a line per entity, as in
`#12=IFCBUILDINGSTOREY('…',#5,'Nivel 1',$,…,3.5);`. Nothing is resolved, nothing is built: it's one pass over the bytes.
"""

import re
from collections import Counter
from mmap import ACCESS_READ, mmap
from pathlib import Path

from buildpeer.facts import Media, Model
from buildpeer.processing.derive import (
    MODEL_DAMAGED,
    MODEL_TOO_COMPLEX,
    NO_PREVIEW,
    Derived,
    searchable,
    shown,
    tell,
)

MAX_BYTES = 1024 * 1024 * 1024
MAX_STOREYS = 100
MAX_COUNTS = 40
HEAD = 64 * 1024
TAIL = 1024
MAX_ENTITY = 8192  # bytes of one that is read whole

# a string is whatever stands between quotes, and may hold what looks like an entity
# ; what has an identity of its own (IfcRoot) begins with its 22 characters
_ENTITY = re.compile(rb"'[^']*'|#\d+\s*=\s*(IFC[A-Z0-9_]{1,60})\s*\((?=\s*'[0-9A-Za-z_$]{22}')", re.IGNORECASE)
_SCHEMA = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']{1,40})'", re.IGNORECASE)
_FIELD = re.compile(rb"\s*(?:'((?:[^']|'')*)'|((?:[^,()']|\([^()]*\))*))\s*([,)])")
_NAME, _LONG_NAME, _STOREY_ELEVATION = 2, 5, 9  # places of attributes (IFC2x3 to IFC4x3)
# strings beyond ASCII: ISO 10303-21, 6.4.3
_UTF16, _UTF32 = re.compile(r"\\X2\\([0-9A-F]*)\\X0\\"), re.compile(r"\\X4\\([0-9A-F]*)\\X0\\")
_BYTE, _SHIFTED = re.compile(r"\\X\\([0-9A-F]{2})"), re.compile(r"\\S\\(.)")
# what is told of how things hang together or look, and not of things
_NO_THINGS = re.compile(r"IFCREL.*|IFCPROPERTYSET|IFCELEMENTQUANTITY|IFC.*(TYPE|STYLE|PROPERTIES|TEMPLATE)")


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        return Derived(reason=MODEL_TOO_COMPLEX)
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as text:
        schema = _SCHEMA.search(text, 0, HEAD)
        if schema is None:
            return Derived(reason=MODEL_DAMAGED)
        version = shown(schema.group(1).decode("ascii", "replace"))
        tell(Media(format_version=version), folder)
        model = _model(text)
        whole = b"END-ISO-10303-21" in text[max(0, size - TAIL) :]
    media = Media(format_version=version, model=model)
    words = searchable(" ".join([model.project or "", *model.storeys]))
    return Derived(media=media, reason=NO_PREVIEW if whole else MODEL_DAMAGED, text=words)


def _model(text: mmap) -> Model:
    counts, storeys, project = Counter[str](), list[tuple[float, str]](), None
    for found in _ENTITY.finditer(text):
        if found.group(1) is None:
            continue
        kind = found.group(1).decode("ascii").upper()
        counts[kind] += 1
        if kind == "IFCPROJECT" and project is None:
            fields = _fields(text[found.end() : found.end() + MAX_ENTITY])
            project = _at(fields, _LONG_NAME) or _at(fields, _NAME) or None
        elif kind == "IFCBUILDINGSTOREY" and len(storeys) < MAX_STOREYS:
            fields = _fields(text[found.end() : found.end() + MAX_ENTITY])
            storeys.append((_number(_at(fields, _STOREY_ELEVATION)), _at(fields, _NAME)))
    things = [(kind, count) for kind, count in counts.most_common() if not _NO_THINGS.fullmatch(kind)]
    return Model(
        project=project,
        storeys=[name for _, name in sorted(storeys, key=lambda storey: storey[0]) if name],
        counts=dict(things[:MAX_COUNTS]),
    )


def _fields(text: bytes) -> list[str]:
    """The attributes of an entity whose bracket has just opened: strings decoded, anything else as it stands."""
    fields, at = list[str](), 0
    while found := _FIELD.match(text, at):
        quoted, plain, end = found.groups()
        fields.append(_decoded(quoted) if quoted is not None else plain.strip().decode("ascii", "replace"))
        at = found.end()
        if end == b")":
            break
    return fields


def _at(fields: list[str], place: int) -> str:
    text = fields[place] if place < len(fields) else ""
    return "" if text in ("$", "*") else shown(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _decoded(quoted: bytes) -> str:
    """A string of the exchange structure; what some write as plain UTF-8 or Latin-1 instead is taken for that."""
    try:
        text = quoted.decode()
    except UnicodeDecodeError:
        text = quoted.decode("latin-1")
    text = _UTF16.sub(lambda found: _hex(found.group(1), "utf-16-be"), text)
    text = _UTF32.sub(lambda found: _hex(found.group(1), "utf-32-be"), text)
    text = _BYTE.sub(lambda found: _hex(found.group(1), "latin-1"), text)
    text = _SHIFTED.sub(lambda found: chr(ord(found.group(1)) | 0x80), text)
    return text.replace("''", "'").replace("\\\\", "\\")


def _hex(digits: str, encoding: str) -> str:
    return bytes.fromhex(digits[: len(digits) // 2 * 2]).decode(encoding, "replace")
