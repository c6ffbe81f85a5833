"""A running `buildpeer up` for tests, and what people do with it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
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
