"""Paper and tables: what comes out is what was meant, whatever people have written."""

import csv
import io
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal

import pypdfium2 as pdfium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.platform import paper, sheets
from buildpeer.platform.messages import FAULTS, LANGUAGES, PAPER
from buildpeer.platform.paper import Letterhead
from buildpeer.platform.sheets import Column, Refused

TEMPLATE = """
#show: letter
#facts(data.facts)
= #data.title
#for text in data.texts [#text #parbreak()]
#sheet(data.names, data.rows, widths: (auto, 1fr), right: (0,))
#photos(((data.picture, "Fachada"),))
#signatures((("Residente", "Ana Muñoz"),))
"""
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="red"/></svg>'


def head(**changes: str) -> Letterhead:
    said = {
        "company": "Peñón & Cía.",
        "project_code": "TOR-1",
        "project": "Torre São João",
        "title": "Informe de avance",
        "timezone": "America/Mexico_City",
        "language": "es",
        "country": "MX",
    } | changes
    return Letterhead(printed_at=datetime(2026, 11, 24, 2, 5, tzinfo=UTC), **said)


def read(pdf: bytes) -> tuple[str, list[tuple[int, int]]]:
    """All text of a PDF, and the sizes of its pages in millimetres."""
    document = pdfium.PdfDocument(pdf)
    try:
        texts = [page.get_textpage().get_text_range() for page in document]
        sizes = [tuple(round(side / 72 * 25.4) for side in page.get_size()) for page in document]
        return "\n".join(texts), sizes
    finally:
        document.close()


DATA = {
    "facts": [["Cliente", "Inmobiliaria Ñuñoa"], ["Área", "≥ 1 250 m²"]],
    "title": "Resumen",
    "texts": ["#strong[no] $x$ *nada* \\ @nadie <b>", "coração, ação, ¿qué?, pingüino, ≤ 12 ½ Ø"],
    "names": ["N.º", "Asunto"],
    "rows": [[str(n), f"fila {n}"] for n in range(1, 121)],
    "picture": "a.svg",
}


async def test_a_paper_has_its_letterhead_page_x_of_y_and_the_time_at_the_site() -> None:
    pdf = await paper.print_pdf(TEMPLATE, DATA, head(), pictures={"a.svg": SVG})
    assert pdf == await paper.print_pdf(TEMPLATE, DATA, head(), pictures={"a.svg": SVG})
    text, sizes = read(pdf)
    assert set(sizes) == {(216, 279)}  # Mexico prints on letter paper
    for number in range(1, len(sizes) + 1):
        assert f"Página {number} de {len(sizes)}" in text
    assert text.count("Peñón & Cía.") == text.count("TOR-1 · Torre São João") == len(sizes) > 2
    assert "Impreso el 23 de noviembre de 2026, 20:05 (America/Mexico_City)" in text
    assert text.count("Asunto") >= len(sizes) - 1  # a table's head comes again
    for written in (*DATA["texts"], "≥ 1 250 m²", "fila 120", "Ana Muñoz", "Fachada"):
        assert written in text  # to the letter: what people write is no markup


@pytest.mark.parametrize(
    ("language", "country", "size", "words"),
    [
        ("pt", "BR", (210, 297), ("Página 1 de", "Impresso em 23 de novembro de 2026, 20:05")),
        ("en", None, (210, 297), ("Page 1 of", "Printed on November 23, 2026, 20:05")),
    ],
)
async def test_a_paper_speaks_its_reader_s_language_on_its_country_s_paper(language, country, size, words) -> None:
    text, sizes = read(
        await paper.print_pdf(TEMPLATE, DATA, head(language=language, country=country), pictures={"a.svg": SVG})
    )
    assert set(sizes) == {size}
    assert all(word in text for word in words)


async def test_a_template_reads_no_file_but_those_given(tmp_path) -> None:
    (tmp_path / "secret.txt").write_text("secreto")
    with pytest.raises(RuntimeError, match=r"access|not found|escape"):
        await paper.print_pdf(f'#read("{"../" * 12}{tmp_path}/secret.txt")', {}, head())


@pytest.mark.parametrize(
    ("country", "language", "text"),
    [
        ("MX", "es", "1,234,567.50"),
        ("CL", "es", "1.234.567,50"),
        ("BR", "pt", "1.234.567,50"),
        ("CO", "en", "1.234.567,50"),
        (None, "en", "1,234,567.50"),
        (None, "pt", "1.234.567,50"),
    ],
)
def test_numbers_are_written_as_in_their_country(country, language, text) -> None:
    assert paper.money_text(Decimal("1234567.495"), "USD", country=country, language=language) == f"USD {text}"


def test_every_word_on_paper_and_of_a_fault_is_there_in_every_language() -> None:
    assert set(PAPER) == set(LANGUAGES)
    assert all(len(words["months"].split()) == 12 for words in PAPER.values())
    assert all(set(texts) == set(LANGUAGES) for texts in FAULTS.values())
    assert set(FAULTS) == set(sheets.FaultCode.__args__)


def _no_seven(text: str) -> int:
    if text == "7":
        raise Refused("no_choice", "1, 2")
    return int(text)


COLUMNS = (
    Column(name="name", names=("Nombre", "Nome", "Name"), required=True, most=10),
    Column(name="floor", names=("Piso", "Andar", "Floor"), read=_no_seven),
)


@pytest.mark.parametrize(
    "content",
    [
        "Nombre,Piso\r\nBaño,3\r\n".encode(),
        "\ufeffnombre;PISO;otra\nBaño;3;x\n".encode(),
        "Piso\tNome \n3\tBaño\n\n  \t \n".encode("cp1252"),
        'Name,Floor\n"Baño","3"'.encode("utf-16"),
    ],
)
def test_a_table_is_read_as_excel_writes_it_in_any_of_our_languages(content: bytes) -> None:
    table = sheets.read_csv(sheets.decode_csv(content), COLUMNS)
    assert [row.values for row in table.rows] == [{"name": "Baño", "floor": 3}]
    assert (table.faults, table.lines) == ([], 1)


def test_each_bad_cell_is_told_by_its_line_its_column_and_its_reason() -> None:
    table = sheets.read_csv('Nombre,Piso\nA,1\n,7\n"Muy largo, de veras",1\nB,\n', COLUMNS)
    assert [row.line for row in table.rows] == [2, 5]
    assert [(f.line, f.column, f.code) for f in table.faults] == [
        (3, "Nombre", "empty"),
        (3, "Piso", "no_choice"),
        (4, "Nombre", "too_long"),
    ]
    assert table.faults[1].text("es") == "No se admite “7”; use uno de estos: 1, 2."
    assert [f.code for f in sheets.read_csv("Piso\n1\n", COLUMNS).faults] == ["missing_column"]
    assert sheets.read_csv("", COLUMNS).faults[0].line == 1


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5))
def test_what_is_written_as_csv_comes_back_and_nothing_in_it_is_a_formula(tmp_path_factory, rows) -> None:
    file = tmp_path_factory.mktemp("csv") / "a.csv"
    sheets.write_csv(file, ("=a", "b"), rows)
    with file.open(encoding="utf-8-sig", newline="") as written:
        head, *found = csv.reader(written)
    assert head == ["'=a", "b"]
    for row, cells in zip(rows, found, strict=True):
        for text, cell in zip(row, cells, strict=True):
            assert cell in (text, f"'{text}")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_workbook_holds_texts_as_texts_and_days_as_days(tmp_path) -> None:
    file = tmp_path / "a.xlsx"
    sheets.write_xlsx(
        file,
        "RFI: abiertas/cerradas [2026]",
        ("Asunto", "Monto", "Vence", "Visto"),
        [("=1+1", Decimal("2.50"), date(2026, 11, 23), datetime(2026, 11, 23, 8, tzinfo=UTC)), ("ñ", 1, None, None)],
    )
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
        assert "RFI  abiertas cerradas  2026" in parts.read("xl/workbook.xml").decode()
    assert "<f>" not in sheet
    assert "=1+1" in sheet
    assert "<v>46349</v>" in sheet  # the serial number of the day
    assert "<autoFilter" in sheet
