"""Which revision is current, whatever the order of filing; what numbers mean; what title blocks say."""

from datetime import date, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.facts import Line, Sheet
from buildpeer.modules.documents.rules import drawings, title_blocks
from buildpeer.modules.documents.rules.drawings import Issue, newest, recency

DAY = date(2026, 3, 2)
days = st.integers(0, 3).map(lambda n: DAY + timedelta(days=n))
issues = st.builds(
    Issue,
    revision_number=st.sampled_from(["", "A", "B", "AA", "0", "00", "1", "2", "10", "1A", "Rev. 2"]),
    drawing_date=st.none() | days,
    received_date=days,
    set_id=st.none() | st.integers(1, 3).map(lambda n: UUID(int=n)),
)


def filed(order: list[Issue]) -> Issue:
    """What is current after revisions came one by one, each judged against the one that was."""
    current = order[0]
    for issue in order[1:]:
        current = newest([(current, current), (issue, issue)])
    return current


@given(st.lists(issues, min_size=1, max_size=7, unique=True), st.randoms(use_true_random=False))
def test_any_order_of_filing_ends_in_the_same_current_revision(revisions: list[Issue], dice) -> None:
    shuffled = dice.sample(revisions, len(revisions))
    assert filed(revisions) == filed(shuffled) == newest([(each, each) for each in revisions])


@given(issues, issues)
def test_two_revisions_that_differ_have_an_order(one: Issue, other: Issue) -> None:
    assert (recency(one) == recency(other)) == (one == other)


def test_the_date_on_the_sheet_decides_then_its_receipt_then_the_revision() -> None:
    def issue(number: str, drawn: date | None, received: date = DAY) -> Issue:
        return Issue(number, drawn, received, None)

    later = DAY + timedelta(days=1)
    ordered = [
        issue("9", DAY - timedelta(days=30), later),  # filed late, drawn long before
        issue("5", DAY),
        issue("0", None, later),  # no date: drawn by the day it came
        issue("", later),
        issue("A", later),
        issue("B", later),
        issue("AA", later),
        issue("0", later),
        issue("2", later),
        issue("10", later),
        issue("0", later, later),
    ]
    assert [each for each in sorted(ordered, key=recency) if each.drawing_date == later] == ordered[3:]
    assert sorted(ordered, key=recency)[:2] == ordered[:2]


def test_a_newer_revision_brings_an_obsolete_drawing_back_and_an_older_one_does_not() -> None:
    one, other = UUID(int=1), UUID(int=2)
    assert not drawings.is_obsolete(True, before=one, current=other)
    assert drawings.is_obsolete(True, before=one, current=one)
    assert not drawings.is_obsolete(False, before=one, current=one)


def test_numbers_are_sorted_as_people_count() -> None:
    numbers = ["A-2", "a-10", "A-1", "EST-02", "É-3"]
    assert sorted(numbers, key=drawings.ordered) == ["A-1", "A-2", "a-10", "É-3", "EST-02"]


@pytest.mark.parametrize(
    ("number", "discipline"),
    [
        ("A-101", "architecture"),
        ("ARQ-3", "architecture"),
        ("E-01", "structure"),
        ("EST-02", "structure"),
        ("IE-03", "electrical"),
        ("IH-01", "plumbing"),
        ("IS-05", "plumbing"),
        ("IM-02", "mechanical"),
        ("PCI-1", "fire"),
        ("XYZ-1", None),
        ("12", None),
    ],
)
def test_a_number_begins_with_its_discipline(number: str, discipline: str | None) -> None:
    assert drawings.discipline_of(number) == discipline


def test_e_is_electrical_on_a_plan_in_english() -> None:
    assert drawings.discipline_of("E-101", english=True) == "electrical"
    assert said(("SHEET NO. E-101", 0.9, 0.95)).discipline == "electrical"
    assert said(("PLANO No. E-101", 0.9, 0.95)).discipline == "structure"


def said(*lines: tuple[str, float, float], label: str = "", name: str = "plano.pdf", height: float = 0.01):
    sheet = Sheet(label, [Line(text, x, y, height) for text, x, y in lines])
    return title_blocks.propose([sheet], file_name=name)[0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("PLANO: EST-02", "EST-02"),
        ("PLANO N° A1.01", "A1.01"),
        ("LÁMINA: 12", "12"),
        ("LAM. A-3", "A-3"),
        ("HOJA 3 DE 12", "3"),
        ("PRANCHA 01/12", "01"),
        ("FOLHA Nº 7", "7"),
        ("CLAVE: ARQ-001", "ARQ-001"),
        ("CÓDIGO: 1234-AR-PL-001", "1234-AR-PL-001"),
        ("DWG NO. S-201", "S-201"),
        ("A-101", "A-101"),
        ("FORMATO: A1", None),
        ("A1", None),
        ("ESCALA 1:100", None),
        ("NPT +3.45", None),
        ("TEL. 55 1234", None),
        ("VER DETALLE EN A-101 Y CORTES", None),
    ],
)
def test_a_number_is_found_by_its_word_or_its_place(text: str, number: str | None) -> None:
    assert said((text, 0.9, 0.95)).number == number


def test_a_mark_in_the_middle_of_the_sheet_is_no_number() -> None:
    assert said(("C-20", 0.65, 0.1)).number is None


def test_the_label_of_a_page_is_a_number_only_if_it_looks_like_one() -> None:
    assert said(label="A-101").number == "A-101"
    assert said(label="12").number is None


@pytest.mark.parametrize(
    ("lines", "title"),
    [
        ([("CONTENIDO: PLANTA DE CONJUNTO", 0.8, 0.8)], "PLANTA DE CONJUNTO"),
        ([("CONTENIDO", 0.8, 0.8), ("PLANTA BAJA", 0.8, 0.82), ("Y AZOTEA", 0.8, 0.835)], "PLANTA BAJA Y AZOTEA"),
        ([("ASSUNTO: CORTE AA", 0.8, 0.8)], "CORTE AA"),
        ([("PLANO: DETALLES DE MURO", 0.8, 0.8), ("E-5", 0.95, 0.97)], "DETALLES DE MURO"),
        ([("ESCALA: 1:50", 0.8, 0.8)], None),
    ],
)
def test_a_title_stands_behind_or_below_its_word(lines: list[tuple[str, float, float]], title: str | None) -> None:
    assert said(*lines).title == title


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("FECHA: 05/11/2025", date(2025, 11, 5)),
        ("DATA 5.11.2025", date(2025, 11, 5)),
        ("DATE 2025-11-05", date(2025, 11, 5)),
        ("FECHA: 13/13/2025", None),
        ("FECHA: NOV 2025", None),
        ("IMPRESO 05/11/2025", None),
    ],
)
def test_a_date_is_read_day_first_or_not_at_all(text: str, day: date | None) -> None:
    assert said((text, 0.8, 0.8)).drawing_date == day


@pytest.mark.parametrize(
    ("text", "number"), [("REV. 02", "02"), ("REVISIÓN: B", "B"), ("REVISÃO 3", "3"), ("REVISÓ: J. PÉREZ", None)]
)
def test_a_revision_is_found_by_its_word(text: str, number: str | None) -> None:
    assert said((text, 0.8, 0.9)).revision_number == number


def test_a_file_of_one_sheet_may_say_it_in_its_name() -> None:
    found = said(name="A-101_Rev03 Planta baja.pdf")
    assert (found.number, found.revision_number, found.title) == ("A-101", "03", "Planta baja")
    assert said(name="escaneo 2026.pdf").number is None


def test_sheets_of_one_number_are_told_apart() -> None:
    assert drawings.tell_apart(["A100", None, "A-2", "A100", "A100"]) == [
        "A100 (Sheet 1 of 3)",
        None,
        "A-2",
        "A100 (Sheet 2 of 3)",
        "A100 (Sheet 3 of 3)",
    ]


@given(st.lists(st.none() | st.sampled_from(["A-1", "A-2", "B"])))
def test_no_two_proposals_of_a_file_have_one_number(numbers: list[str | None]) -> None:
    told = [number for number in drawings.tell_apart(numbers) if number]
    assert len(told) == len(set(told)) == sum(number is not None for number in numbers)


@given(st.lists(st.builds(Line, st.text(max_size=40), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=30))
def test_whatever_a_sheet_says_there_is_a_proposal(lines: list[Line]) -> None:
    (found,) = title_blocks.propose([Sheet("", lines)], file_name="x.pdf")
    assert found.number is None or 0 < len(found.number) <= drawings.MAX_NUMBER
    assert found.title is None or 0 < len(found.title) <= drawings.MAX_TITLE
