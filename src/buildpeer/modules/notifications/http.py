"""The live stream (Server-Sent Events, https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.params import HeaderParameter
from litestar.response import Stream

from buildpeer.modules.notifications import service
from buildpeer.modules.notifications.service import Event, Nothing, Reset
from buildpeer.platform.errors import Problem
from buildpeer.platform.http import CallerDep, DatabaseDep, WakeupsDep

_RETRY_MS = 1000
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventsController(Controller):
    """What happens, as it happens."""

    path = "/v1/events"
    tags = ("events",)

    @get(summary="Follow events", media_type="text/event-stream")
    async def follow(
        self,
        caller: CallerDep,
        db: DatabaseDep,
        wakeups: WakeupsDep,
        last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID", required=False)] = None,
    ) -> Stream:
        """Events of the files that the caller may see, after `Last-Event-ID`, or from now on without one.

        An event named `reset` says that the log no longer reaches back that far: read the lists anew.
        """
        if last_event_id is not None and not (last_event_id.isdecimal() and len(last_event_id) < 19):
            raise Problem("invalid", "Last-Event-ID is a position that we gave")
        after = int(last_event_id) if last_event_id is not None else None
        position = await service.begin(db, wakeups, caller=caller, after=after)
        news = service.follow(db, wakeups, caller=caller, position=position)
        return Stream(_lines(news), media_type="text/event-stream", headers=_HEADERS)


async def _lines(news: AsyncIterator[Event | Nothing | Reset]) -> AsyncIterator[bytes]:
    yield f"retry: {_RETRY_MS}\n\n".encode()
    async for item in news:
        yield _line(item)


def _line(item: Event | Nothing | Reset) -> bytes:
    match item:
        case Nothing():  # an id without data moves a reader's Last-Event-ID on without an event
            return f": ping\nid: {item.position}\n\n".encode()
        case Reset():
            return f"id: {item.position}\nevent: reset\ndata: {{}}\n\n".encode()
        case Event():
            body = {
                "position": item.position,
                "type": item.type,
                "project_id": item.project_id,
                "occurred_at": item.occurred_at,
                **item.body,
            }
            data = msgspec.json.encode(body).decode()
            return f"id: {item.position}\nevent: {item.type}\ndata: {data}\n\n".encode()
