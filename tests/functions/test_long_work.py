"""Work that takes longer than a message is hidden: nobody else gets it meanwhile. Time is the clouds' own here."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.simulation.fakes import Cloud

from buildpeer import wiring
from buildpeer.entrypoints import worker
from buildpeer.entrypoints.functions import runner
from buildpeer.platform import aws, clock
from buildpeer.platform.config import Settings
from buildpeer.platform.messaging import Queues
from buildpeer.processing.children import ChildTimeoutError

TOPOLOGY = wiring.topology(uploads_bucket="buildpeer-uploads", verdicts="scan")


class Slow:
    """A queue full of messages, and work on them that takes its time."""

    def __init__(self, step: wiring.Step, patch: pytest.MonkeyPatch) -> None:
        self.now = clock.now()
        self.queue = next(queue for queue in TOPOLOGY.queues if queue.step is step)
        self.cloud = Cloud(TOPOLOGY, lambda: self.now)
        for n in range(step.batch):
            self.cloud.sqs.put(self.queue.name, f"m{n}")
        patch.setattr(aws, "client", self.cloud.client)

    def work(self, seconds: float) -> None:
        """Let time pass; nothing that is in work can be received meanwhile."""
        self.now += timedelta(seconds=seconds)
        assert self.cloud.sqs.visible(self.queue.name) == []


def test_messages_that_get_a_try_alone_wait_for_it_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(wiring.SCAN, monkeypatch)
    tried: list[int] = []

    class Worker(runner.Worker):
        def _invoke(self, queue: wiring.Queue, batch: Any) -> set[str]:
            tried.append(len(batch))
            slow.work(wiring.SCAN.timeout_s * len(batch))
            if len(batch) > 1:
                raise ChildTimeoutError("one of them hangs")
            return set()

    keys = {f"BUILDPEER_SCAN_AWS_{part}": "x" for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    never: Any = SimpleNamespace(is_set=lambda: False)
    serving = Worker(wiring.SCAN, [slow.queue], 0, settings=Settings(), env=keys, stop=never, folder="/tmp")
    serving._turn()
    assert tried == [5, 1, 1, 1, 1, 1]
    assert slow.cloud.sqs.queues[slow.queue.name] == []


async def test_facts_that_wait_behind_slow_ones_stay_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(wiring.STATUS, monkeypatch)

    async def handled(*_: Any) -> bool:
        slow.work(wiring.STATUS.timeout_s)
        return True

    class Nowhere:
        async def call(self, _sql: str) -> None: ...

    now: Any = lambda: slow.now.timestamp()  # noqa: E731, PLW0108 - its `now` moves on
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=now))

    async def not_together(*_: Any) -> bool:
        return False

    monkeypatch.setattr(worker, "_handled", handled)
    monkeypatch.setattr(worker, "_handled_together", not_together)
    nowhere: Any = Nowhere()
    assert await worker.consume(nowhere, nowhere, Queues(Settings(), threads=1), slow.queue) == wiring.STATUS.batch
    assert slow.cloud.sqs.queues[slow.queue.name] == []


def test_every_queue_hides_a_message_six_times_as_long_as_a_try_takes_and_gives_it_five() -> None:
    for queue in TOPOLOGY.queues:
        assert queue.visibility_s >= 6 * queue.step.timeout_s
        assert queue.max_receives == 5
