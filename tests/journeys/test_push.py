"""The main job as people do it: `buildpeer up`, `buildpeer push`, `buildpeer watch`, while processes are killed."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.conftest import declare
from tests.local.services import free_ports

BUILDPEER = [sys.executable, "-m", "buildpeer.entrypoints.cli"]
MANAGER, FIELD, INVESTOR = (f"{name}@demo.buildpeer.test" for name in ("mateo", "joao", "helena"))


def wait_for(condition: Callable[[], Any], *, within_s: float = 60) -> Any:
    ends = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.05)
    return found


class Site:
    """A running `buildpeer up`, and the commands that people give it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ports = free_ports()
        self.api = f"http://127.0.0.1:{self.ports.api}"
        self._up: subprocess.Popen[str] | None = None

    def start(self) -> None:
        ports = {
            f"BUILDPEER_{name.upper()}_PORT": str(getattr(self.ports, name)) for name in self.ports.__struct_fields__
        }
        env = os.environ | ports
        command = [*BUILDPEER, "up", "--data", str(self.data)]
        with (self.data.parent / "up.log").open("w") as log:
            self._up = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, text=True)
        wait_for(self._is_up)

    def _is_up(self) -> bool:
        assert self._up is not None
        log = (self.data.parent / "up.log").read_text()
        assert self._up.poll() is None, log
        return "To sign in" in log

    def stop(self) -> None:
        if self._up is not None:
            self._up.send_signal(signal.SIGINT)
            assert self._up.wait(30) == 0
            self._up = None

    @property
    def password(self) -> str:
        return json.loads((self.data / "secrets.json").read_text())["demo_password"]

    def command(self, who: str, *words: str, **options: Any) -> "subprocess.Popen[str]":
        home = self.data.parent / who
        env = os.environ | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "BUILDPEER_API": self.api,
            "BUILDPEER_EMAIL": who,
            "BUILDPEER_PASSWORD": self.password,
            "PYTHONUNBUFFERED": "1",
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        return subprocess.Popen([*BUILDPEER, *words], env=env, text=True, **pipes)

    def run(self, who: str, *words: str) -> tuple[int, str]:
        process = self.command(who, *words)
        output, _ = process.communicate(timeout=150)
        return process.returncode, output

    def kill(self, program: str) -> int:
        """kill -9 one of the processes that `up` started, by the id that it wrote down."""
        pid = self.pid_of(program)
        os.kill(pid, signal.SIGKILL)
        return pid

    def pid_of(self, program: str) -> int:
        for line in json.loads((self.data / "processes.json").read_text()):
            if line["name"] == program:
                return int(line["pid"])
        raise LookupError(program)

    @contextlib.contextmanager
    def signed_in(self, who: str) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.api, timeout=30) as client:
            answer = client.post("/v1/sessions", json={"email": who, "password": self.password})
            client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client


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
