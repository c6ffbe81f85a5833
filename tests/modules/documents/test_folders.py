"""Folders: a tree that stays a tree, with names as people tell them apart."""

import asyncio
import random
from typing import Any

from buildpeer.platform.ids import new_id


async def test_names_differ_by_more_than_case_accents_and_blanks_and_an_enye_is_a_letter(desk) -> None:
    ana = await desk()
    first = await ana.folder("Instalación  Eléctrica")
    assert first["name"] == "Instalación Eléctrica"
    for same in ("instalacion electrica", "INSTALACIÓN ELÉCTRICA", " Instalacio\u0301n ele\u0301ctrica"):
        assert (await ana.folder(same, status=409))["code"] == "name_taken"
    await ana.folder("instalacion electrica", first["folder_id"])  # elsewhere it is free
    pipe, grey = await ana.folder("Caño"), await ana.folder("Cano")
    renamed = await ana.ask("PATCH", f"/folders/{grey['folder_id']}", 409, json={"name": "CAÑO"})
    assert renamed["code"] == "name_taken"
    await ana.ask("PATCH", f"/folders/{pipe['folder_id']}", json={"name": "CAÑO"})  # its own name, written otherwise
    assert (await ana.folder("a/b", status=422))["code"] == "name_invalid"


async def test_folders_are_listed_as_people_put_names_in_order(desk) -> None:
    ana = await desk()
    for name in ("Piso 10", "piso 2", "Ático", "Zapatas", "Piso 1"):
        await ana.folder(name)
    path = f"/projects/{ana.company.tower}/folders"
    first = await ana.ask("GET", path, params={"limit": 3})
    rest = await ana.ask("GET", path, params={"cursor": first["next_cursor"]})
    names = [folder["name"] for folder in first["items"] + rest["items"]]
    assert names == ["Ático", "Piso 1", "piso 2", "Piso 10", "Zapatas"]


async def test_made_again_it_is_the_same_folder_and_with_other_content_a_conflict(desk) -> None:
    ana = await desk()
    made = await ana.folder("Planos")
    again = {"folder_id": made["folder_id"]}
    assert await ana.folder("Planos", **again) == made
    assert (await ana.folder("Otros", status=409, **again))["code"] == "id_taken"
    assert (await ana.folder("Otros", status=422, folder_id="6b0b9a4c-9d0c-4a3e-8f57-3a1e0a1b2c3d"))[
        "code"
    ] == "id_invalid"
    assert (await ana.folder("Otros", str(new_id()), 422))["code"] == "reference_unknown"


async def test_who_changes_what_somebody_else_has_changed_is_told_so(desk) -> None:
    ana = await desk()
    path = f"/folders/{(await ana.folder('Planos'))['folder_id']}"
    assert (await ana.ask("PATCH", path, match='"1"', json={"name": "Planos 2026"}))["version"] == 2
    late = await ana.ask("PATCH", path, 412, match='"1"', json={"name": "Planos viejos"})
    assert late["code"] == "changed_meanwhile"
    answer = await ana.http.patch(f"/v1{path}", json={"name": "X"}, headers=ana.company.bearer(ana.caller))
    assert (answer.status_code, answer.json()["code"]) == (428, "if_match_needed")


async def test_no_folder_comes_to_lie_in_itself_nor_deeper_than_twenty(desk) -> None:
    ana = await desk()
    chain = [(await ana.folder("1"))["folder_id"]]
    for depth in range(2, 21):
        chain.append((await ana.folder(str(depth), chain[-1]))["folder_id"])
    assert (await ana.folder("21", chain[-1], 422))["code"] == "folder_too_deep"
    for below in (chain[0], chain[7]):
        moved = await ana.ask("PATCH", f"/folders/{chain[0]}", 409, json={"parent_id": below})
        assert moved["code"] == "folder_cycle"
    top = (await ana.folder("Techo"))["folder_id"]
    assert (await ana.ask("PATCH", f"/folders/{chain[0]}", 422, json={"parent_id": top}))["code"] == "folder_too_deep"
    await ana.ask("PATCH", f"/folders/{chain[1]}", json={"parent_id": top})
    await ana.ask("PATCH", f"/folders/{chain[1]}", json={"parent_id": None})


async def test_moves_at_the_same_time_close_no_circle(desk, admin: Any) -> None:
    ana, dice = await desk(), random.Random(7)
    ids = [(await ana.folder(f"C{n}"))["folder_id"] for n in range(6)]

    async def move(folder: str, to: str) -> int:
        headers = ana.company.bearer(ana.caller) | {"if-match": "*"}
        return (await ana.http.patch(f"/v1/folders/{folder}", json={"parent_id": to}, headers=headers)).status_code

    statuses = await asyncio.gather(*(move(*dice.sample(ids, 2)) for _ in range(40)))
    assert {200, 409} == set(statuses)
    rows = await admin.fetch("select folder_id, parent_id from folders where tenant_id = $1", ana.company.tenant_id)
    parents = {row["folder_id"]: row["parent_id"] for row in rows}
    for parent in parents.values():
        above, steps = parent, 0
        while above is not None:
            above, steps = parents[above], steps + 1
            assert steps <= len(ids)


async def test_only_an_empty_folder_is_removed_by_who_made_it_or_a_manager(desk) -> None:
    ana, beto, jefa = await desk(), await desk(), await desk("manager")
    folder = (await ana.folder("Planos"))["folder_id"]
    document = await ana.file("p.pdf")
    await ana.change([document], folder_id=folder)
    await beto.ask("DELETE", f"/folders/{folder}", 403)
    assert (await ana.ask("DELETE", f"/folders/{folder}", 409))["code"] == "folder_not_empty"
    await ana.change([document], archived=True)
    assert (await ana.ask("DELETE", f"/folders/{folder}", 409))["code"] == "folder_not_empty"
    await ana.change([document], folder_id=None)
    await jefa.ask("DELETE", f"/folders/{folder}", 204)


async def test_a_folder_of_another_project_takes_nothing(desk) -> None:
    ana = await desk("manager")
    folder = await ana.ask(
        "POST", f"/projects/{ana.company.school}/folders", 201, json={"folder_id": str(new_id()), "name": "Aulas"}
    )
    document = await ana.file("p.pdf")
    refused = await ana.change([document], 422, folder_id=folder["folder_id"])
    assert (refused["code"], refused["field"]) == ("reference_unknown", "folder_id")
    assert (await ana.folder("Dentro", folder["folder_id"], 422))["field"] == "parent_id"
