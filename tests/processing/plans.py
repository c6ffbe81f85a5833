"""Plans as CAD programs print them: a frame, lines, and a title block at the bottom right, in three languages."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

A1, A3 = (2384, 1684), (1191, 842)  # points


class Words(NamedTuple):
    """A run of text: where it begins, from the bottom right corner of the sheet, and how high it is, in points."""

    left: float
    up: float
    size: float
    text: str


class Plan(NamedTuple):
    """A sheet to be drawn; `drawn` are PDF operators, `turned` the page's own rotation."""

    words: Sequence[Words]
    drawn: str = ""
    size: tuple[int, int] = A1
    turned: int = 0
    label: str = ""


def spanish(number: str, title: str, *, revision: str = "0", day: str = "12/03/2025", **more: object) -> Plan:
    """Labels over what they label, as in Mexico, Colombia, Chile and Peru."""
    words = [
        Words(560, 420, 14, "PROYECTO: TORRE MIRADOR"),
        Words(560, 380, 14, "UBICACIÓN: AV. LAS CONDES 1234"),
        Words(560, 330, 12, "CONTENIDO:"),
        Words(560, 295, 26, title),
        Words(560, 240, 12, "ESCALA: 1:100"),
        Words(560, 215, 12, f"FECHA: {day}"),
        Words(560, 190, 12, f"REV. {revision}"),
        Words(560, 150, 12, "DIBUJÓ: J. PÉREZ"),
        Words(220, 130, 12, "PLANO No."),
        Words(220, 80, 40, number),
    ]
    return Plan(words, **more)  # pyright: ignore[reportArgumentType]


def portuguese(number: str, title: str, *, revision: str = "00") -> Plan:
    """Labels beside what they label, as in Brazil."""
    words = [
        Words(600, 420, 14, "OBRA: RESIDENCIAL SÃO JOÃO"),
        Words(600, 360, 14, f"ASSUNTO: {title}"),
        Words(600, 300, 12, "ESCALA: INDICADA"),
        Words(600, 260, 12, "DATA: 05/11/2025"),
        Words(600, 220, 12, f"REVISÃO: {revision}"),
        Words(600, 100, 30, f"PRANCHA: {number}"),
    ]
    return Plan(words)


def english(number: str, title: str, *, label: str = "") -> Plan:
    """A strip at the right, as in the United States."""
    words = [
        Words(300, 700, 12, "SHEET TITLE"),
        Words(300, 660, 24, title),
        Words(300, 400, 12, "SCALE: AS NOTED"),
        Words(300, 360, 12, "DATE 2025-06-30"),
        Words(300, 180, 12, "SHEET NO."),
        Words(300, 110, 48, number),
    ]
    return Plan(words, label=label)


def five_sheets() -> bytes:
    """A set of plans of five sheets, in three languages, one of them turned, and two of one number."""
    walls = "0.5 w " + " ".join(f"{300 + 90 * n} 500 m {300 + 90 * n} 1400 l S" for n in range(12))
    return pdf(
        [
            spanish("A-101", "PLANTA BAJA", revision="3", drawn=walls),
            spanish("EST-02", "CIMENTACIÓN Y DETALLES", revision="B", turned=90, size=(A1[1], A1[0])),
            portuguese("IE-03", "INSTALAÇÕES ELÉTRICAS"),
            english("A100", "FLOOR PLAN"),
            english("A100", "FLOOR PLAN"),
        ]
    )


def pdf(plans: Sequence[Plan]) -> bytes:
    """A PDF of these sheets."""
    first = 4
    labels = "".join(f"{place}<</P({plan.label})>>" for place, plan in enumerate(plans))
    kids = " ".join(f"{first + 2 * place} 0 R" for place in range(len(plans)))
    objects = [
        f"<</Type/Catalog/Pages 2 0 R/PageLabels<</Nums[{labels}]>>>>".encode(),
        f"<</Type/Pages/Count {len(plans)}/Kids[{kids}]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for place, plan in enumerate(plans):
        width, height = plan.size
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]/Rotate {plan.turned}"
            f"/Resources<</Font<</F1 3 0 R>>>>/Contents {first + 2 * place + 1} 0 R>>".encode()
        )
        content = zlib.compress(_drawn(plan))
        objects.append(b"<</Filter/FlateDecode/Length %d>>stream\n%b\nendstream" % (len(content), content))
    out, places = bytearray(b"%PDF-1.7\n"), list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n"
    return bytes(out) + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()


def _drawn(plan: Plan) -> bytes:
    """Content as it is shown: a turned page is drawn so that it reads upright."""
    width, height = plan.size if plan.turned == 0 else (plan.size[1], plan.size[0])
    turn = {0: "", 90: f"0 1 -1 0 {plan.size[0]} 0 cm "}[plan.turned]
    frame = f"q {turn}2 w 40 40 {width - 80} {height - 80} re S {width - 620} 40 580 420 re S {plan.drawn} "
    texts = " ".join(
        f"BT /F1 {each.size} Tf 1 0 0 1 {width - each.left} {each.up} Tm ({_escaped(each.text)}) Tj ET"
        for each in plan.words
    )
    return (frame + texts + " Q").encode("cp1252")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
