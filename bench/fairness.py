"""`make bench-fairness`: how long one company's single photo takes alone, and during another company's kickoff.

From the first request to `ready`, on this machine, the senders too. The kickoff is a `buildpeer push` of many photos of
200 KB by the demo tenant; photos of somebody else's are sent one after another for as long as files of it are open.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from bench.samples import make_photo, vary
from bench.site import Site, running_site, say, stop_politely
from buildpeer.local import demo
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.ids import new_id

PHOTO_BYTES = 200_000
POLL_S = 0.02
LONGEST_S = 600.0
_FOUND = """
with t as (insert into tenants (tenant_id, name) values (gen_random_uuid(), 'Alone') returning tenant_id),
p as (insert into projects (tenant_id, project_id, code, name, timezone)
  select tenant_id, $2, 'UNO', 'Uno', 'America/Lima' from t),
q as (insert into people (person_id, email, name, password_hash) values ($1, 'alone@example.test', 'Alone', '-')
  returning person_id)
insert into memberships (tenant_id, person_id, role) select tenant_id, person_id, 'owner' from t, q returning tenant_id
"""
_OPEN = "select count(*) as files from uploads where tenant_id <> $1 and check_at is not null"
_READY = "select count(*) as files from uploads where tenant_id <> $1 and state = 'ready'"


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--files", type=int, default=5000, help="of the kickoff")
    parser.add_argument("--photos", type=int, default=40, help="sent alone, and at least so many during the kickoff")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="a handful of each, to see that it runs")
    asked = parser.parse_args()
    if asked.short:
        asked.files, asked.photos = 60, 3
    stop_politely()
    with tempfile.TemporaryDirectory(prefix="buildpeer-bench-") as place:
        print(json.dumps(measure(Path(place), files=asked.files, photos=asked.photos, seed=asked.seed)))


def measure(place: Path, *, files: int, photos: int, seed: int) -> dict[str, Any]:
    """Both, one after the other, on one site."""
    dice = random.Random(seed)
    base = make_photo(dice, size=PHOTO_BYTES, width=1600, height=1200)
    (place / "kickoff").mkdir()
    for number in range(files):
        (place / "kickoff" / f"IMG_{number:05d}.jpg").write_bytes(vary(base, dice, extra=1))
    with running_site(place / "data") as site:
        for name in ("api", "worker", "functions"):
            site.start(name)
        somebody = Somebody(site, lambda: vary(base, dice, extra=1))
        somebody.send()  # what happens only once is nobody's time
        say(f"{photos} photos alone")
        alone = [somebody.send() for _ in range(photos)]
        say(f"the same during a kickoff of {files}")
        with _pushing(site, place) as is_pushing:
            while not somebody.others(_OPEN) and is_pushing():
                time.sleep(POLL_S)
            during: list[float] = []
            while is_pushing() or somebody.others(_OPEN):
                during.append(somebody.send())
        ready = somebody.others(_READY)
    alone_p95, during_p95 = _p95(alone), _p95(during)
    return {
        "files": files,
        "lost": files - ready,
        "photos_alone": len(alone),
        "photos_during": len(during),
        "alone_p95_s": round(alone_p95, 3),
        "during_p95_s": round(during_p95, 3),
        "ratio": round(during_p95 / alone_p95, 2),
    }


class Somebody:
    """The only person of another company, who sends one photo at a time."""

    def __init__(self, site: Site, photo: Callable[[], bytes]) -> None:
        person_id, self._project = uuid4(), uuid4()
        self._site, self._photo = site, photo
        self._tenant: UUID = site.query(_FOUND, person_id, self._project)[0]["tenant_id"]
        self._tokens, self._caller = Tokens(site.stack.secrets.token_key), Caller(person_id, self._tenant, uuid4())
        self._http = httpx.Client(base_url=site.api, trust_env=False, timeout=30)

    def send(self) -> float:
        """Seconds until a photo is ready."""
        content = self._photo()
        bearer = {"authorization": f"Bearer {self._tokens.access(self._caller, now=clock.now())}"}
        file = {
            "upload_id": str(new_id()),
            "kind": "photo",
            "name": "foto.jpg",
            "size_bytes": len(content),
            "content_type": "image/jpeg",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        began = time.monotonic()
        path = f"/v1/projects/{self._project}/uploads"
        answer = self._http.post(path, json={"uploads": [file]}, headers=bearer).raise_for_status()
        signed = answer.json()["results"][0]["put"]
        self._http.put(signed["url"], content=content, headers=signed["headers"]).raise_for_status()
        while self._state(file["upload_id"], bearer) != "ready":
            if time.monotonic() - began > LONGEST_S:
                sys.exit(f"a photo of {len(content)} bytes was not ready after {LONGEST_S} s")
            time.sleep(POLL_S)
        return time.monotonic() - began

    def others(self, sql: str) -> int:
        """How many files of everybody else."""
        return self._site.query(sql, self._tenant)[0]["files"]

    def _state(self, upload_id: Any, bearer: dict[str, str]) -> str:
        return self._http.get(f"/v1/uploads/{upload_id}", headers=bearer).raise_for_status().json()["state"]


@contextlib.contextmanager
def _pushing(site: Site, place: Path) -> Generator[Callable[[], bool]]:
    """`buildpeer push` as people run it; gives whether it still does."""
    home = place / "home"
    env = os.environ | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "BUILDPEER_API": site.api,
        "BUILDPEER_EMAIL": demo.PEOPLE[4].email,
        "BUILDPEER_PASSWORD": site.stack.secrets.demo_password,
    }
    command = [sys.executable, "-m", "buildpeer.entrypoints.cli", "push", str(place / "kickoff"), "--project", "TAL"]
    with (place / "push.log").open("w") as log:
        pushing = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            yield lambda: pushing.poll() is None
        finally:
            pushing.kill()
            if pushing.wait():
                say((place / "push.log").read_text()[-2000:])


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]


if __name__ == "__main__":
    main()
