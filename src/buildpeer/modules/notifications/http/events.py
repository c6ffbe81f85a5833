"""The live stream (Server-Sent Events, https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import HeaderParameter
from litestar.response import Stream

from buildpeer.modules.notifications.service import Feed, News, Reset
from buildpeer.modules.notifications.store import Event
from buildpeer.platform.errors import Problem
from buildpeer.platform.http import CallerDep, used_with

_RETRY_MS = 1000
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventsController(Controller):
    """What happens, as it happens."""

    path = "/v1/events"
    tags = ("events",)
    opt = used_with("files")

    @get(summary="Follow events", media_type="text/event-stream")
    async def follow(
        self,
        caller: CallerDep,
        feed: NamedDependency[Feed],
        last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID", required=False)] = None,
    ) -> Stream:
        """Events of the files that the caller may see, after `Last-Event-ID`, or from now on without one.

        An event named `reset` says that the log no longer reaches back that far: read the lists anew.
        """
        if last_event_id is not None and not (last_event_id.isdecimal() and len(last_event_id) < 19):
            raise Problem("invalid", "Last-Event-ID is a position that we gave")
        after = int(last_event_id) if last_event_id is not None else None
        position = await feed.begin(caller=caller, after=after)
        news = feed.follow(caller=caller, position=position)
        return Stream(_lines(news), media_type="text/event-stream", headers=_HEADERS)


async def _lines(news: AsyncIterator[News | Reset]) -> AsyncIterator[bytes]:
    yield f"retry: {_RETRY_MS}\n\n".encode()
    async for item in news:
        match item:
            case Reset():
                yield f"id: {item.position}\nevent: reset\ndata: {{}}\n\n".encode()
            case News(events=[]):  # an id without data moves a reader's Last-Event-ID on without an event
                yield f": ping\nid: {item.position}\n\n".encode()
            case News():
                yield b"".join(_line(event) for event in item.events)


@lru_cache(maxsize=10_000)
def _line(event: Event) -> bytes:
    """An event as every stream sends it: the fields that all have, then its body, which is never empty."""
    head = {
        "position": event.position,
        "type": event.type,
        "project_id": event.project_id,
        "occurred_at": event.occurred_at,
    }
    data = msgspec.json.encode(head).decode()[:-1] + "," + event.body[1:]
    return f"id: {event.position}\nevent: {event.type}\ndata: {data}\n\n".encode()
