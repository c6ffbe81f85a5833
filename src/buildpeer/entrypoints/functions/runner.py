"""The local stand-in for Lambda and its SQS event source mappings: the same handlers, in child processes.

Per step there are workers, each a thread with a child of its own. The first serves `live` only, so a tenant's
kickoff never holds all of them; the others take `live` first and `bulk` when there is none. A child knows the
credentials of its own function and nothing else. A message is deleted once its handler is through with it:
whatever dies before that, the queue brings it again.
"""

import importlib
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import msgspec
import structlog
from botocore.exceptions import BotoCoreError, ClientError

from buildpeer.platform import aws
from buildpeer.platform.config import PREFIX, ConfigError, Settings
from buildpeer.platform.telemetry import configure_logging
from buildpeer.processing.children import Child, ChildError, ChildStartError, minimal_env
from buildpeer.wiring import Lane, Queue, Step, topology

WORKERS_PER_STEP = 3
WAIT_S = 1  # of a receive; short, since a killed runner's last one still takes messages, and so that a stop is quick
GRACE_S = 5.0
MAX_BACKOFF_S = 60

log = structlog.get_logger("buildpeer.functions")

Message = dict[str, Any]
Batch = Sequence[Message]


class Call(msgspec.Struct, frozen=True):
    """What a child is asked: a function's name and the SQS event for it."""

    function: str
    event: dict[str, Any]


def run(settings: Settings, env: Mapping[str, str] | None = None) -> None:
    """Run every function until SIGTERM or SIGINT; what is under way gets five seconds to finish.

    `env` (this process's, unless given) holds a key pair per function: BUILDPEER_SCAN_AWS_ACCESS_KEY_ID,
    BUILDPEER_SCAN_AWS_SECRET_ACCESS_KEY, BUILDPEER_DERIVE_…, BUILDPEER_ASSEMBLE_… . Raises ConfigError when one is
    missing.
    """
    configure_logging(settings, process="functions")
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="buildpeer-functions-") as folder:
        workers = make_workers(settings, os.environ if env is None else env, stop=stop, folder=folder)
        _on_stop(stop)
        for worker in workers:
            worker.start()
        log.info("functions.started", workers=[worker.name for worker in workers])
        stop.wait()
        _finish(workers)
        log.info("functions.stopped")


def invoke(request: bytes) -> bytes:
    """The child's door: run one function's handler on one SQS event."""
    call = msgspec.msgpack.decode(request, type=Call)
    function = importlib.import_module(f"{__package__}.{call.function}")
    return msgspec.msgpack.encode(function.handler(call.event, None))


def make_workers(settings: Settings, env: Mapping[str, str], *, stop: threading.Event, folder: str) -> list["Worker"]:
    """The workers of every step that has a function, not yet started; see run."""
    queues = topology(uploads_bucket=settings.uploads_bucket, verdicts=settings.verdicts).queues
    by_step: dict[Step, list[Queue]] = {}
    for queue in queues:
        if queue.step.function:
            by_step.setdefault(queue.step, []).append(queue)
    return [
        Worker(step, lanes, number, settings=settings, env=env, stop=stop, folder=folder)
        for step, step_queues in by_step.items()
        for number in range(WORKERS_PER_STEP)
        for lanes in [_by_lane(step_queues, ("live",) if number == 0 else ("live", "bulk"))]
    ]


class Worker(threading.Thread):
    """Serves the queues of one step, in the order given, with a child of its own."""

    def __init__(
        self,
        step: Step,
        queues: Sequence[Queue],
        number: int,
        *,
        settings: Settings,
        env: Mapping[str, str],
        stop: threading.Event,
        folder: str,
    ) -> None:
        super().__init__(name=f"{step.name}-{number}", daemon=True)
        self._step = step
        self._queues = queues
        self._stop_asked = stop
        keys = _keys(step, env)
        self._sqs = aws.client("sqs", settings, key=(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]))
        self._child = Child(
            f"{__name__}:invoke", env=minimal_env(_child_env(settings, step) | keys | {"TMPDIR": folder})
        )
        self._urls: dict[str, str] = {}

    def run(self) -> None:
        """Receive, handle, delete, until asked to stop; no error ends it."""
        while not self._stop_asked.is_set():
            try:
                self._turn()
            except Exception as exc:
                log.warning("functions.turn_failed", worker=self.name, error=str(exc))
                self._stop_asked.wait(1)
        self._child.stop()

    def kill_child(self) -> None:
        """End what is under way, whose messages then come back."""
        self._child.kill()

    def _turn(self) -> None:
        """One batch, from the first queue that has one; only the last queue is waited for."""
        for queue in self._queues:
            wait = WAIT_S if queue is self._queues[-1] else 0
            if batch := self._receive(queue, wait):
                self._handle(queue, batch)
                return

    def _receive(self, queue: Queue, wait: int) -> Batch:
        answer = self._sqs.receive_message(
            QueueUrl=self._url(queue),
            MaxNumberOfMessages=self._step.batch,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return answer.get("Messages", [])

    def _handle(self, queue: Queue, batch: Batch) -> None:
        failed = self._failed_of(queue, batch)
        self._end(queue, [message for message in batch if message["MessageId"] not in failed])
        self._bring_again(queue, [message for message in batch if message["MessageId"] in failed])

    def _failed_of(self, queue: Queue, batch: Batch) -> set[str]:
        """The ids of what must come again; when the child fails over several, each gets a try alone."""
        if self._stop_asked.is_set():
            return _ids(batch)
        try:
            return self._invoke(queue, batch)
        except (ChildError, ChildStartError) as exc:
            log.warning("functions.child_failed", worker=self.name, messages=len(batch), error=str(exc))
        if len(batch) == 1:
            return _ids(batch)
        self._keep_hidden(queue, batch)
        return set[str]().union(*(self._failed_of(queue, [message]) for message in batch))

    def _invoke(self, queue: Queue, batch: Batch) -> set[str]:
        """The ids of the messages that failed; raises ChildError when the child did."""
        event = {"Records": [_record(queue, message) for message in batch]}
        request = msgspec.msgpack.encode(Call(self._step.function or "", event))
        answer = self._child.call(request, timeout_s=self._step.timeout_s * len(batch))
        failures = msgspec.msgpack.decode(answer)["batchItemFailures"]
        return {failure["itemIdentifier"] for failure in failures}

    def _end(self, queue: Queue, done: Batch) -> None:
        if not done:
            return
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(done)
        ]
        answer = self._sqs.delete_message_batch(QueueUrl=self._url(queue), Entries=entries)
        if kept := answer.get("Failed"):  # they come again, and again give the same
            log.warning("functions.not_deleted", worker=self.name, messages=len(kept))

    def _bring_again(self, queue: Queue, failed: Batch) -> None:
        """Show failed messages again soon, later each time, and not after the whole visibility time."""
        for message in failed:
            self._sqs.change_message_visibility(
                QueueUrl=self._url(queue),
                ReceiptHandle=message["ReceiptHandle"],
                VisibilityTimeout=0 if self._stop_asked.is_set() else backoff_s(_receives(message)),
            )

    def _keep_hidden(self, queue: Queue, batch: Batch) -> None:
        """Begin the visibility time anew for messages whose work takes longer than a turn; at worst one comes twice."""
        try:
            for message in batch:
                self._sqs.change_message_visibility(
                    QueueUrl=self._url(queue),
                    ReceiptHandle=message["ReceiptHandle"],
                    VisibilityTimeout=queue.visibility_s,
                )
        except (BotoCoreError, ClientError) as exc:
            log.warning("functions.not_kept_hidden", worker=self.name, error=str(exc))

    def _url(self, queue: Queue) -> str:
        if queue.name not in self._urls:
            self._urls[queue.name] = self._sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]
        return self._urls[queue.name]


def backoff_s(receives: int) -> int:
    """Seconds until a message received so often comes again: up to 2, 4, 8 … 60, at least half of that."""
    most = min(2**receives, MAX_BACKOFF_S)
    return random.randint(most // 2, most)  # noqa: S311 # spreads load, guards nothing


def _on_stop(stop: threading.Event) -> None:
    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)


def _finish(workers: Sequence[Worker]) -> None:
    deadline = time.monotonic() + GRACE_S
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    for worker in workers:
        if worker.is_alive():
            worker.kill_child()
    for worker in workers:
        worker.join(2)


def _by_lane(queues: Sequence[Queue], lanes: Sequence[Lane]) -> list[Queue]:
    return [queue for lane in lanes for queue in queues if queue.lane == lane]


def _keys(step: Step, env: Mapping[str, str]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        given = f"{PREFIX}{step.name.upper()}_{name}"
        if not env.get(given):
            raise ConfigError(f"{given} is not set")
        keys[name] = env[given]
    return keys


def _child_env(settings: Settings, step: Step) -> dict[str, str]:
    env = {
        "AWS_DEFAULT_REGION": settings.aws_region,
        "AWS_EC2_METADATA_DISABLED": "true",
        f"{PREFIX}AWS_REGION": settings.aws_region,
        f"{PREFIX}UPLOADS_BUCKET": settings.uploads_bucket,
        f"{PREFIX}CHUNKS_BUCKET": settings.chunks_bucket,
        f"{PREFIX}DERIVED_BUCKET": settings.derived_bucket,
        f"{PREFIX}LOG_LEVEL": settings.log_level,
        f"{PREFIX}LOG_JSON": str(settings.log_json).lower(),
    }
    if settings.aws_endpoint_url:
        env[f"{PREFIX}AWS_ENDPOINT_URL"] = settings.aws_endpoint_url
    if settings.clamd and step.function == "scan":
        env[f"{PREFIX}CLAMD"] = settings.clamd
    return env


def _record(queue: Queue, message: Message) -> dict[str, Any]:
    # the record that Lambda gets: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:::{queue.name}",
    }


def _ids(batch: Batch) -> set[str]:
    return {message["MessageId"] for message in batch}


def _receives(message: Message) -> int:
    return int(message.get("Attributes", {}).get("ApproximateReceiveCount", "1"))
