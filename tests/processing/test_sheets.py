"""What sheets say in their title blocks, and two sheets in one picture, read in a child like every untrusted file."""

from pathlib import Path

import pytest
from PIL import Image
from tests.processing.pictures import opened, save
from tests.processing.plans import A1, A3, Plan, english, five_sheets, pdf, spanish
from tests.processing.test_tiles import reader_of

from buildpeer.facts import OverlayMade
from buildpeer.modules.documents.rules.title_blocks import propose
from buildpeer.processing.derive import Deriver, FilePage
from buildpeer.processing.identify import PDF, PNG

RED, BLUE, WHITE, GREY = (255, 0, 0), (0, 0, 255), (255, 255, 255), (140, 140, 140)


def square(left: int, bottom: int, *, of: int = 200) -> str:
    return f"{left} {bottom} {of} {of} re f"


@pytest.fixture
def lay(deriver: Deriver, tmp_path: Path):
    def run(newer: bytes, older: bytes, *, content_type: str = PDF, number: int = 1) -> OverlayMade:
        (tmp_path / "newer").write_bytes(newer)
        (tmp_path / "older").write_bytes(older)
        pages = [FilePage(tmp_path / name, content_type, number) for name in ("newer", "older")]
        return deriver.overlay(*pages, folder=tmp_path)

    return run


def test_a_set_of_plans_says_number_title_revision_and_date_on_every_sheet(deriver: Deriver, tmp_path: Path) -> None:
    path = tmp_path / "plans.pdf"
    path.write_bytes(five_sheets())
    found = propose(deriver.sheets(path, content_type=PDF).sheets, file_name="planos.pdf")
    assert [(each.number, each.title, each.revision_number) for each in found] == [
        ("A-101", "PLANTA BAJA", "3"),
        ("EST-02", "CIMENTACIÓN Y DETALLES", "B"),
        ("IE-03", "INSTALAÇÕES ELÉTRICAS", "00"),
        ("A100 (Sheet 1 of 2)", "FLOOR PLAN", None),
        ("A100 (Sheet 2 of 2)", "FLOOR PLAN", None),
    ]
    assert [each.discipline for each in found][:3] == ["architecture", "structure", "electrical"]
    assert [str(each.drawing_date) for each in found][2:4] == ["2025-11-05", "2025-06-30"]


def test_a_page_that_calls_itself_by_a_number_is_proposed_by_it(deriver: Deriver, tmp_path: Path) -> None:
    path = tmp_path / "plans.pdf"
    path.write_bytes(pdf([Plan([], label="IM-07"), english("M-08", "ROOF", label="2")]))
    found = propose(deriver.sheets(path, content_type=PDF).sheets, file_name="planos.pdf")
    assert [each.number for each in found] == ["IM-07", "M-08"]


def test_what_is_no_pdf_says_nothing_and_a_damaged_one_says_why(deriver: Deriver, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(save(Image.new("RGB", (40, 30), "white")))
    assert deriver.sheets(path, content_type=PNG).sheets == []
    path.write_bytes(five_sheets()[:300])
    assert deriver.sheets(path, content_type=PDF).reason == "pdf_damaged"


def colours(picture: Image.Image, size: tuple[int, int], *places: tuple[int, int]) -> list[tuple[int, int, int]]:
    """The colours at places of a sheet, in points from its top left corner; of WebP, so they are rounded."""
    scale = picture.width / size[0]
    near = [picture.convert("RGB").getpixel((round(x * scale), round(y * scale))) for x, y in places]
    known = (RED, BLUE, WHITE, GREY)
    return [min(known, key=lambda c: sum(abs(a - b) for a, b in zip(c, found, strict=True))) for found in near]


def test_what_went_is_red_what_came_is_blue_and_the_rest_is_grey(lay, tmp_path: Path) -> None:
    both, gone, come = square(300, 1200), square(700, 1200), square(1100, 1200)
    made = lay(pdf([Plan([], both + " " + come)]), pdf([Plan([], both + " " + gone)]))
    assert (made.reason, made.alignment, made.picture.width) == ("", "same_size", 1600)
    picture = opened(tmp_path / "page.webp")
    middles = [(x + 100, A1[1] - 1300) for x in (300, 700, 1100, 1500)]
    assert colours(picture, A1, *middles) == [GREY, RED, BLUE, WHITE]
    assert made.tiles.width > 4000
    whole = reader_of(tmp_path).level(reader_of(tmp_path).deepest)
    assert colours(whole.crop((0, 0, made.tiles.width, made.tiles.height)), A1, *middles) == [GREY, RED, BLUE, WHITE]


def test_the_same_sheet_twice_has_no_colour(lay, tmp_path: Path) -> None:
    sheet = pdf([spanish("A-101", "PLANTA BAJA")])
    lay(sheet, sheet)
    saturation = opened(tmp_path / "page.webp").convert("HSV").getchannel("S")
    assert saturation.getextrema()[1] < 60


def test_a_sheet_that_was_printed_smaller_is_drawn_as_wide(lay, tmp_path: Path) -> None:
    half = Plan([], f"0.5 0 0 0.5 0 0 cm {square(300, 1200)}", size=(A1[0] // 2, A1[1] // 2))
    made = lay(pdf([Plan([], square(300, 1200))]), pdf([half]))
    assert made.alignment == "same_width"
    assert colours(opened(tmp_path / "page.webp"), A1, (400, A1[1] - 1300)) == [GREY]


def test_sheets_of_other_shapes_are_laid_top_left_at_one_scale(lay, tmp_path: Path) -> None:
    tall = (A3[1], 1600)
    newer, older = square(200, A3[1] - 400), square(200, tall[1] - 400) + " " + square(300, 200)
    made = lay(pdf([Plan([], newer, size=A3)]), pdf([Plan([], older, size=tall)]))
    assert made.alignment == "top_left"
    picture = opened(tmp_path / "page.webp")
    assert abs(picture.width / picture.height - A3[0] / tall[1]) < 0.01
    assert colours(picture, (A3[0], tall[1]), (300, 300), (400, tall[1] - 300)) == [GREY, RED]


def test_scans_are_laid_over_each_other_too(lay, tmp_path: Path) -> None:
    newer, older = Image.new("RGB", (900, 600), "white"), Image.new("RGB", (1800, 1200), "white")
    newer.paste("black", (100, 100, 200, 200))
    older.paste("black", (200, 200, 400, 400))
    made = lay(save(newer, "PNG"), save(older, "PNG"), content_type=PNG)
    assert made.alignment == "same_width"
    assert colours(opened(tmp_path / "page.webp"), (900, 600), (150, 150)) == [GREY]


def test_what_can_not_be_read_has_no_overlay_and_a_reason(lay) -> None:
    sheet = pdf([Plan([])])
    assert lay(sheet, sheet, number=2) == OverlayMade(reason="pdf_damaged")
    assert lay(sheet, sheet[:300]).reason == "pdf_damaged"
