import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.local.services import running_services

from buildpeer.entrypoints.functions import aws, derive, scan
from buildpeer.local.stack import Stack
from buildpeer.wiring import LANES, STATUS, queue_name

UPLOADS = "buildpeer-uploads"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Services of their own: these tests empty queues, and nobody else may take messages."""
    with running_services(tmp_path_factory.mktemp("functions-stack")) as stack:
        yield stack


class Bucket:
    """Puts files where phones do."""

    def __init__(self, stack: Stack) -> None:
        self.s3 = stack.ministack.client("s3")

    def put(self, key: str, body: Any) -> dict[str, Any]:
        """Put an object; returns it as S3's event names it."""
        made = self.s3.put_object(Bucket=UPLOADS, Key=key, Body=body)
        head = self.s3.head_object(Bucket=UPLOADS, Key=key)
        return {
            "key": key,
            "size": head["ContentLength"],
            "etag": made["ETag"].strip('"'),
            "version-id": made["VersionId"],
        }


class Bus:
    """Everything that reached the worker's queues."""

    def __init__(self, stack: Stack) -> None:
        self.sqs = stack.ministack.client("sqs")
        self._urls = [self.url(queue_name(STATUS, lane)) for lane in LANES]
        self.events: list[dict[str, Any]] = []

    def url(self, queue: str) -> str:
        return self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def details(self, key: str, detail_type: str, *, count: int = 1, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """Wait for so many events about a key; returns their details."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = [
                event["detail"]
                for event in self.events
                if event["detail-type"] == detail_type and event["detail"]["object"]["key"] == key
            ]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{detail_type} of {key}: {len(found)} of {count}"
            self.receive()

    def receive(self, *, wait_s: int = 0) -> None:
        got = False
        for url in self._urls:
            answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
            for message in answer.get("Messages", []):
                self.events.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                got = True
        if not got:
            time.sleep(0.05)


@pytest.fixture(scope="session")
def bucket(stack: Stack) -> Bucket:
    return Bucket(stack)


@pytest.fixture(scope="session")
def bus(stack: Stack) -> Bus:
    return Bus(stack)


@pytest.fixture
def act_as(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Give this process the environment that a function has, and its least rights."""

    def become(function: str, **settings: str) -> None:
        forget()
        env = stack.env("functions")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, env[f"BUILDPEER_{function.upper()}_{name}"])
        for name, value in (env | settings).items():
            if name.startswith("BUILDPEER_"):
                monkeypatch.setenv(name, value)

    def forget() -> None:
        if derive._deriver.cache_info().currsize:
            derive._deriver().stop()
        if scan._scanner.cache_info().currsize:
            scan._scanner().stop()
        for cached in (aws.aws, scan._scanner, derive._deriver):
            cached.cache_clear()

    yield become
    forget()
