"""Paper: PDF by Typst, with one letterhead for all, in the fonts that come with it.

A paper is a template of ours in Typst's language and data as JSON. What people have written is only ever data, so it
can't become markup; templates read no file but those given, and nothing is fetched.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import typst

from buildpeer.platform.messages import PAPER

Size = Literal["us-letter", "a4"]
_LETTERHEAD = Path(__file__).with_name("letterhead.typ")
_FONTS = typst.Fonts(include_system_fonts=False)
_LETTER_COUNTRIES = ("MX", "CO", "CL")  # the others cut paper by ISO 216
_POINT_COUNTRIES = ("MX", "PE")  # whose numbers are written 1,234.56
_CENT = Decimal("0.01")


class Letterhead(msgspec.Struct, frozen=True, kw_only=True):
    """Whose paper it is, and what is on it; `timezone` is the project's IANA name."""

    company: str
    project_code: str
    project: str
    title: str
    subtitle: str = ""
    printed_at: datetime
    timezone: str
    language: str
    country: str | None = None


async def print_pdf(
    template: str, data: Any, letterhead: Letterhead, *, pictures: Mapping[str, bytes] | None = None
) -> bytes:
    """A PDF of `template`, which sees `data` as `data` and the pieces of letterhead.typ: letter, facts, sheet, photos,
    signatures. `pictures` (PNG, JPEG, WebP or SVG, by name) are the files that it may show.

    The same content gives the same bytes. Raises typst.TypstError for a template that is wrong.
    """
    return await asyncio.to_thread(_print, template, data, letterhead, pictures or {})


def day_text(day: date, language: str) -> str:
    """A day as people write it: 3 de noviembre de 2026."""
    words = PAPER[language]
    return words["day"].format(day=day.day, month=words["months"].split()[day.month - 1], year=day.year)


def moment_text(at: datetime, timezone: str, language: str) -> str:
    """A moment in a zone, which is named: 3 de noviembre de 2026, 14:05 (America/Lima)."""
    there = at.astimezone(ZoneInfo(timezone))
    return f"{day_text(there.date(), language)}, {there:%H:%M} ({timezone})"


def number_text(value: Decimal | float, *, country: str | None, language: str, decimals: int = 2) -> str:
    """A number as it is written in a country, or, without one, in a language: 1,234.50 or 1.234,50."""
    exact = Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    text = f"{exact:,.{decimals}f}"
    point = country in _POINT_COUNTRIES if country else language != "pt"
    return text if point else text.translate(str.maketrans(",.", ".,"))


def money_text(value: Decimal | float, currency: str, *, country: str | None, language: str) -> str:
    """An amount with its currency: MXN 1,234.50."""
    return f"{currency} {number_text(value, country=country, language=language)}"


def size_of(country: str | None) -> Size:
    """The paper that a country's printers hold."""
    return "us-letter" if country in _LETTER_COUNTRIES else "a4"


def _print(template: str, data: Any, letterhead: Letterhead, pictures: Mapping[str, bytes]) -> bytes:
    words = PAPER[letterhead.language]
    head = {
        "company": letterhead.company,
        "project_code": letterhead.project_code,
        "project": letterhead.project,
        "title": letterhead.title,
        "subtitle": letterhead.subtitle,
        "language": letterhead.language,
        "paper": size_of(letterhead.country),
        "printed": words["printed"].format(
            at=moment_text(letterhead.printed_at, letterhead.timezone, letterhead.language)
        ),
        "page_of": words["page_of"],
    }
    with tempfile.TemporaryDirectory(prefix="buildpeer-paper-") as name:
        folder = Path(name)
        (folder / "letterhead.typ").write_bytes(_LETTERHEAD.read_bytes())
        (folder / "head.json").write_bytes(msgspec.json.encode(head))
        (folder / "data.json").write_bytes(msgspec.json.encode(data))
        for picture, content in pictures.items():
            (folder / Path(picture).name).write_bytes(content)
        main = folder / "main.typ"
        main.write_text(f'#import "letterhead.typ": *\n{template}', encoding="utf-8")
        compiler = typst.Compiler(main, root=folder, font_paths=_FONTS, package_path=folder, package_cache_path=folder)
        printed = compiler.compile(format="pdf", timestamp=letterhead.printed_at.replace(microsecond=0))
    assert isinstance(printed, bytes)  # noqa: S101 - one file, not one a page
    return printed
