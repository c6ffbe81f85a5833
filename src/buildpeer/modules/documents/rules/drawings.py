"""Pure rules of drawings: which revision is the current one, how numbers are spelled, sorted and understood."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Literal, TypeVar, get_args
from uuid import UUID

import msgspec

Discipline = Literal[
    "architecture",
    "civil",
    "electrical",
    "fire",
    "gas",
    "general",
    "interiors",
    "landscape",
    "mechanical",
    "plumbing",
    "structure",
    "survey",
    "telecom",
    "other",
]
SetKind = Literal["bid", "addendum", "ifc", "as_built", "other"]
PinKind = Literal["rfi", "photo", "document"]
SheetState = Literal["proposed", "reviewed", "skipped", "published"]
DISCIPLINES: tuple[Discipline, ...] = get_args(Discipline)
MAX_NUMBER, MAX_TITLE = 80, 200

# What begins a number says the discipline, by the custom of the region: E is estructura, IE instalación eléctrica.
_PREFIXES: dict[Discipline, str] = {
    "architecture": "A AR ARQ PA",
    "civil": "C CIV PAV TER VIA",
    "electrical": "EL ELE ELET IE IEL",
    "fire": "CI FP ICI INC IPCI PCI SCI",
    "gas": "G GAS IG IGAS",
    "general": "G0 GEN P0",
    "interiors": "INT DEC ID",
    "landscape": "L PAI PAIS JAR",
    "mechanical": "AA AC CLI HVAC IA IAA IM M MEC",
    "plumbing": "H HID HIDR HS IH IHS IS ISA P PL SAN",
    "structure": "E ES EST ESTR EE S FUN",
    "survey": "LT TOP V",
    "telecom": "CCTV IT TEL TI VD VDV IVD T",
}
_DISCIPLINE: dict[str, Discipline] = {
    prefix: discipline for discipline, prefixes in _PREFIXES.items() for prefix in prefixes.split()
}
_DIGITS = re.compile(r"\d+")
_RUNS = re.compile(r"\d+|[A-Z]+")

T = TypeVar("T")


class Issue(msgspec.Struct, frozen=True):
    """What a revision's place among its drawing's revisions depends on; nothing of it ever changes."""

    revision_number: str
    drawing_date: date | None
    received_date: date
    set_id: UUID | None


def recency(issue: Issue) -> tuple[object, ...]:
    """The place of a revision among those of its drawing; the greatest is the current one.

    By the date on the sheet (where there is none, that of its receipt, before which it must have been drawn), then the
    date of receipt, then the order of revisions: none, letters, numbers. What is alike in all of that goes by the set
    that was made later: two revisions that differ at all are never equal, and the order of filing counts for nothing.
    """
    return (
        issue.drawing_date or issue.received_date,
        issue.received_date,
        _revision_order(issue.revision_number),
        issue.set_id is not None,
        issue.set_id or UUID(int=0),
        issue.revision_number,
        issue.drawing_date is not None,
    )


def newest(revisions: Iterable[tuple[T, Issue]]) -> T:
    """The current revision of a drawing: the most recent, whenever it was filed. Raises ValueError for none."""
    return max(revisions, key=lambda each: recency(each[1]))[0]


def is_obsolete(obsolete: bool, *, before: UUID | None, current: UUID) -> bool:
    """Whether a drawing is obsolete after a revision was published: a newer one brings it back, no older one does."""
    return obsolete and before == current


def plain(text: str) -> str:
    """Text as it is compared: small letters without accents, since plans shout without them."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in apart if not unicodedata.combining(character))


def ordered(number: str) -> str:
    """What numbers are sorted by, as people count: A-2 before A-10."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(8), plain(number))[:300]


def spelled(text: str) -> str:
    """The one spelling of a number or a title that people type: no blanks around it, and single ones within."""
    return " ".join(text.split())


def revision_spelled(text: str) -> str:
    """The one spelling of a revision's number: "Rev. b" is "B"."""
    bare = re.sub(r"^rev(?:isi[oó]n|is[aã]o)?\b[\s.:#]*", "", spelled(text), flags=re.IGNORECASE)
    return bare.upper()


def discipline_of(number: str, *, english: bool = False) -> Discipline | None:
    """The discipline that a drawing's number begins with; on plans in English, E is electrical."""
    found = re.match(r"[A-Za-z]+", number)
    prefix = found[0].upper() if found else ""
    return "electrical" if english and prefix == "E" else _DISCIPLINE.get(prefix)


def tell_apart(numbers: Sequence[str | None]) -> list[str | None]:
    """Numbers in order, each that comes more than once as "A100 (Sheet 2 of 3)"."""
    counts, met = Counter(numbers), Counter[str]()
    told: list[str | None] = []
    for number in numbers:
        if number is None or counts[number] == 1:
            told.append(number)
            continue
        met[number] += 1
        told.append(f"{number} (Sheet {met[number]} of {counts[number]})")
    return told


def _revision_order(number: str) -> tuple[int, tuple[tuple[int, int, str], ...]]:
    """None, then letters, which precede the release for construction, then numbers; within each as people count."""
    runs = _RUNS.findall(revision_spelled(number))
    kind = 0 if not runs else 2 if runs[0].isdigit() else 1
    return kind, tuple((1, int(run), "") if run.isdigit() else (0, len(run), run) for run in runs)
