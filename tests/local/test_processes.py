import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpeer.local.processes import (
    Child,
    Known,
    Registry,
    StackError,
    check_port,
    locked,
    start,
    wait_until,
)

ENV = {"PATH": "/usr/bin:/bin"}
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 60; done"


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "processes.json")


def shell(script: str, registry: Registry, tmp_path: Path) -> Child:
    return start("shell", ["/bin/sh", "-c", script], env=ENV, log=tmp_path / "log", registry=registry)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def said(path: Path, word: str) -> bool:
    return word in path.read_text()


def test_a_polite_process_stops_at_once(registry: Registry, tmp_path: Path):
    child = shell("exec sleep 60", registry, tmp_path)
    child.ask_to_stop()
    child.end(timeout_s=5)
    assert child.exit_code() == -signal.SIGTERM


def test_a_stubborn_process_is_killed_with_what_it_started(registry: Registry, tmp_path: Path):
    child = shell(f"sleep 60 & echo $! > {tmp_path}/pid; {STUBBORN}", registry, tmp_path)
    wait_until(lambda: said(tmp_path / "log", "ready"), what="shell", timeout_s=5)
    child.ask_to_stop()
    child.end(timeout_s=0.2)
    assert child.exit_code() == -signal.SIGKILL
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())), what="grandchild's end", timeout_s=5)


def test_what_a_dead_process_started_goes_with_it(registry: Registry, tmp_path: Path):
    child = shell(f"sleep 60 & echo $! > {tmp_path}/pid; echo ready; wait", registry, tmp_path)
    wait_until(lambda: said(tmp_path / "log", "ready"), what="shell", timeout_s=5)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child.exit_code() is not None, what="end", timeout_s=5)
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())), what="grandchild's end", timeout_s=5)


def test_leftovers_are_ended_by_the_next_start(registry: Registry, tmp_path: Path):
    child = shell(STUBBORN, registry, tmp_path)
    wait_until(lambda: said(tmp_path / "log", "ready"), what="shell", timeout_s=5)
    assert Registry(tmp_path / "processes.json").end_leftovers(timeout_s=0.2) == ["shell"]
    assert child.exit_code() == -signal.SIGKILL
    assert Registry(tmp_path / "processes.json").end_leftovers() == []


def test_a_recycled_process_id_is_never_touched(
    registry: Registry, tmp_path: Path, bystander: "subprocess.Popen[bytes]"
):
    registry.add(Known("postgres", bystander.pid, "another-boot/12345", signal.SIGKILL))
    assert Registry(tmp_path / "processes.json").end_leftovers() == []
    assert bystander.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_child_dies_with_its_parent(tmp_path: Path):
    script = (
        "import sys, time; from pathlib import Path; from buildpeer.local.processes import *\n"
        "folder = Path(sys.argv[1]); registry = Registry(folder / 'processes.json')\n"
        "child = start('sleep', ['/bin/sleep', '60'], env={}, log=folder / 'log', registry=registry)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not alive(pid), what="the child's end", timeout_s=5)


def test_a_program_that_is_not_there_is_named(registry: Registry, tmp_path: Path):
    with pytest.raises(StackError, match="valkey: can't start /nowhere/valkey"):
        start("valkey", ["/nowhere/valkey"], env=ENV, log=tmp_path / "log", registry=registry)


def test_a_taken_port_names_the_setting_that_moves_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"Port {port}, wanted for Valkey.*BUILDPEER_VALKEY_PORT=<port>"):
            check_port(port, what="Valkey", setting="BUILDPEER_VALKEY_PORT")
    check_port(port, what="Valkey", setting="BUILDPEER_VALKEY_PORT")


def test_a_data_directory_has_one_stack(tmp_path: Path):
    holder = rf"already up on {tmp_path} \(process {os.getpid()}\)"
    with locked(tmp_path / "lock"), pytest.raises(StackError, match=holder), locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass


def test_waiting_says_what_did_not_come():
    began = time.monotonic()
    with pytest.raises(StackError, match="Godot isn't ready after 0 s"):
        wait_until(lambda: False, what="Godot", timeout_s=0.1)
    assert time.monotonic() - began < 2
