"""`buildpeer functions` as a process, against real queues: lanes, poison, stops and kills."""

import contextlib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from PIL import Image

from buildpeer.entrypoints.functions import runner
from buildpeer.layout import Range, chunk_key
from buildpeer.platform.config import ConfigError, Settings
from buildpeer.processing.children import ChildCrashedError, ChildTimeoutError

SLOW = b"slow to scan"
KEYS = {
    f"BUILDPEER_{function}_AWS_{part}": f"{function}-{part}"
    for function in ("SCAN", "DERIVE", "ASSEMBLE")
    for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
}


def wait_for(condition: Callable[[], Any], *, timeout_s: float = 15.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return found


def photo() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((800, 600)).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def new_key(lane: str = "live") -> str:
    return f"{lane}/{uuid4()}/{uuid4()}"


class Runner:
    """The process under test."""

    def __init__(self, stack: Any, log: Path, **settings: str) -> None:
        self.log = log
        program = "from buildpeer.entrypoints.functions.runner import run, Settings; run(Settings.from_env())"
        env = stack.env("functions") | {"TMPDIR": str(log.parent)} | settings
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        with log.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, "-c", program], env=env, stderr=file)

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def children(self) -> list[int]:
        """Every descendant's process id."""
        look = [self.process.pid]
        for pid in look:
            for file in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    look += [int(child) for child in file.read_text().split()]
        return look[1:]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)


@pytest.fixture
def run(stack, tmp_path) -> Iterator[Callable[..., Runner]]:
    made: list[Runner] = []

    def start(**settings: str) -> Runner:
        made.append(Runner(stack, tmp_path / f"log{len(made)}", **settings))
        wait_for(lambda: made[-1].lines("functions.started"))
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.process.terminate()
    for each in made:
        if each.process.wait(15) == -signal.SIGKILL:
            # its last receives are still open at the other end, and would take the next test's messages
            time.sleep(runner.WAIT_S)


@pytest.fixture
def stuck_clamd(tmp_path) -> Iterator[tuple[str, threading.Semaphore]]:
    """A scanner that never answers for a file that says so; the semaphore counts those it is asked about."""
    address, asked, over = str(tmp_path / "clamd.sock"), threading.Semaphore(0), threading.Event()
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()

    def talk(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file, contextlib.suppress(OSError):
            file.read(10)
            data = b""
            while size := struct.unpack("!I", file.read(4))[0]:
                data += file.read(size)
            if SLOW in data:
                asked.release()
                over.wait(60)
            connection.sendall(b"stream: OK\0")

    threads: list[threading.Thread] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=talk, args=[server.accept()[0]]))
                threads[-1].start()

    threads.append(threading.Thread(target=serve))
    threads[0].start()
    yield address, asked
    over.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for thread in threads:
        thread.join(5)


@pytest.fixture(autouse=True)
def empty_queues(request: pytest.FixtureRequest) -> None:
    if "run" in request.fixturenames:
        bus = request.getfixturevalue("bus")
        for step in ("scan", "derive"):
            for lane in ("live", "bulk"):
                bus.sqs.purge_queue(QueueUrl=bus.url(f"buildpeer-{step}-{lane}"))


def counts(bus: Any, queue: str) -> tuple[int, int]:
    """How many messages of a queue are visible, and how many are in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = bus.sqs.get_queue_attributes(QueueUrl=bus.url(queue), AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_files_of_both_lanes_go_all_the_way(run, bucket, bus):
    running = run()
    photos = [bucket.put(new_key(lane), photo()) for lane in ("live", "bulk", "live", "bulk")]
    infected = bucket.put(new_key(), b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*")
    for thing in photos:
        (derived,) = bus.details(thing["key"], "File Derived")
        assert derived["object"] == thing and derived["thumbnail"]["width"] == 400
        bucket.s3.head_object(Bucket="buildpeer-derived", Key=derived["preview"]["key"])
    assert bus.details(infected["key"], "File Scanned")[0]["verdict"] == "infected"
    for queue in ("scan-live", "scan-bulk", "derive-live", "derive-bulk"):
        wait_for(lambda queue=queue: counts(bus, f"buildpeer-{queue}") == (0, 0))
    # a line per file and step, and nothing derived from the infected one
    done = [(line["step"], line["key"], line["outcome"]) for line in running.lines("function.done")]
    expected = [
        *(("scan", thing["key"], "clean") for thing in photos),
        *(("derive", thing["key"], "derived") for thing in photos),
        ("scan", infected["key"], "infected"),
    ]
    assert sorted(done) == sorted(expected)
    assert all(isinstance(line["ms"], int) for line in running.lines("function.done"))
    assert running.stop() == 0


def test_poison_comes_back_soon_and_harms_nobody(run, bucket, bus):
    bus.sqs.send_message(QueueUrl=bus.url("buildpeer-scan-live"), MessageBody="poison")
    thing = bucket.put(new_key(), b"next to poison")
    running = run()
    assert bus.details(thing["key"], "File Scanned")
    wait_for(lambda: len(running.lines("function.failed")) >= 2)
    assert sum(counts(bus, "buildpeer-scan-live")) == 1


def test_a_child_has_the_keys_of_its_own_function_only(run, stack, bucket, bus):
    running = run(BUILDPEER_TOKEN_KEY="not for functions")
    for _ in range(3):
        bus.details(bucket.put(new_key(), photo())["key"], "File Derived")
    env = stack.env("functions")
    secrets = {name: env[f"BUILDPEER_{name}_AWS_SECRET_ACCESS_KEY"].encode() for name in ("SCAN", "DERIVE")}
    seen = set()
    for pid in running.children():
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        held = frozenset(name for name, secret in secrets.items() if secret in environment)
        assert len(held) <= 1 and b"TOKEN_KEY" not in environment
        seen.add(held)
    # scan's child, derive's child, and the parser below it, which has none
    assert seen == {frozenset({"SCAN"}), frozenset({"DERIVE"}), frozenset()}


def test_a_part_is_joined_by_a_child_of_its_own(run, bucket, bus):
    run()
    data, key = photo(), new_key()
    chunk = chunk_key(key, Range(0, len(data)))
    bucket.s3.put_object(Bucket="buildpeer-chunks", Key=chunk, Body=data)
    detail = {"bucket": {"name": "buildpeer-uploads"}, "object": {"key": key, "size": len(data)}, "part": 1}
    wanted = {"source": "buildpeer.uploads", "detail-type": "Part Wanted", "detail": detail}
    bus.sqs.send_message(QueueUrl=bus.url("buildpeer-assemble-live"), MessageBody=json.dumps(wanted))
    (told,) = bus.details(key, "Part Assembled")
    assert told["outcome"] == "joined"
    assert bus.details(key, "File Derived")  # and goes the way of every file


def test_a_kickoff_doesnt_stand_in_front_of_one_photo(run, bucket, bus, stuck_clamd):
    address, asked = stuck_clamd
    for _ in range(12):
        bucket.put(new_key("bulk"), SLOW)
    running = run(BUILDPEER_CLAMD=address)
    assert asked.acquire(timeout=10)  # one worker hangs in bulk
    started = time.monotonic()
    thing = bucket.put(new_key("live"), photo())
    bus.details(thing["key"], "File Derived")
    assert time.monotonic() - started < 10 and running.process.poll() is None


def test_sigterm_gives_back_what_it_cant_finish(run, bucket, bus, stuck_clamd):
    address, asked = stuck_clamd
    running = run(BUILDPEER_CLAMD=address)
    thing = bucket.put(new_key(), SLOW)
    assert asked.acquire(timeout=10)
    children = running.children()
    assert counts(bus, "buildpeer-scan-live") == (0, 1)
    started = time.monotonic()
    assert running.stop() == 0
    assert 4 < time.monotonic() - started < 8
    assert children and all(dead(pid) for pid in children)
    assert counts(bus, "buildpeer-scan-live") == (1, 0)  # visible at once, not in six minutes
    run()
    assert bus.details(thing["key"], "File Scanned")[0]["verdict"] == "clean"


def test_sigterm_when_idle_is_quick(run):
    running = run()
    started = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started < 4


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_kill_9_leaves_no_child_and_loses_no_message(run, bucket, bus, stuck_clamd):
    address, asked = stuck_clamd
    running = run(BUILDPEER_CLAMD=address)
    bus.details(bucket.put(new_key(), photo())["key"], "File Derived")  # so that there is a parser too
    bucket.put(new_key(), SLOW)
    assert asked.acquire(timeout=10)
    children = running.children()
    assert len(children) >= 3
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    wait_for(lambda: all(dead(pid) for pid in children))
    assert sum(counts(bus, "buildpeer-scan-live")) == 1


def test_it_outlives_a_queue_service_that_comes_late(stack, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        running = Runner(stack, tmp_path / "log", BUILDPEER_AWS_ENDPOINT_URL=url)
        try:
            wait_for(lambda: len(running.lines("functions.turn_failed")) >= 5, timeout_s=30)
            assert running.process.poll() is None
        finally:
            running.process.kill()
            running.process.wait()


def workers(tmp_path: Path, **settings: str) -> list[runner.Worker]:
    env = {"BUILDPEER_AWS_ENDPOINT_URL": "http://127.0.0.1:1"} | settings
    return runner.make_workers(Settings.from_env(env), KEYS, stop=threading.Event(), folder=str(tmp_path))


def test_one_worker_of_each_step_is_kept_for_live(tmp_path):
    lanes = {worker.name: [queue.name for queue in worker._queues] for worker in workers(tmp_path)}
    assert lanes == {
        "scan-0": ["buildpeer-scan-live"],
        "scan-1": ["buildpeer-scan-live", "buildpeer-scan-bulk"],
        "scan-2": ["buildpeer-scan-live", "buildpeer-scan-bulk"],
        "derive-0": ["buildpeer-derive-live"],
        "derive-1": ["buildpeer-derive-live", "buildpeer-derive-bulk"],
        "derive-2": ["buildpeer-derive-live", "buildpeer-derive-bulk"],
        "assemble-0": ["buildpeer-assemble-live"],
        "assemble-1": ["buildpeer-assemble-live", "buildpeer-assemble-bulk"],
        "assemble-2": ["buildpeer-assemble-live", "buildpeer-assemble-bulk"],
    }
    guarded = [worker.name for worker in workers(tmp_path, BUILDPEER_VERDICTS="guardduty")]
    assert guarded == [name for name in lanes if not name.startswith("scan")]


def test_keys_are_required(tmp_path):
    with pytest.raises(ConfigError, match="BUILDPEER_SCAN_AWS_ACCESS_KEY_ID"):
        runner.make_workers(Settings(), {}, stop=threading.Event(), folder=str(tmp_path))


@pytest.mark.parametrize("error", [ChildCrashedError, ChildTimeoutError])
def test_a_message_that_kills_the_child_fails_alone(tmp_path, error):
    class FakeChild:
        def call(self, request: bytes, *, timeout_s: float) -> bytes:
            records = msgspec.msgpack.decode(request)["event"]["Records"]
            assert timeout_s == 60 * len(records)
            if any(record["body"] == "deadly" for record in records):
                raise error
            return msgspec.msgpack.encode({"batchItemFailures": []})

    worker = workers(tmp_path)[0]
    worker._child = FakeChild()  # type: ignore[assignment]
    worker._keep_hidden = lambda queue, batch: None
    batch = [
        {"MessageId": str(n), "ReceiptHandle": "", "Body": body} for n, body in enumerate(["fine", "deadly", "fine"])
    ]
    assert worker._failed_of(worker._queues[0], batch) == {"1"}


def test_backoff_grows_to_a_minute():
    for receives, (least, most) in {1: (1, 2), 2: (2, 4), 3: (4, 8), 6: (30, 60), 50: (30, 60)}.items():
        waits = {runner.backoff_s(receives) for _ in range(200)}
        assert least <= min(waits) <= max(waits) <= most
    assert len({runner.backoff_s(6) for _ in range(200)}) > 5
