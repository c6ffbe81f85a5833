"""Children that crash, hang, eat memory: it costs that request, and the next one works."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildpeer.processing.children import (
    Child,
    ChildCrashedError,
    ChildError,
    ChildStartError,
    ChildTimeoutError,
    Limits,
    minimal_env,
)

HERE = str(Path(__file__).parent)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Child]]:
    monkeypatch.syspath_prepend(HERE)
    made: list[Child] = []

    def child(**options: object) -> Child:
        options = {"env": minimal_env(), **options}
        made.append(Child("misbehave:answer", **options))  # type: ignore[arg-type]
        return made[-1]

    yield child
    for each in made:
        each.stop()


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_answers_large_requests_and_stays(make):
    child = make()
    request = b"0123456789" * 500_000
    assert child.call(request, timeout_s=10) == request
    first = child.pid
    assert child.call(b"pid", timeout_s=10) == str(first).encode()
    assert child.call(b"", timeout_s=10) == b""


@pytest.mark.parametrize("deed", ["exit", "segfault", "raise", "bomb"])
def test_a_crash_costs_its_request_only(make, deed):
    child = make(limits=Limits(memory_bytes=2 * 1024**3))
    before = child.call(b"pid", timeout_s=10)
    with pytest.raises(ChildCrashedError):
        child.call(deed.encode(), timeout_s=10)
    assert child.call(b"pid", timeout_s=10) != before


def test_a_hang_is_ended_in_time(make):
    child = make()
    pid = int(child.call(b"pid", timeout_s=10))
    started = time.monotonic()
    with pytest.raises(ChildTimeoutError):
        child.call(b"hang", timeout_s=0.3)
    assert time.monotonic() - started < 3
    assert gone(pid)
    assert child.call(b"fine", timeout_s=10) == b"fine"


def test_what_a_library_prints_is_no_answer(make):
    child = make()
    assert child.call(b"noise", timeout_s=10) == b"heard"
    assert child.call(b"fine", timeout_s=10) == b"fine"


def test_a_child_is_replaced_after_so_many_calls(make):
    child = make(max_calls=3)
    pids = [child.call(b"pid", timeout_s=10) for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_child_killed_between_calls_costs_nothing(make):
    child = make()
    pid = int(child.call(b"pid", timeout_s=10))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: gone(pid))
    assert child.call(b"fine", timeout_s=10) == b"fine"


def test_kill_ends_a_call_under_way(make, tmp_path):
    child = make()
    child.call(b"fine", timeout_s=10)
    with ThreadPoolExecutor(1) as pool:
        busy = tmp_path / "busy"
        call = pool.submit(child.call, b"hang:" + bytes(busy), timeout_s=30)
        wait_for(busy.exists)
        child.kill()
        with pytest.raises(ChildCrashedError):
            call.result(10)


def test_threads_take_turns(make):
    child = make()
    child.call(b"fine", timeout_s=10)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: child.call(f"<{n}>".encode(), timeout_s=10), range(50)))
    assert answers == [f"<{n}>".encode() for n in range(50)]


def test_the_environment_is_what_was_given(make, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for children")
    monkeypatch.setenv("BUILDPEER_TOKEN_KEY", "nor this")
    child = make(env=minimal_env({"GIVEN": "this"}))
    seen = json.loads(child.call(b"environment", timeout_s=10))
    assert seen["GIVEN"] == "this"
    # Python adds LC_CTYPE by itself (PEP 538)
    assert set(seen) <= {"PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "GIVEN", "LC_CTYPE"}


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs Linux and the right to unshare")
def test_no_network(make):
    child = make(limits=Limits(network=False))
    names = [line.split(b":")[0].strip() for line in child.call(b"interfaces", timeout_s=10).splitlines()[2:]]
    assert names == [b"lo"]


@pytest.mark.skipif(sys.platform != "linux", reason="the filter for calls is Linux's")
def test_no_socket_and_no_other_program_even_without_root(make):
    # tracing is as a rule nobody's right without root
    assert {"internet", "unix", "pair", "program", "exec"} <= set(json.loads(make().call(b"escape", timeout_s=10)))
    child = make(limits=Limits(network=False))
    assert json.loads(child.call(b"escape", timeout_s=10)) == []
    assert child.call(b"fine", timeout_s=10) == b"fine"


def test_cpu_is_limited_for_each_request_alone(make):
    child = make(limits=Limits(cpu_s=1))
    pid = child.call(b"pid", timeout_s=10)
    started = time.monotonic()
    with pytest.raises(ChildTimeoutError, match="CPU"):
        child.call(b"hang", timeout_s=60)
    assert time.monotonic() - started < 20
    for _ in range(5):
        assert child.call(b"spin", timeout_s=10) == b"spun"  # 0.6 s each: three seconds in one process
    assert child.call(b"pid", timeout_s=10) != pid


def test_open_files_are_limited(make):
    child = make(limits=Limits(memory_bytes=2 * 1024**3))
    with pytest.raises(ChildCrashedError, match="Too many open files"):
        child.call(b"files", timeout_s=10)


def test_a_child_that_cant_start_is_nobodys_fault(make):
    child = make(env=minimal_env({"NEVER_START": "1"}))
    with pytest.raises(ChildStartError):
        child.call(b"fine", timeout_s=10)
    assert not issubclass(ChildStartError, ChildError)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_children_die_with_their_owner_even_when_busy(tmp_path):
    busy = tmp_path / "busy"
    script = (
        "from buildpeer.processing.children import Child, minimal_env\n"
        "child = Child('misbehave:answer', env=minimal_env())\n"
        "print(child.call(b'pid', timeout_s=10).decode(), flush=True)\n"
        f"child.call(b'hang:{busy}', timeout_s=60)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([HERE, *sys.path])}
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env)
    try:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        wait_for(busy.exists)
        assert not gone(pid)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    wait_for(lambda: gone(pid))


def test_stop_waits_for_the_call_under_way(make):
    child = make()
    child.call(b"fine", timeout_s=10)
    pid = child.pid
    stopper = threading.Thread(target=child.stop)
    stopper.start()
    stopper.join(5)
    assert child.pid is None and gone(pid)
