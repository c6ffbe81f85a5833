"""Endpoints of webhooks, and what was sent to them: an owner's business."""

import secrets
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.notifications import rules, store
from buildpeer.modules.notifications.rules import DeliveryState
from buildpeer.modules.notifications.store import Attempt, Endpoint, Sending
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import FIRST_PAGE, Database, Transaction
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7, new_id

_SECRET_BYTES = 32

Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Description = Annotated[str, msgspec.Meta(max_length=200)]


class NewEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint to make; `endpoint_id` is the client's own UUIDv7, no `types` are all of them."""

    endpoint_id: UUID
    url: Url
    description: Description = ""
    types: list[str] = []


class EndpointChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; `enabled: true` lets one go on that was disabled."""

    url: Url | None = None
    description: Description | None = None
    types: list[str] | None = None
    enabled: bool | None = None


class MadeEndpoint(msgspec.Struct, frozen=True):
    """An endpoint, and the secret that signs what is sent to it, which is shown this once: None ever after."""

    endpoint: Endpoint
    secret: str | None


class ShownDelivery(msgspec.Struct, frozen=True):
    """A delivery, what it holds, and its last hundred attempts, newest first."""

    delivery: Sending
    payload: dict[str, Any]
    attempts: list[Attempt]


async def make_endpoint(
    db: Database, cipher: Cipher, *, caller: Caller, wanted: NewEndpoint, loopback: bool, now: datetime
) -> MadeEndpoint:
    """Make an endpoint; once more with the same content is the same one, without its secret.

    Raises Problem not_found or not_allowed, id_invalid, id_taken, invalid for types that there aren't,
    webhook_url_refused, too_many_webhooks.
    """
    key = secrets.token_bytes(_SECRET_BYTES)
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        if not is_uuid7(wanted.endpoint_id):
            raise Problem("id_invalid")
        rules.check_url(wanted.url, loopback=loopback)
        types = _checked(wanted.types)
        await store.lock_endpoints(tx)
        known = await store.endpoint(tx, wanted.endpoint_id)
        if known is not None:
            if (known.url, known.description, known.types) != (wanted.url, wanted.description, types):
                raise Problem("id_taken")
            return MadeEndpoint(known, None)
        if await store.count_endpoints(tx) >= rules.MOST_ENDPOINTS:
            raise Problem("too_many_webhooks", limit=rules.MOST_ENDPOINTS)
        await store.add_endpoint(
            tx,
            wanted.endpoint_id,
            url=wanted.url,
            description=wanted.description,
            types=types,
            secret=cipher.encrypt(key, wanted.endpoint_id),
            now=now,
        )
        return MadeEndpoint(await _find(tx, wanted.endpoint_id), rules.spelled_secret(key))


async def list_endpoints(db: Database, *, caller: Caller) -> list[Endpoint]:
    """The company's endpoints, oldest first. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        return await store.endpoints(tx)


async def get_endpoint(db: Database, *, caller: Caller, endpoint_id: UUID) -> Endpoint:
    """One endpoint. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        return await _find(tx, endpoint_id)


async def change_endpoint(
    db: Database,
    *,
    caller: Caller,
    endpoint_id: UUID,
    changes: EndpointChanges,
    version: int | None,
    loopback: bool,
    now: datetime,
) -> Endpoint:
    """Change an endpoint; what waits for one that is disabled is given up, and can be replayed.

    Raises Problem not_found or not_allowed, changed_meanwhile, invalid, webhook_url_refused.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        await _find(tx, endpoint_id)
        if changes.url is not None:
            rules.check_url(changes.url, loopback=loopback)
        changed = await store.change_endpoint(
            tx,
            endpoint_id,
            version=version,
            url=changes.url,
            description=changes.description,
            types=None if changes.types is None else _checked(changes.types),
            enabled=changes.enabled,
            now=now,
        )
        if not changed:
            raise Problem("changed_meanwhile")
        if changes.enabled is False:
            await store.miss_waiting(tx, endpoint_id)
        return await _find(tx, endpoint_id)


async def remove_endpoint(db: Database, *, caller: Caller, endpoint_id: UUID) -> None:
    """Remove an endpoint and its log. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        if not await store.remove_endpoint(tx, endpoint_id):
            raise Problem("not_found")


async def rotate_secret(
    db: Database, cipher: Cipher, *, caller: Caller, endpoint_id: UUID, now: datetime
) -> MadeEndpoint:
    """A new secret; for a day deliveries are signed with both. Raises Problem not_found or not_allowed."""
    key = secrets.token_bytes(_SECRET_BYTES)
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        encrypted = cipher.encrypt(key, endpoint_id)
        if not await store.rotate(tx, endpoint_id, secret=encrypted, old_until=now + rules.BOTH_SECRETS):
            raise Problem("not_found")
        return MadeEndpoint(await _find(tx, endpoint_id), rules.spelled_secret(key))


async def send_test(db: Database, *, caller: Caller, endpoint_id: UUID, now: datetime) -> Sending:
    """Send an endpoint a message of type `test`. Raises Problem not_found or not_allowed, webhook_disabled."""
    message_id = new_id()
    message = {
        "message_id": message_id,
        "position": None,
        "type": rules.TEST,
        "payload": {"type": rules.TEST, "timestamp": now, "data": {"endpoint_id": endpoint_id}},
        "occurred_at": now,
    }
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        await _find_enabled(tx, endpoint_id)
        await store.add_messages(tx, [message])
        await store.add_test(tx, endpoint_id, message_id, now)
        return (await _find_delivery(tx, endpoint_id, message_id))[0]


async def list_deliveries(
    db: Database,
    *,
    caller: Caller,
    endpoint_id: UUID,
    after: tuple[datetime, UUID] | None,
    state: DeliveryState | None,
    limit: int,
) -> list[Sending]:
    """What was sent to an endpoint, or is to be, newest first. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        await _find(tx, endpoint_id)
        return await store.deliveries(tx, endpoint_id, after=after or FIRST_PAGE, state=state, limit=limit)


async def get_delivery(db: Database, *, caller: Caller, endpoint_id: UUID, message_id: UUID) -> ShownDelivery:
    """A delivery with its attempts. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        delivery, payload = await _find_delivery(tx, endpoint_id, message_id)
        return ShownDelivery(delivery, payload, await store.attempts(tx, endpoint_id, message_id))


async def replay(db: Database, *, caller: Caller, endpoint_id: UUID, message_id: UUID, now: datetime) -> Sending:
    """Send a message once more, under the same id; one that waits anyway goes on waiting.

    Raises Problem not_found or not_allowed, webhook_disabled.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        await _find_delivery(tx, endpoint_id, message_id)
        await _find_enabled(tx, endpoint_id)
        await store.replay(tx, endpoint_id, message_id, now)
        return (await _find_delivery(tx, endpoint_id, message_id))[0]


async def replay_since(
    db: Database, *, caller: Caller, endpoint_id: UUID, since: datetime, failed_only: bool, now: datetime
) -> int:
    """Send all messages since a time once more, each under its own id; gives how many.

    Raises Problem not_found or not_allowed, webhook_disabled.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "company", "admin")
        await _find_enabled(tx, endpoint_id)
        return await store.replay_since(tx, endpoint_id, since, failed_only=failed_only, now=now)


def _checked(types: list[str]) -> list[str]:
    unknown = sorted(set(types) - set(rules.WEBHOOK_TYPES))
    if unknown:
        raise Problem("invalid", f"types must be some of {', '.join(rules.WEBHOOK_TYPES)}")
    return sorted(set(types))


async def _find(tx: Transaction, endpoint_id: UUID) -> Endpoint:
    found = await store.endpoint(tx, endpoint_id)
    if found is None:
        raise Problem("not_found")
    return found


async def _find_enabled(tx: Transaction, endpoint_id: UUID) -> None:
    if (await _find(tx, endpoint_id)).disabled_at is not None:
        raise Problem("webhook_disabled")


async def _find_delivery(tx: Transaction, endpoint_id: UUID, message_id: UUID) -> tuple[Sending, dict[str, Any]]:
    found = await store.delivery(tx, endpoint_id, message_id)
    if found is None:
        raise Problem("not_found")
    return found
