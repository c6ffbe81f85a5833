import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from tests.conftest import Company, declare, eventually

from buildpeer.modules.notifications import service
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.messaging import LOG, Outgoing
from buildpeer.platform.realtime import Wakeups


async def announce(db: Database, company: Company, text: str, *, project: Any = None) -> None:
    async with db.transaction(Scope(company.tenant_id, None)) as tx:
        await tx.announce([Outgoing(LOG, "test", {"text": text}, project or company.tower)])


async def relay(worker_db: Database, _clients: Any, wakeups: Wakeups) -> None:
    while await service.relay_log(worker_db, wakeups):
        pass


class Reader:
    """Reads one SSE stream as a browser would."""

    def __init__(self, http: httpx.AsyncClient, company: Company, caller: Caller) -> None:
        self._http, self._company, self._caller = http, company, caller
        self.last_id: str | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        headers = self._company.bearer(self._caller) | ({"last-event-id": self.last_id} if self.last_id else {})
        async with self._http.stream("GET", "/v1/events", headers=headers, timeout=20) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield self._events(answer)

    async def _events(self, answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            if not line:
                if "data" in event or "event" in event:
                    yield event
                event = {}
            elif line.startswith("id: "):
                event["id"] = self.last_id = line[4:]
            elif line.startswith("event: "):
                event["event"] = line[7:]
            elif line.startswith("data: "):
                event["data"] = json.loads(line[6:])

    async def texts(self, count: int) -> list[str]:
        async with self.open() as events:
            found = []
            async for event in events:
                found.append(event["data"].get("text"))
                if len(found) == count:
                    return found
        return found


async def started(reader: Reader, events: AsyncIterator[dict[str, Any]]) -> "asyncio.Task[dict[str, Any]]":
    """A stream that has said where it begins, and now waits for its first event."""
    task = asyncio.create_task(anext(events))

    async def has_position() -> bool:
        return reader.last_id is not None

    await eventually(has_position)
    return task


async def test_a_change_reaches_an_open_stream_at_once_and_a_cut_one_by_replay(
    http, db, worker_db, worker_clients, wakeups, company
) -> None:
    reader = Reader(http, company, await company.hire())
    async with reader.open() as events:
        first = await started(reader, events)
        await announce(worker_db, company, "uno")
        await relay(worker_db, worker_clients, wakeups)
        async with asyncio.timeout(5):
            assert (await first)["data"]["text"] == "uno"
    for text in ("dos", "tres"):
        await announce(worker_db, company, text)
        await relay(worker_db, worker_clients, wakeups)
    assert await reader.texts(2) == ["dos", "tres"]


async def test_transactions_that_commit_in_reverse_are_both_told(
    http, worker_db, worker_clients, wakeups, company
) -> None:
    """The late one wrote first; a number taken at writing time would hide it from whoever has read the other."""
    reader = Reader(http, company, await company.hire())
    async with reader.open() as events:
        first = await started(reader, events)
        async with worker_db.transaction(Scope(company.tenant_id, None)) as slow:
            await slow.announce([Outgoing(LOG, "test", {"text": "written first"}, company.tower)])
            await announce(worker_db, company, "committed first")
            await relay(worker_db, worker_clients, wakeups)
            assert (await first)["data"]["text"] == "committed first"
        await relay(worker_db, worker_clients, wakeups)
        assert (await anext(events))["data"]["text"] == "written first"


async def test_many_writers_and_a_relay_at_once_leave_no_gap_and_no_double(
    http, db, worker_db, worker_clients, wakeups, company
) -> None:
    reader = Reader(http, company, await company.hire())
    async with reader.open() as events:
        first = await started(reader, events)
        stop = asyncio.Event()

        async def relaying() -> None:
            while not stop.is_set():
                await service.relay_log(worker_db, wakeups)

        relays = [asyncio.create_task(relaying()) for _ in range(2)]
        await asyncio.gather(*(announce(worker_db, company, str(n)) for n in range(60)))
        seen = [await first] + [await anext(events) for _ in range(59)]
        stop.set()
        await asyncio.gather(*relays)
    assert sorted(int(event["data"]["text"]) for event in seen) == list(range(60))
    positions = [int(event["id"]) for event in seen]
    assert positions == sorted(set(positions))


async def test_a_stream_shows_exactly_what_its_reader_may_see(
    http, db, worker_db, worker_clients, wakeups, company, found_company
) -> None:
    rival = await found_company()
    readers = {
        "field worker": Reader(http, company, await company.hire()),
        "owner": Reader(http, company, await company.hire("owner")),
        "investor": Reader(http, company, await company.hire("inversionista")),
        "rival": Reader(http, rival, await rival.hire("owner")),
    }
    for reader in readers.values():
        reader.last_id = "0"
    await announce(worker_db, company, "torre")
    await announce(worker_db, company, "escuela", project=company.school)
    await announce(worker_db, rival, "secreto", project=rival.tower)
    for place in (company, rival):
        await announce(worker_db, place, "fin")
    await relay(worker_db, worker_clients, wakeups)
    assert await readers["field worker"].texts(2) == ["torre", "fin"]
    assert await readers["owner"].texts(3) == ["torre", "escuela", "fin"]
    assert await readers["rival"].texts(2) == ["secreto", "fin"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await readers["investor"].texts(1)


async def test_a_stream_ends_when_its_reader_is_no_longer_a_member(
    http, db, worker_db, worker_clients, wakeups, company
) -> None:
    caller, colleague = await company.hire(), await company.hire("owner")
    reader = Reader(http, company, caller)
    async with reader.open() as events:
        first = await started(reader, events)
        await company.dismiss(caller)
        await announce(worker_db, company, "only for members")
        await relay(worker_db, worker_clients, wakeups)
        async with asyncio.timeout(5):
            with pytest.raises(StopAsyncIteration):
                await first
    assert colleague


async def test_who_comes_back_after_the_log_was_pruned_is_told_to_read_anew(
    http, db, worker_db, worker_clients, wakeups, company, admin: asyncpg.Connection
) -> None:
    reader = Reader(http, company, await company.hire())
    await announce(worker_db, company, "viejo")
    await relay(worker_db, worker_clients, wakeups)
    await admin.execute(
        "update event_log set occurred_at = now() - $2::interval where tenant_id = $1",
        *(company.tenant_id, service.LOG_LIFE + timedelta(days=1)),
    )
    await service.prune(worker_db, now=clock.now())
    reader.last_id = "0"
    async with reader.open() as events:
        assert (await anext(events))["event"] == "reset"


@pytest.mark.parametrize("position", ["-1", "abc", "9" * 30])
async def test_a_position_that_we_never_gave_is_refused(http, company, position: str) -> None:
    headers = company.bearer(await company.hire()) | {"last-event-id": position}
    answer = await http.get("/v1/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_opening_an_upload_is_news(http, db, worker_db, worker_clients, wakeups, company) -> None:
    caller = await company.hire()
    reader = Reader(http, company, await company.hire("manager"))
    async with reader.open() as events:
        first = await started(reader, events)
        item = declare(b"abc", name="Ñandú.jpg")
        await http.post(
            f"/v1/projects/{company.tower}/uploads", json={"uploads": [item]}, headers=company.bearer(caller)
        )
        await relay(worker_db, worker_clients, wakeups)
        event = await first
    assert event["event"] == "upload.opened"
    assert (event["data"]["upload"]["name"], event["data"]["upload"]["state"]) == ("Ñandú.jpg", "requested")


async def test_a_position_beyond_the_newest_is_told_to_read_anew(http, company) -> None:
    reader = Reader(http, company, await company.hire())
    reader.last_id = str(10**12)
    async with reader.open() as events:
        assert (await anext(events))["event"] == "reset"


async def test_who_is_no_member_gets_no_stream_at_all(http, company) -> None:
    caller = await company.hire()
    await company.dismiss(caller)
    answer = await http.get("/v1/events", headers=company.bearer(caller))
    assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")


async def test_streams_of_one_person_are_limited_and_of_many_are_not(http, company) -> None:
    greedy = await company.hire()
    async with contextlib.AsyncExitStack() as open_streams:
        for _ in range(service.STREAMS_PER_PERSON):
            reader = Reader(http, company, greedy)
            await started(reader, await open_streams.enter_async_context(reader.open()))
        answer = await http.get("/v1/events", headers=company.bearer(greedy))
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        assert answer.headers["retry-after"] == "1"
        async with Reader(http, company, await company.hire()).open():
            pass


async def test_a_queue_that_is_away_holds_no_other_up(worker_db, worker_clients, company, admin) -> None:
    async with worker_db.transaction(Scope(company.tenant_id, None)) as tx:
        await tx.announce(Outgoing("no-such-queue", "redrive", {}) for _ in range(20))
        await tx.announce([Outgoing("buildpeer-scan-live", "redrive", {"not": "ours"})])
    assert await service.relay_messages(worker_db, worker_clients.queues) >= 1  # other tests leave messages too
    left = await admin.fetch("delete from outbox where tenant_id = $1 returning destination", company.tenant_id)
    assert {row["destination"] for row in left} == {"no-such-queue"}
