"""Doors for webhooks."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.notifications import rules
from buildpeer.modules.notifications.rules import DeliveryState
from buildpeer.modules.notifications.service import webhooks
from buildpeer.modules.notifications.service.webhooks import EndpointChanges, MadeEndpoint, NewEndpoint, ShownDelivery
from buildpeer.modules.notifications.store import Endpoint, Sending
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    CipherDep,
    Cursor,
    DatabaseDep,
    IfMatch,
    Limit,
    NowDep,
    Page,
    SettingsDep,
    page,
    read_cursor,
    read_if_match,
    tagged,
)


class Webhooks(msgspec.Struct):
    """The company's endpoints, and the types that there are."""

    items: list[Endpoint]
    types: list[str]


class NewReplay(msgspec.Struct, frozen=True):
    """What to send once more: all since a time, or of these only what failed."""

    since: datetime
    failed_only: bool = False


class Replay(msgspec.Struct, frozen=True):
    """How many messages are sent once more."""

    count: int


class WebhooksController(Controller):
    """Other systems that are told what happens (https://www.standardwebhooks.com)."""

    path = "/v1/webhooks"
    tags = ("webhooks",)

    @post(summary="Make an endpoint")
    async def make_endpoint(
        self,
        *,
        data: JSONBody[NewEndpoint],
        caller: CallerDep,
        db: DatabaseDep,
        webhook_cipher: CipherDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> MadeEndpoint:
        """An address that is told what happens in the company from now on. Its secret is shown this once; sent again,
        the call gives the same endpoint without it.
        """
        return await webhooks.make_endpoint(
            db, webhook_cipher, caller=caller, wanted=data, loopback=settings.webhooks_to_loopback, now=now
        )

    @get(summary="List endpoints")
    async def list_endpoints(self, caller: CallerDep, db: DatabaseDep) -> Webhooks:
        """The company's endpoints, and the types of messages that there are."""
        return Webhooks(await webhooks.list_endpoints(db, caller=caller), list(rules.WEBHOOK_TYPES))

    @get("/{endpoint_id:uuid}", summary="One endpoint")
    async def get_endpoint(self, endpoint_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Response[Endpoint]:
        """An endpoint, with its version as the ETag."""
        found = await webhooks.get_endpoint(db, caller=caller, endpoint_id=endpoint_id)
        return tagged(found, found.version)

    @patch("/{endpoint_id:uuid}", summary="Change an endpoint")
    async def change_endpoint(
        self,
        *,
        endpoint_id: FromPath[UUID],
        data: JSONBody[EndpointChanges],
        caller: CallerDep,
        db: DatabaseDep,
        settings: SettingsDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[Endpoint]:
        """Change where it leads and what it is told, disable it, or enable one that was disabled."""
        changed = await webhooks.change_endpoint(
            db,
            caller=caller,
            endpoint_id=endpoint_id,
            changes=data,
            version=read_if_match(if_match),
            loopback=settings.webhooks_to_loopback,
            now=now,
        )
        return tagged(changed, changed.version)

    @delete("/{endpoint_id:uuid}", summary="Remove an endpoint")
    async def remove_endpoint(self, endpoint_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Send it nothing more, and forget what was sent."""
        await webhooks.remove_endpoint(db, caller=caller, endpoint_id=endpoint_id)

    @post("/{endpoint_id:uuid}/secrets", summary="Change the secret")
    async def rotate_secret(
        self, endpoint_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, webhook_cipher: CipherDep, now: NowDep
    ) -> MadeEndpoint:
        """A new secret, shown this once. For a day everything is signed with both, so that nothing is refused while the
        receiver learns it.
        """
        return await webhooks.rotate_secret(db, webhook_cipher, caller=caller, endpoint_id=endpoint_id, now=now)

    @post("/{endpoint_id:uuid}/tests", status_code=202, summary="Send a test")
    async def send_test(self, endpoint_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep) -> Sending:
        """A message of type `test`; its delivery tells how it fares."""
        return await webhooks.send_test(db, caller=caller, endpoint_id=endpoint_id, now=now)

    @get("/{endpoint_id:uuid}/deliveries", summary="List deliveries")
    async def list_deliveries(
        self,
        *,
        endpoint_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        in_state: Annotated[DeliveryState | None, QueryParameter(name="state", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Sending]:
        """What was sent in the last 30 days, or is to be, newest first."""
        after = read_cursor(cursor, tuple[datetime, UUID])
        found = await webhooks.list_deliveries(
            db, caller=caller, endpoint_id=endpoint_id, after=after, state=in_state, limit=limit + 1
        )
        return page(found, limit, lambda delivery: [delivery.occurred_at, delivery.message_id])

    @get("/{endpoint_id:uuid}/deliveries/{message_id:uuid}", summary="One delivery")
    async def get_delivery(
        self, endpoint_id: FromPath[UUID], message_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> ShownDelivery:
        """What it holds, and each attempt: status, duration, and how the answer begins."""
        return await webhooks.get_delivery(db, caller=caller, endpoint_id=endpoint_id, message_id=message_id)

    @post("/{endpoint_id:uuid}/deliveries/{message_id:uuid}/replay", status_code=202, summary="Send once more")
    async def replay(
        self, endpoint_id: FromPath[UUID], message_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> Sending:
        """The same message under the same id, tried for three days again."""
        return await webhooks.replay(db, caller=caller, endpoint_id=endpoint_id, message_id=message_id, now=now)

    @post("/{endpoint_id:uuid}/replays", status_code=202, summary="Send all since a time once more")
    async def replay_since(
        self,
        endpoint_id: FromPath[UUID],
        data: JSONBody[NewReplay],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> Replay:
        """After an outage: everything that happened since, or only what failed."""
        count = await webhooks.replay_since(
            db, caller=caller, endpoint_id=endpoint_id, since=data.since, failed_only=data.failed_only, now=now
        )
        return Replay(count)
