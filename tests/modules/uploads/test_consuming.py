"""The worker as the consumer of the status queues."""

from typing import Any

import asyncpg
import httpx
import pytest
from tests.conftest import Company, Stack, declare, eventually
from tests.modules.uploads.arriving import BUCKET, key_of, message, open_files

from buildpeer import facts
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


async def test_facts_of_a_batch_are_one_transaction_and_a_bad_one_fails_alone(
    http: httpx.AsyncClient,
    stack: Stack,
    company: Company,
    worker_db: Database,
    worker_clients: Any,
    admin: asyncpg.Connection,
) -> None:
    caller, queues = await company.hire(), worker_clients.queues
    sqs = stack.ministack.client("sqs")
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=QUEUE.name)["QueueUrl"])
    opened = await open_files(http, company, caller, *(declare(f"{n}".encode()) for n in range(4)))

    def created(result: dict[str, Any]) -> str:
        place = facts.Object(key_of(company, result["upload"]), 1, "e", "v")
        fact = facts.ObjectCreated(facts.Bucket(BUCKET), place)
        return message(facts.SOURCE_S3, facts.OBJECT_CREATED, fact)

    async def consume() -> None:
        await worker.consume(worker_db, worker_clients.storage, queues, QUEUE)

    async def learnt() -> list[tuple[str, bool]]:
        rows = await admin.fetch(
            """select request_id, version_id = 'v' as known from uploads u join audit.entries e
              on e.tenant_id = u.tenant_id and e.object_id = u.upload_id::text and e.action = 'update'
            where u.tenant_id = $1 order by e.entry_id""",
            company.tenant_id,
        )
        return [(row["request_id"].partition(":")[0], row["known"]) for row in rows]

    await queues.send(QUEUE.name, [created(each) for each in opened[:2]])
    await consume()
    assert await learnt() == [("facts", True)] * 2
    await queues.send(QUEUE.name, [created(opened[2]), "poison", created(opened[3])])
    await consume()
    assert await learnt() == [*[("facts", True)] * 2, *[("fact", True)] * 2]
    [poison] = await eventually(lambda: queues.receive(QUEUE.name, wait_s=5))
    assert (poison.body, poison.receives) == ("poison", 2)
    await queues.delete(QUEUE.name, [poison])
