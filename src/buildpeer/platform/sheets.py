"""Tables as people exchange them: CSV and XLSX written, CSV read.

What is written is never a formula: a text that a spreadsheet would calculate is kept a text. What is read comes from
Excel as likely as not, so it may be UTF-8 or Windows-1252, cut by commas, semicolons or tabs.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import xlsxwriter

from buildpeer.platform.messages import FAULTS

CSV_TYPE = "text/csv; charset=utf-8"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Cell = str | int | float | Decimal | bool | date | datetime | None
FaultCode = Literal["missing_column", "empty", "too_long", "no_choice", "no_email", "repeated", "unknown", "too_deep"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_WIDEST = 60


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column to read: `names` are what its head may say, in any of our languages, `name` what we call it.

    `read` makes the value of a cell's text, which isn't empty; it raises Refused for what it doesn't take.
    """

    name: str
    names: tuple[str, ...]
    required: bool = False
    most: int = 200
    read: Callable[[str], Any] = str


class Refused(Exception):  # noqa: N818 - by whoever reads a cell
    """A cell that isn't taken; `allowed` is told to people."""

    def __init__(self, code: FaultCode, allowed: str = "") -> None:
        self.code: FaultCode = code
        self.allowed = allowed
        super().__init__(code)


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a cell: its line as spreadsheets count them, the head being 1, and its column."""

    line: int
    column: str
    code: FaultCode
    value: str = ""
    allowed: str = ""

    def text(self, language: str) -> str:
        """The reason, in a language of ours."""
        return FAULTS[self.code][language].format(value=self.value, allowed=self.allowed)


class Row(msgspec.Struct, frozen=True):
    """A line whose every cell could be read, by column name; None where nothing was written."""

    line: int
    values: dict[str, Any]


class Table(msgspec.Struct, frozen=True):
    """What a file held: good rows, and what was wrong with the others; `lines` counts both, without the head."""

    rows: list[Row]
    faults: list[Fault]
    lines: int


def read_csv(text: str, columns: Sequence[Column]) -> Table:
    """The rows of a CSV text with a head (RFC 4180); columns that nobody asked for, and empty lines, are left out.

    A missing column is one fault of line 1, and then there are no rows.
    """
    text = text.removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    head = [_folded(name) for name in next(reader, [])]
    places = {c.name: next((head.index(_folded(n)) for n in c.names if _folded(n) in head), None) for c in columns}
    faults = [
        Fault(1, column.names[0], "missing_column")
        for column in columns
        if column.required and places[column.name] is None
    ]
    if faults:
        return Table([], faults, 0)
    rows: list[Row] = []
    lines = 0
    for line, cells in enumerate(reader, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        lines += 1
        values, wrong = _read_row(line, cells, columns, places)
        faults += wrong
        if not wrong:
            rows.append(Row(line, values))
    return Table(rows, faults, lines)


def decode_csv(content: bytes) -> str:
    """The text of a CSV file: UTF-8, UTF-16 with its mark, or what Excel writes in our countries, Windows-1252."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def write_csv(file: Path, names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a CSV file that Excel opens with its accents (UTF-8 with its mark)."""
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(_harmless(name) for name in names)
        writer.writerows([_harmless(_text(cell)) if isinstance(cell, str) else _text(cell) for cell in r] for r in rows)


def write_xlsx(file: Path, title: str, names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a workbook of one sheet, its head in sight and ready to be filtered; in little memory, whatever its length.

    Times must know their zone, and are shown in it.
    """
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(file), options | {"default_date_format": "yyyy-mm-dd"}) as book:
        sheet = book.add_worksheet(_sheet_name(title))
        bold = book.add_format({"bold": True, "bottom": 1, "bg_color": "#F2F4F7"})
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        for place, name in enumerate(names):
            sheet.set_column(place, place, min(max(12, len(name) + 4), _WIDEST))
            sheet.write_string(0, place, name, bold)
        sheet.freeze_panes(1, 0)
        last = 0
        for last, row in enumerate(rows, start=1):
            for place, cell in enumerate(row):
                if isinstance(cell, datetime):
                    sheet.write_datetime(last, place, cell.replace(tzinfo=None), moment)
                elif isinstance(cell, str):
                    sheet.write_string(last, place, cell)
                elif cell is not None:
                    sheet.write(last, place, cell)
        sheet.autofilter(0, 0, last, max(len(names) - 1, 0))


def _read_row(
    line: int, cells: Sequence[str], columns: Sequence[Column], places: dict[str, int | None]
) -> tuple[dict[str, Any], list[Fault]]:
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for column in columns:
        place = places[column.name]
        text = cells[place].strip() if place is not None and place < len(cells) else ""
        try:
            values[column.name] = _read_cell(text, column)
        except Refused as refused:
            faults.append(Fault(line, column.names[0], refused.code, text[:100], refused.allowed))
    return values, faults


def _read_cell(text: str, column: Column) -> Any:
    if not text:
        if column.required:
            raise Refused("empty")
        return None
    if len(text) > column.most:
        raise Refused("too_long", str(column.most))
    return column.read(text)


def _delimiter(text: str) -> str:
    head = text.partition("\n")[0]
    return max(",;\t", key=head.count)


def _folded(name: str) -> str:
    return " ".join(name.replace("\xa0", " ").split()).casefold()


def _text(cell: Cell) -> Any:
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).isoformat(timespec="seconds")
    return cell.isoformat() if isinstance(cell, date) else cell


def _harmless(text: str) -> str:
    """CSV can't say that a cell is a text (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _sheet_name(title: str) -> str:
    kept = "".join(" " if character in "[]:*?/\\" else character for character in title).strip("' ")
    return kept[:31] or "1"
