"""The main job as people do it: `buildpeer up`, `buildpeer push`, `buildpeer watch`, while processes are killed."""

import hashlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.conftest import declare
from tests.journeys.site import FIELD, INVESTOR, MANAGER, Site, wait_for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site") / "data")
    try:
        site.start()
        yield site
    finally:
        site.stop()


def make_photos(folder: Path, count: int) -> dict[str, bytes]:
    """Photos that differ, with names as sites have them."""
    folder.mkdir()
    for n in range(count):
        name = f"Foto Ñuñoa – {n:02d} 👷.jpg" if n % 3 else f"obra {n:02d}.png"
        Image.effect_noise((320 + n, 240), 40).convert("RGB").save(folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stored(site: Site, who: str, project: str) -> dict[str, bytes]:
    """The originals of a project's documents, downloaded as a person would."""
    found = {}
    with site.signed_in(who) as client:
        projects = client.get("/v1/projects").json()["items"]
        project_id = next(p["project_id"] for p in projects if p["code"] == project)
        page = client.get("/v1/documents", params={"project_id": project_id, "limit": 200}).json()
        for item in page["items"]:
            signed = client.post(
                f"/v1/documents/{item['document_id']}/downloads", json={"rendition": "original"}
            ).json()
            answer = httpx.get(signed["url"])
            assert "attachment" in answer.headers["content-disposition"]
            assert hashlib.sha256(answer.content).hexdigest() == item["sha256"]
            found[item["name"]] = answer.content
    return found


@pytest.mark.xdist_group("journeys")
def test_every_photo_arrives_although_every_process_is_killed_on_the_way(site: Site, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "fotos", 40)
    seen = tmp_path / "watch.jsonl"
    with seen.open("w") as screen:
        watching = site.command(MANAGER, "watch", "--json", stdout=screen)
    pushing = site.command(FIELD, "push", str(tmp_path / "fotos"), "--project", "torre alameda", "--lang", "es")
    said: list[str] = []
    killed = {}
    with pushing:
        for line in pushing.stdout or ():
            said.append(line)
            ready = sum("listo" in s for s in said)
            for program, after in (("functions", 3), ("worker", 8), ("api", 14)):
                if ready >= after and program not in killed:
                    killed[program] = site.kill(program)
    assert pushing.returncode == 0, "".join(said)
    assert set(killed) == {"functions", "worker", "api"}
    assert stored(site, FIELD, "TAL") == photos
    for program, pid in killed.items():
        assert site.pid_of(program) != pid
    watching.send_signal(signal.SIGINT)
    watching.wait(20)
    events = [json.loads(line) for line in seen.read_text().splitlines() if line.startswith("{")]
    ready = [e["upload"]["name"] for e in events if e.get("upload", {}).get("state") == "ready"]
    assert sorted(ready) == sorted(photos)


@pytest.mark.xdist_group("journeys")
def test_what_is_wrong_with_a_file_is_told_and_holds_nobody_up(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "mezcla"
    good = make_photos(folder, 3)
    whole = (folder / "obra 00.png").read_bytes()
    jpeg = next(path for path in folder.iterdir() if path.suffix == ".jpg").read_bytes()
    (folder / "cortada.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "bomba.png").write_bytes(whole[:16] + (60_000).to_bytes(4) + (60_000).to_bytes(4) + whole[24:])
    (folder / "vacía.jpg").touch()
    virus = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!" + "$H+H*"
    (folder / "virus.pdf").write_text(virus)
    code, said = site.run(FIELD, "push", str(folder), "--project", "PSJ", "--lang", "pt")
    assert code == 1
    assert re.search(r"virus\.pdf.*vírus", said)
    assert re.search(r"cortada\.jpg.*danificada", said)
    assert re.search(r"vacía\.jpg", said)
    kept = stored(site, FIELD, "PSJ")
    assert set(kept) == {*good, "cortada.jpg", "bomba.png"}
    with site.signed_in(INVESTOR) as investor:
        assert investor.get("/v1/documents").json()["items"] == []
        assert investor.get("/v1/uploads").json()["items"] == []


@pytest.mark.xdist_group("journeys")
def test_a_second_up_on_the_same_data_goes_on_where_the_first_stopped(site: Site, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "antes", 4)
    before = stored(site, MANAGER, "TAL")
    password = site.password
    site.stop()
    site.start()
    assert site.password == password
    assert stored(site, MANAGER, "TAL") == before
    code, said = site.run(MANAGER, "push", str(tmp_path / "antes"), "--project", "TAL")
    assert code == 0, said
    assert len(stored(site, MANAGER, "TAL")) == len(before | photos)


@pytest.mark.xdist_group("journeys")
def test_a_large_plan_whose_push_was_killed_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    plan = tmp_path / "Plano estructural Ñ.pdf"
    plan.write_bytes(b"%PDF-1.7\n" + os.urandom(150 * 1024 * 1024))
    with site.signed_in(MANAGER) as client:

        def arrived() -> int:
            [upload] = [u for u in client.get("/v1/uploads").json()["items"] if u["name"] == plan.name] or [None]
            received = client.get(f"/v1/uploads/{upload['upload_id']}").json()["received"] if upload else []
            return sum(each["length"] for each in received) // (8 * 1024 * 1024)

        with site.command(MANAGER, "push", str(plan), "--project", "PSJ", "--parallel", "1") as pushing:
            wait_for(lambda: arrived() >= 3)
            pushing.kill()
        assert 3 <= arrived() < 19
    code, said = site.run(MANAGER, "push", str(plan), "--project", "PSJ")
    assert code == 0, said
    assert stored(site, MANAGER, "PSJ")[plan.name] == plan.read_bytes()


@pytest.mark.xdist_group("journeys")
def test_a_plan_in_chunks_and_parts_is_joined_scanned_and_ready_by_the_house_alone(site: Site) -> None:
    content = b"%PDF-1.7\n" + os.urandom(9 * 1024 * 1024)
    item = declare(content, kind="plan", name="a pedazos.pdf", content_type="application/pdf")
    last = 8 * 1024 * 1024
    with site.signed_in(MANAGER) as client:
        project = client.get("/v1/projects").json()["items"][0]["project_id"]
        client.post(f"/v1/projects/{project}/uploads", json={"uploads": [item]})
        path = f"/v1/uploads/{item['upload_id']}"
        spans = [(at, min(1024 * 1024, len(content) - at)) for at in range(last, len(content), 1024 * 1024)]
        wanted = {"parts": [1], "chunks": [{"offset": at, "length": length} for at, length in spans]}
        signed = client.post(f"{path}/urls", json=wanted).json()
        for each in signed["chunks"]:
            chunk = content[each["offset"] : each["offset"] + each["length"]]
            assert httpx.put(each["put"]["url"], content=chunk, headers=each["put"]["headers"]).status_code == 200
        [part] = signed["parts"]
        put = part["put"]
        assert httpx.put(put["url"], content=content[:last], headers=put["headers"], timeout=30).status_code == 200
        assert client.post(f"{path}/completion").json()["state"] == "stored"
        wait_for(lambda: client.get(path).json()["state"] == "ready")
        assert client.get(path).json()["verified"]
