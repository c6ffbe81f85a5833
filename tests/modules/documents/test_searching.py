"""Finding documents: endings, accents and typos in Spanish and Portuguese."""

import pytest


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Cimentación torre A", "cimentaciones"),
        ("CIMENTACION TORRE A", "cimentación"),
        ("Fundações do bloco 2", "fundação"),
        ("FUNDACAO BLOCO 2", "fundações"),
        ("Instalações elétricas", "instalacao eletrica"),
        ("Planos eléctricos", "plano electrico"),
        ("Ñuñoa: acta de entrega", "nunoa actas"),
        ("Detalle de la losa", "detalles losas"),
        ("Impermeabilización azotea", "impermeablizacion"),
        ("Plano general", "palno general"),
        ("Acero en columnas", "columnnas"),
        ("Losa de entrepiso", "loza"),
        ("Vigas V-101", "bigas"),
        ("Cimientos corridos", "cimietos"),
        ("Vigas V-101 y V-102", '"V-101"'),
    ],
)
async def test_a_document_is_found_however_its_words_are_written(desk, said: str, asked: str) -> None:
    ana = await desk()
    await ana.file(said)
    await ana.file("Otra cosa distinta")
    assert await ana.names("/documents", q=asked) == [said]


async def test_what_is_written_right_is_not_mixed_with_what_comes_close(desk) -> None:
    ana = await desk()
    for name in ("Losa nivel 1", "Loza sanitaria"):
        await ana.file(name)
    assert await ana.names("/documents", q="loza") == ["Loza sanitaria"]
    assert await ana.names("/documents", q="nivel -loza") == ["Losa nivel 1"]


async def test_the_words_within_a_file_are_found_with_their_endings_and_swapped_letters(desk) -> None:
    ana = await desk()
    await ana.file("scan.pdf", text="ESPECIFICACIONES TECNICAS del hormigón. Bloques cerâmicos e lajes.")
    for words in ("especificación técnica", "hormigones", "laje ceramica", "tecincas", '"especificaciones tecnicas"'):
        assert await ana.names("/documents", q=words) == ["scan.pdf"], words
    assert await ana.names("/documents", q='"tecnicas especificaciones"') == []
    for words in ("de la", "...", "'\"<->&|!(", "-", "\\"):
        await ana.names("/documents", q=words)  # nothing breaks


async def test_what_is_found_is_narrowed_and_paged(desk) -> None:
    ana = await desk("manager")
    for number in range(5):
        await ana.file(f"Acta {number}.pdf", kind="report" if number % 2 else "plan")
    await ana.file("Acta escuela.pdf", project_id=ana.company.school)
    assert await ana.names("/documents", q="actas", kind="report") == ["Acta 3.pdf", "Acta 1.pdf"]
    tower = {"q": "actas", "project_id": str(ana.company.tower)}
    first = await ana.ask("GET", "/documents", params=tower | {"limit": 3})
    rest = await ana.names("/documents", **tower, cursor=first["next_cursor"])
    assert [d["name"] for d in first["items"]] + rest == [f"Acta {n}.pdf" for n in (4, 3, 2, 1, 0)]
    folder = (await ana.folder("Actas"))["folder_id"]
    shown = (await ana.ask("GET", "/documents", params={"q": "escuela"}))["items"]
    assert [d["name"] for d in shown] == ["Acta escuela.pdf"]
    assert await ana.names("/documents", q="actas", folder_id=folder) == []
    for missing in ({"folder_id": folder}, {"kind": "plan"}, {"archived": True}):
        await ana.ask("GET", "/documents", 422, params=missing)
