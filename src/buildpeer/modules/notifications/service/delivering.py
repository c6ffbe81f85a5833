"""Delivering webhooks: what is due, a few at a time of each endpoint, until it got through or is given up."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

import msgspec
import structlog

from buildpeer.modules.notifications import rules, store
from buildpeer.modules.notifications.rules import Disabled
from buildpeer.modules.notifications.store import Attempt, Lent
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.mail import Letter
from buildpeer.platform.outbound import Answer, Outbound

_log = structlog.get_logger()


class Deliveries:
    """The deliveries that one process has under way.

    Each is lent by the database for a while. One whose process dies is lent again, so it comes at least once, and under
    one id. However slow an endpoint is, it holds up nobody else: neither it nor its company ever has more than
    some under way.
    """

    def __init__(self, db: Database, outbound: Outbound, cipher: Cipher, *, now: Callable[[], datetime]) -> None:
        self._db, self._outbound, self._cipher, self._now = db, outbound, cipher, now
        self._under_way: set[asyncio.Task[None]] = set()

    async def begin(self) -> int:
        """Begin those that are due, as far as there is room, without waiting for them; returns how many."""
        room = rules.AT_ONCE - len(self._under_way)
        if room == 0:
            return 0
        lent = await store.lend(
            self._db,
            now=self._now(),
            limit=room,
            per_endpoint=rules.AT_ONCE_PER_ENDPOINT,
            per_tenant=rules.AT_ONCE_PER_TENANT,
            lease=rules.LEASE,
        )
        for each in lent:
            task = asyncio.create_task(self._deliver(each))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(lent)

    async def settled(self) -> None:
        """Wait until none is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def _deliver(self, lent: Lent) -> None:
        try:
            began_at = self._now()
            answer = await self._send(lent, began_at)
            await self._settle(lent, answer, began_at)
        except Exception:
            _log.exception("delivery_failed", endpoint=str(lent.endpoint_id), message_id=str(lent.message_id))

    async def _send(self, lent: Lent, now: datetime) -> Answer:
        keys = [key for key in (lent.secret, lent.old_secret) if key is not None]
        body, timestamp, message_id = msgspec.json.encode(lent.payload), int(now.timestamp()), f"msg_{lent.message_id}"
        signature = rules.sign(
            (self._cipher.decrypt(key, lent.endpoint_id) for key in keys),
            message_id=message_id,
            timestamp=timestamp,
            body=body,
        )
        headers = {
            "content-type": "application/json",
            "user-agent": "BuildPeer-Webhooks/1",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }
        return await self._outbound.post(lent.url, headers=headers, body=body)

    async def _settle(self, lent: Lent, answer: Answer, began_at: datetime) -> None:
        now = self._now()
        async with self._db.transaction(Scope(lent.tenant_id, None)) as tx:
            tried_at = lent.tried_at or began_at
            failing_since = await store.failing_since(tx, lent.endpoint_id) or began_at
            fate = rules.fate(
                answer.status, tries=lent.tries + 1, tried_at=tried_at, failing_since=failing_since, now=now
            )
            if not await store.settle(tx, lent, fate, tries=lent.tries + 1, tried_at=tried_at):
                return
            await store.add_attempt(tx, lent, _attempt(lent, answer, began_at))
            if fate.state == "delivered":
                await store.endpoint_works(tx, lent.endpoint_id)
            else:
                await store.endpoint_fails(tx, lent.endpoint_id, began_at)
            if fate.disabled is not None:
                await _disable(tx, lent, fate.disabled, now)


def _attempt(lent: Lent, answer: Answer, began_at: datetime) -> Attempt:
    return Attempt(
        number=lent.number,
        began_at=began_at,
        duration_ms=answer.duration_ms,
        status=answer.status,
        error=answer.error,
        answer=answer.text,
    )


async def _disable(tx: Transaction, lent: Lent, reason: Disabled, now: datetime) -> None:
    url = await store.disable(tx, lent.endpoint_id, reason, now)
    if url is None:
        return
    await store.miss_waiting(tx, lent.endpoint_id)
    _log.info("webhook_disabled", endpoint=str(lent.endpoint_id), reason=reason)
    for owner in await store.owners(tx):
        letter = Letter(
            mail_id=uuid4(),
            template=f"webhook_{reason}",
            recipient=owner["email"],
            locale=owner["locale"],
            facts={"url": url, "days": rules.GIVE_UP.days},
            known_only=True,
        )
        await tx.mail(letter)
