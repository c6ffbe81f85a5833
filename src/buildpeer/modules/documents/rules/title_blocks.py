"""Pure rules of title blocks: what a sheet seems to say of itself, in Spanish, Portuguese or English.

A person reviews whatever is proposed here, so a proposal may be wrong, and is left out rather than guessed.
"""

import re
from collections.abc import Sequence
from datetime import date

import msgspec

from buildpeer.facts import Line, Sheet
from buildpeer.modules.documents.rules.drawings import MAX_TITLE, Discipline, discipline_of, plain, spelled, tell_apart

# The words beside which title blocks put things, plain; longest first, since a regular expression takes the first.
_NUMBER_LABELS = (
    "numero de plano|numero do desenho|no de plano|clave del plano|clave de plano|plano no|plano num|plano|lamina no|"
    "lamina|lam|hoja no|hoja|clave|codigo del plano|codigo|prancha no|prancha|folha no|folha|desenho no|desenho|"
    "des no|drawing number|drawing no|dwg no|sheet number|sheet no|sheet"
)
_TITLE_LABELS = (
    "contenido del plano|contenido de la lamina|contenido|nombre del plano|titulo del plano|titulo|descripcion|"
    "conteudo|assunto|titulo da prancha|sheet title|drawing title|title|contents"
)
_OTHER_LABELS = (
    "escala|esc|scale|fecha|data|date|dibujo|dibujado|dibujante|desenhista|drawn|reviso|revisado|revision|revisao|rev|"
    "aprobo|aprobado|aprovado|approved|checked|proyecto|projeto|project|propietario|proprietario|owner|cliente|client|"
    "ubicacion|local|location|arquitecto|arquiteto|architect|ingeniero|engenheiro|engineer|formato|papel|obra|acotacion|"
    "unidades|norte|simbologia|notas|notes|autor|elaboro|responsable|responsavel"
)
_BLANK = r"[\s.:°º#/-]*"


def _labelled(labels: str) -> re.Pattern[str]:
    pieces = "|".join(label.replace(" no", rf"{_BLANK}n[o°º.]+").replace(" ", r"\s+") for label in labels.split("|"))
    return re.compile(rf"(?:{pieces})(?![a-z]){_BLANK}(?P<rest>.*)")


_IS_NUMBER, _IS_TITLE, _IS_OTHER = map(_labelled, (_NUMBER_LABELS, _TITLE_LABELS, _OTHER_LABELS))
_ENGLISH = re.compile(r"\b(sheet|drawing|scale|drawn|checked|approved|title)\b")
_NUMBER = re.compile(
    r"(?<![A-Z0-9])(?P<prefix>[A-Z]{1,5})[-–—_. ]?(?P<digits>\d{1,4}(?:[.-]\d{1,3})?[A-Z]?)(?![A-Z0-9])"
)
_LONG_NUMBER = re.compile(r"(?<![A-Z0-9])[A-Z0-9]{1,8}(?:[-_][A-Z0-9]{1,8}){2,6}(?![A-Z0-9])")
_BARE_NUMBER = re.compile(r"(\d{1,3})(?:\s*(?:/|DE|OF)\s*\d{1,3})?")
_PAPER = re.compile(r"A[0-5]")
_NO_NUMBER = re.compile(r"^(?:ESC|REV|NPT|NTN|CEL|TEL|FAX|NO|EJE|R|F|FC|KG|MM|CM|ISO|NTC|NBR|NMX|DIN|ASTM|ACI|CP)$")
_REVISION = re.compile(r"\brev(?:ision|isao)?\b[\s.:°º#]*(?:n[o°º.]+\s*)?(?P<number>[a-z]?\d{1,3}|[a-z]{1,2})(?![\w/])")
_DAY = re.compile(r"(?<!\d)(?P<day>\d{1,2})[./-](?P<month>\d{1,2})[./-](?P<year>\d{4})(?!\d)")
_ISO_DAY = re.compile(r"(?<!\d)(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?!\d)")
_DATED = re.compile(r"\b(fecha|data|date)\b")
_FILE_REVISION = re.compile(
    r"[\s_.-]+rev(?:ision|isao)?[\s_.-]*(?P<number>[a-z]?\d{1,3}|[a-z])(?=$|[\s_.-])", re.IGNORECASE
)


class Proposal(msgspec.Struct, frozen=True):
    """What a sheet seems to say of itself; None: it doesn't say."""

    number: str | None = None
    title: str | None = None
    discipline: Discipline | None = None
    revision_number: str | None = None
    drawing_date: date | None = None


def propose(sheets: Sequence[Sheet], *, file_name: str) -> list[Proposal]:
    """What to propose for each sheet of a file, in order; a file of one sheet may say it in its name.

    Sheets that say the same number are told apart as "A100 (Sheet 2 of 3)".
    """
    found = [_propose(sheet) for sheet in sheets]
    if len(found) == 1:
        found = [_with_name(found[0], file_name)]
    numbers = tell_apart([proposal.number for proposal in found])
    return [msgspec.structs.replace(proposal, number=number) for proposal, number in zip(found, numbers, strict=True)]


def _propose(sheet: Sheet) -> Proposal:
    lines = [_Read(line) for line in sheet.lines]
    english = any(_ENGLISH.search(each.plain) for each in lines) and not any(
        re.search(r"\b(plano|escala|contenido|prancha|lamina|folha|fecha)\b", each.plain) for each in lines
    )
    number = _number(sheet.label, lines)
    return Proposal(
        number=number,
        title=_title(lines, number),
        discipline=discipline_of(number, english=english) if number else None,
        revision_number=_revision(lines),
        drawing_date=_date(lines),
    )


class _Read:
    """A line with what can be said of it alone."""

    def __init__(self, line: Line) -> None:
        self.text, self.x, self.y, self.height = spelled(line.text), line.x, line.y, line.height
        self.plain = plain(self.text)
        self.numbered = _IS_NUMBER.match(self.plain)
        self.titled = _IS_TITLE.match(self.plain)
        self.other = _IS_OTHER.match(self.plain)

    @property
    def is_label(self) -> bool:
        return bool(self.numbered or self.titled or self.other)

    def rest(self, found: re.Match[str]) -> str:
        """What stands behind a label on the same line, as it was written."""
        behind = found["rest"]
        return self.text[len(self.text) - len(behind) :].strip() if behind else ""

    def at_corner(self) -> float:
        """How near it is to the bottom right corner, 0 to 1."""
        return max(0.0, 1 - ((1 - self.x) ** 2 + (1 - self.y) ** 2) ** 0.5)


def _number(label: str, lines: Sequence[_Read]) -> str | None:
    scores = dict[str, float]()

    def add(candidate: str | None, score: float) -> None:
        if candidate:
            scores[candidate] = max(scores.get(candidate, 0), score)

    add(_as_number(label), 4)
    tallest = max((line.height for line in lines), default=1) or 1
    for line in lines:
        score = 2 * line.at_corner() + line.height / tallest
        if line.numbered:
            add(_as_number(line.rest(line.numbered), alone=True), 3 + score)
            if not line.numbered["rest"] and (value := _value(line, lines)):
                add(_as_number(value.text, alone=True), 3 + score + value.height / tallest)
        elif not line.titled and not line.other and line.x > 0.5 and line.y > 0.5:  # the quarter with the corner
            found = _as_number(line.text)
            known = 1.0 if found and discipline_of(found) else 0.0
            add(found if not _PAPER.fullmatch(line.text) else None, score + known)
    best = max(scores, key=lambda candidate: scores[candidate], default=None)
    return best if best is not None and scores[best] >= 2 else None  # less is a detail's mark


def _as_number(text: str, *, alone: bool = False) -> str | None:
    """A drawing's number, if the text is little more than that; `alone`: where one is expected, digits will do."""
    text = spelled(text).upper().strip("()[]")
    if not text or len(text) > 40:  # a sentence that mentions one
        return None
    if whole := _LONG_NUMBER.fullmatch(text):
        return whole[0] if re.search(r"\d", whole[0]) and not _ISO_DAY.fullmatch(whole[0]) else None
    found = _NUMBER.match(text) if alone else _NUMBER.fullmatch(text)
    if found and not _NO_NUMBER.match(found["prefix"]):
        return found[0]
    bare = _BARE_NUMBER.fullmatch(text) if alone else None
    return bare[1] if bare else None


def _title(lines: Sequence[_Read], number: str | None) -> str | None:
    for line in lines:
        if line.titled:
            behind = line.rest(line.titled)
            first = behind or getattr(_value(line, lines), "text", "")
            if _is_words(first):
                return _whole_title(first, line, lines, below=not behind)
    for line in lines:  # some put the title behind "PLANO:", and the number elsewhere
        if line.numbered and _is_words(said := line.rest(line.numbered)) and not _as_number(said, alone=True):
            return said[:MAX_TITLE]
    wanted = [
        line
        for line in lines
        if line.x > 0.5 and line.y > 0.5 and not line.is_label and line.text != number and _is_words(line.text)
    ]
    tallest = max(wanted, key=lambda line: (round(line.height, 4), line.at_corner()), default=None)
    return tallest.text[:MAX_TITLE] if tallest else None


def _whole_title(first: str, label: _Read, lines: Sequence[_Read], *, below: bool) -> str:
    """A title with its second and third line: those of the same letters, right below it."""
    started = next((line for line in lines if below and line.text == first), label)
    parts, last = [first], started
    for line in sorted(lines, key=lambda each: each.y):
        near = 0 < line.y - last.y < 2.2 * max(last.height, line.height) and abs(line.x - last.x) < 0.12
        alike = abs(line.height - started.height) < 0.25 * max(started.height, line.height)
        if near and alike and len(parts) < 3 and not line.is_label and _is_words(line.text):
            parts.append(line.text)
            last = line
    return " ".join(parts)[:MAX_TITLE]


def _value(label: _Read, lines: Sequence[_Read]) -> _Read | None:
    """What stands in the box of a label: the nearest line right below it, or else right behind it."""
    below = [
        line for line in lines if 0 < line.y - label.y < 0.08 and abs(line.x - label.x) < 0.12 and not line.is_label
    ]
    behind = [
        line
        for line in lines
        if abs(line.y - label.y) < label.height and 0 < line.x - label.x < 0.2 and not line.is_label
    ]
    nearest = min(below, key=lambda line: line.y, default=None)
    return nearest or min(behind, key=lambda line: line.x, default=None)


def _revision(lines: Sequence[_Read]) -> str | None:
    """The revision that the block names nearest to the corner; a table of revisions lists the others."""
    found = [(line.at_corner(), match["number"].upper()) for line in lines if (match := _REVISION.search(line.plain))]
    return max(found)[1] if found else None


def _date(lines: Sequence[_Read]) -> date | None:
    """The date behind or below the word; day first, as the region writes it, and none where that can't be."""
    for line in lines:
        if _DATED.search(line.plain) and len(line.text) < 60:  # a label, not a note
            value = _value(line, lines)
            for text in (line.text, value.text if value else ""):
                if found := _day(text):
                    return found
    return None


def _day(text: str) -> date | None:
    found = _ISO_DAY.search(text) or _DAY.search(text)
    if not found:
        return None
    try:
        return date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError:
        return None


def _is_words(text: str) -> bool:
    letters = sum(character.isalpha() for character in text)
    return letters >= 4 and letters > len(text) / 2  # a number or a scale has fewer


def _with_name(proposal: Proposal, file_name: str) -> Proposal:
    """What the sheet doesn't say, by the name of its file: "A-101_Rev03 Planta baja.pdf"."""
    stem = re.sub(r"\.[A-Za-z0-9]{2,5}$", "", file_name)
    revision = _FILE_REVISION.search(stem)
    bare = _FILE_REVISION.sub(" ", stem)
    number = _NUMBER.match(bare.upper().lstrip())
    title = spelled(bare[number.end() :].replace("_", " ").strip(" -–")) if number else ""
    named = number[0] if number and not _NO_NUMBER.match(number["prefix"]) else None
    kept = proposal.number or named
    return Proposal(
        number=kept,
        title=proposal.title or (title[:MAX_TITLE] if _is_words(title) else None),
        discipline=proposal.discipline or (discipline_of(kept) if kept else None),
        revision_number=proposal.revision_number or (revision["number"].upper() if revision else None),
        drawing_date=proposal.drawing_date,
    )
