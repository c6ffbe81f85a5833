"""The worker as the consumer of the status queues."""

from typing import Any

import pytest

from buildpeer.entrypoints import worker
from buildpeer.platform.db import Database
from buildpeer.wiring import STATUS, topology

QUEUE = next(
    queue
    for queue in topology(uploads_bucket="buildpeer-uploads", verdicts="scan").queues
    if queue.step is STATUS and queue.lane == "bulk"
)


async def test_while_postgres_is_away_no_message_is_taken(worker_clients: Any) -> None:
    away = await Database.connect(worker_clients.settings.database_url)
    await away.close()
    queues = worker_clients.queues
    await queues.send(QUEUE.name, ["kept for later"])
    with pytest.raises(Exception, match="pool is closed"):
        await worker.consume(away, worker_clients.storage, queues, QUEUE)
    [message] = await queues.receive(QUEUE.name, wait_s=2)
    await queues.delete(QUEUE.name, [message])
    assert (message.body, message.receives) == ("kept for later", 1)
