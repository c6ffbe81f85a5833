"""Queues and the bus: boto3 in bounded threads behind a few coroutines."""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.platform import aws
from buildpeer.platform.config import Settings

LOG = "log"  # the destination that people follow; every other one is a queue's name
SQS_BATCH = 10


class Outgoing(msgspec.Struct, frozen=True):
    """Something to tell once the transaction has committed; the log tells whoever sees the project, or one person."""

    destination: str
    type: str
    body: Any
    project_id: UUID | None = None
    person_id: UUID | None = None


class Message(msgspec.Struct, frozen=True):
    """One received queue message; `receives` counts this time too."""

    id: str
    receipt: str
    body: str
    receives: int


class Queues:
    """SQS for a process that receives or sends; every call runs in one of `threads` threads."""

    def __init__(self, settings: Settings, *, threads: int) -> None:
        self._sqs = aws.client("sqs", settings, pool=threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sqs")
        self._urls: dict[str, str] = {}

    async def receive(self, queue: str, *, wait_s: int, limit: int = SQS_BATCH) -> list[Message]:
        """Up to `limit` messages, waiting up to `wait_s` seconds for the first."""
        answer = await self._call(
            "receive_message",
            QueueUrl=await self._url(queue),
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Message(m["MessageId"], m["ReceiptHandle"], m["Body"], int(m["Attributes"]["ApproximateReceiveCount"]))
            for m in answer.get("Messages", [])
        ]

    async def delete(self, queue: str, messages: Sequence[Message]) -> None:
        """End up to ten messages; one that could not be deleted simply comes again."""
        if messages:
            entries = [{"Id": str(i), "ReceiptHandle": m.receipt} for i, m in enumerate(messages)]
            await self._call("delete_message_batch", QueueUrl=await self._url(queue), Entries=entries)

    async def hide(self, queue: str, message: Message, *, seconds: int) -> None:
        """Let a failed message come again after `seconds`."""
        await self._call(
            "change_message_visibility",
            QueueUrl=await self._url(queue),
            ReceiptHandle=message.receipt,
            VisibilityTimeout=seconds,
        )

    async def send(self, queue: str, bodies: Iterable[str]) -> list[int]:
        """Send up to ten messages; returns the indexes of those that the queue took."""
        entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)]
        answer = await self._call("send_message_batch", QueueUrl=await self._url(queue), Entries=entries)
        return [int(entry["Id"]) for entry in answer.get("Successful", [])]

    async def backlog(self, queue: str) -> int:
        """How many messages wait in a queue, roughly."""
        answer = await self._call(
            "get_queue_attributes",
            QueueUrl=await self._url(queue),
            AttributeNames=["ApproximateNumberOfMessages"],
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def close(self) -> None:
        """Let go of the threads; calls under way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _url(self, queue: str) -> str:
        if queue not in self._urls:
            self._urls[queue] = (await self._call("get_queue_url", QueueName=queue))["QueueUrl"]
        return self._urls[queue]

    async def _call(self, operation: str, **params: Any) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: getattr(self._sqs, operation)(**params))
