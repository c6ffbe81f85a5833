"""`buildpeer up` as people meet it: started, broken, killed, and started again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
import redis
from rich.console import Console
from tests.local.services import config_for, free_ports, stop_services

from buildpeer.local.processes import StackError, wait_until
from buildpeer.local.stack import Ports, Stack, StackConfig

FAKE = Path(__file__).with_name("fake_up.py")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class Up:
    """A running `buildpeer up` and what it has said so far."""

    def __init__(self, config: StackConfig) -> None:
        self.config = config
        file = config.data_dir.with_suffix(".json")
        file.write_bytes(msgspec.json.encode(config, enc_hook=str))
        self.said_file = config.data_dir.with_suffix(f".{time.monotonic_ns()}.out")
        with self.said_file.open("wb") as output:
            argv = [sys.executable, str(FAKE), "up", str(file)]
            self.process = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True)

    @property
    def said(self) -> str:
        return self.said_file.read_text()

    def wait_for(self, text: str) -> None:
        def ready() -> bool:
            if self.process.poll() is not None and text not in self.said:
                raise AssertionError(f"ended with {self.process.returncode}: {self.said}")
            return text in self.said

        wait_until(ready, what=f"{text!r} in {self.said!r}", timeout_s=20)

    def pids(self) -> dict[str, int]:
        known = json.loads((self.config.data_dir / "processes.json").read_bytes())
        return {each["name"]: each["pid"] for each in known}

    def ended(self) -> int:
        """Its exit code; it must end by itself."""
        try:
            return self.process.wait(timeout=20)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it politely if it still runs, so that the next test finds the ports free."""
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackConfig]:
    """One data directory for these tests: each starts on what the one before left."""
    config = config_for(tmp_path_factory.mktemp("up") / "data")
    yield config
    stack = Stack(config, console=Console(quiet=True))
    stack.start_services()
    stop_services(stack)


@pytest.fixture
def up(config: StackConfig) -> Iterator[Up]:
    up = Up(config)
    yield up
    up.kill()


def test_it_says_where_everything_is_and_stops_on_ctrl_c(up: Up):
    up.wait_for("To sign in")
    kept = json.loads((up.config.data_dir / "secrets.json").read_bytes())
    up.wait_for(kept["demo_password"])
    assert "ana@[example].test" in up.said
    assert f"http://127.0.0.1:{up.config.ports.api}" in up.said
    assert httpx.get(f"http://127.0.0.1:{up.config.ports.api}/healthz").status_code == 200
    assert not list(up.config.data_dir.glob("*.answer"))
    pids = up.pids()
    assert set(pids) == {"postgres", "ministack", "valkey", "api", "worker", "functions", "mail"}
    began = time.monotonic()
    os.kill(up.process.pid, signal.SIGINT)
    assert up.process.wait(timeout=10) == 0
    assert time.monotonic() - began < 5
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert up.said.endswith("Stopping.\n")


def test_a_process_that_dies_is_started_again_and_sigterm_stops_all(up: Up):
    up.wait_for("To sign in")
    pids = up.pids()
    for name in ("worker", "valkey", "postgres"):
        os.kill(pids[name], signal.SIGKILL)
    for name in ("worker", "valkey", "postgres"):
        up.wait_for(f"{name} was ended by SIGKILL; starting it again in 0.5 s")
    stack_url = json.loads((up.config.data_dir / "secrets.json").read_bytes())["valkey_password"]

    def back() -> bool:
        now = up.pids()
        if not {"worker", "valkey", "postgres"} <= set(now) or now["postgres"] == pids["postgres"]:
            return False
        with redis.Redis(port=up.config.ports.valkey, password=stack_url) as valkey:
            try:
                return bool(valkey.ping()) and httpx.get(f"http://127.0.0.1:{up.config.ports.api}/healthz").is_success
            except (redis.ConnectionError, httpx.TransportError):
                return False

    wait_until(back, what="everything", timeout_s=15)
    pids = up.pids()
    os.kill(up.process.pid, signal.SIGTERM)
    assert up.process.wait(timeout=10) == 0
    assert not [name for name, pid in pids.items() if alive(pid)]


def test_a_killed_supervisor_leaves_no_orphans(up: Up):
    up.wait_for("To sign in")
    pids = up.pids()
    assert len(pids) == 7
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not [pid for pid in pids.values() if alive(pid)], what="the end of all", timeout_s=5)


def test_two_on_one_data_directory_are_one_too_many(up: Up, config: StackConfig):
    up.wait_for("To sign in")
    with pytest.raises(StackError, match=rf"already up on .* \(process {up.process.pid}\)"):
        Stack(msgspec.structs.replace(config, ports=free_ports())).start_services()
    assert httpx.get(f"http://127.0.0.1:{config.ports.api}/healthz").is_success


@pytest.mark.parametrize("field", ["postgres", "s3", "valkey"])
def test_a_taken_port_is_named_before_anything_starts(config: StackConfig, field: str):
    setting = rf"BUILDPEER_{field.upper()}_PORT=<port>"
    with (
        socket.create_server(("127.0.0.1", getattr(config.ports, field))),
        pytest.raises(StackError, match=setting),
    ):
        Stack(config, console=Console(quiet=True)).start_services()
    assert json.loads((config.data_dir / "processes.json").read_bytes()) == []


def test_a_taken_api_port_is_named_too(config: StackConfig):
    with socket.create_server(("127.0.0.1", config.ports.api)):
        up = Up(config)
        assert up.ended() == 1
    assert "BUILDPEER_API_PORT=<port>" in up.said
    assert up.pids() == {}


def test_a_program_that_cannot_start_ends_everything_and_says_why(config: StackConfig):
    up = Up(msgspec.structs.replace(config, settings={"BUILDPEER_BROKEN": "1"}))
    assert up.ended() == 1
    assert "api ended with code 1 right away" in up.said
    assert "the api has a reason to end" in up.said
    assert up.pids() == {}


def test_everything_killed_at_once_is_back_with_all_it_had(config: StackConfig):
    stack = Stack(config, console=Console(quiet=True))
    stack.start_services()
    try:
        s3, sqs = stack.ministack.client("s3"), stack.ministack.client("sqs")
        bucket, keys = "buildpeer-uploads", stack.env("api")["AWS_ACCESS_KEY_ID"]
        version = s3.put_object(Bucket=bucket, Key="live/kept", Body=b"first")["VersionId"]
        s3.put_object(Bucket=bucket, Key="live/kept", Body=b"second")
        url = sqs.get_queue_url(QueueName="buildpeer-scan-bulk")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="kept")
        valkey = redis.Redis.from_url(stack.valkey.url)
        valkey.set("kept", "1")
        valkey.waitaof(1, 0, 2000)
        valkey.close()
        stack.postgres.execute("create table if not exists kept (n int); insert into kept values (1)")
        state = config.data_dir / "ministack" / "state" / "sqs.json"
        wait_until(lambda: b'"kept"' in state.read_bytes(), what="the saved queue", timeout_s=30)

        pids = [each["pid"] for each in json.loads((config.data_dir / "processes.json").read_bytes())]
        assert len(pids) == 3
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    finally:
        stack.stop()

    moved = msgspec.structs.replace(config, ports=free_ports())
    began = time.monotonic()
    with Stack(moved, console=Console(quiet=True)) as again:
        assert time.monotonic() - began < 30
        assert again.env("api")["AWS_ACCESS_KEY_ID"] == keys
        s3, sqs = again.ministack.client("s3"), again.ministack.client("sqs")
        assert s3.get_object(Bucket=bucket, Key="live/kept", VersionId=version)["Body"].read() == b"first"
        assert s3.get_object(Bucket=bucket, Key="live/kept")["Body"].read() == b"second"
        url = sqs.get_queue_url(QueueName="buildpeer-scan-bulk")["QueueUrl"]
        [message] = sqs.receive_message(QueueUrl=url)["Messages"]
        assert message["Body"] == "kept"
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        with redis.Redis.from_url(again.valkey.url) as valkey:
            assert valkey.get("kept") == b"1"
        again.postgres.execute("do $$ begin assert (select count(*) from kept) = 1; end $$; drop table kept")
        s3.put_object(Bucket=bucket, Key="bulk/new", Body=b"x")
        [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]
        assert json.loads(message["Body"])["detail"]["object"]["key"] == "bulk/new"
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def test_roles_get_their_passwords_once_they_exist(config: StackConfig):
    stack = Stack(config, console=Console(quiet=True))
    stack.start_services()
    try:
        stack.set_role_passwords()
        connection = await asyncpg.connect(stack.env("worker")["BUILDPEER_DATABASE_URL"])
        assert await connection.fetchval("select current_user") == "buildpeer_worker"
        await connection.close()
        admin = await asyncpg.connect(stack.env("admin")["BUILDPEER_ADMIN_DATABASE_URL"])
        await admin.execute("drop role buildpeer_worker")
        await admin.close()
        with pytest.raises(StackError, match="buildpeer_worker isn't there; have the migrations run"):
            stack.set_role_passwords()
    finally:
        stack.stop()


def test_another_postgres_than_the_secrets_know_is_explained(config: StackConfig):
    kept = config.data_dir / "secrets.json"
    shutil.copy(kept, kept.with_suffix(".kept"))
    changed = json.loads(kept.read_bytes()) | {"postgres_password": "another"}
    kept.write_text(json.dumps(changed))
    try:
        with pytest.raises(StackError, match="another password"):
            Stack(config, console=Console(quiet=True)).start_services()
    finally:
        shutil.move(kept.with_suffix(".kept"), kept)


def test_ports_come_from_the_environment():
    assert Ports.from_env({}) == Ports(api=8000, postgres=5995, s3=4566, valkey=6395, smtp=2525, mail=8025)
    assert Ports.from_env({"BUILDPEER_S3_PORT": "14566"}).s3 == 14566
    bad: Any
    for bad in ("", "0", "65536", "-1", "x"):
        with pytest.raises(StackError, match="BUILDPEER_API_PORT must be a port"):
            Ports.from_env({"BUILDPEER_API_PORT": bad})
