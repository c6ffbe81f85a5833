"""How many requests somebody may make: counted without waiting for anybody, over all processes, and never shut."""

import asyncio
import random
import time
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
import redis.asyncio as valkey
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Request
from tests.conftest import Company, acting_as, eventually
from tests.local.services import free_ports

from buildpeer.entrypoints.api import create_app
from buildpeer.local.stack import Stack
from buildpeer.modules.identity import service as identity
from buildpeer.platform.config import Settings
from buildpeer.platform.http import address
from buildpeer.platform.limits import Limit
from buildpeer.platform.rates import Rates, headers

NOWHERE = "redis://127.0.0.1:1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0 * 60

    def __call__(self) -> float:
        return self.now


def test_a_limit_lets_through_its_quota_in_each_window_and_each_key_has_its_own() -> None:
    clock, limit = Clock(), Limit("a", quota=3, window_s=60)
    rates = Rates(NOWHERE, clock=clock)
    assert [rates.take(limit, "ana").allowed for _ in range(5)] == [True] * 3 + [False] * 2
    assert rates.take(limit, "luz").allowed
    assert rates.take(Limit("b", quota=3, window_s=60), "ana").allowed
    clock.now += 59
    assert not rates.take(limit, "ana").allowed
    clock.now += 1
    taken = rates.take(limit, "ana")
    assert (taken.allowed, taken.left, taken.resets_in_s) == (True, 2, 60)


def test_the_headers_tell_every_limit_and_what_is_left_of_it() -> None:
    rates = Rates(NOWHERE, clock=Clock())
    taken = [rates.take(Limit(name, quota=10, window_s=60), "x") for name in ("caller", "tenant")]
    assert headers(taken) == [
        ("ratelimit-policy", '"caller";q=10;w=60, "tenant";q=10;w=60'),
        ("ratelimit", '"caller";r=9;t=60, "tenant";r=9;t=60'),
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_several_processes_together_let_through_the_quota_and_what_comes_between_two_exchanges(
    settings: Settings, seed: int
) -> None:
    chance, clock, limit = random.Random(seed), Clock(), Limit(f"n{uuid4()}", quota=200, window_s=60)
    processes = [Rates(settings.valkey_url, clock=clock) for _ in range(4)]
    let_through = between = most_between = 0
    for _ in range(1000):
        if chance.random() < 0.03:
            await asyncio.gather(*(process.exchange() for process in processes))
            most_between, between = max(most_between, between), 0
        allowed = chance.choice(processes).take(limit, "ana").allowed
        let_through += allowed
        between += allowed
    assert 200 <= let_through <= 200 + 2 * max(most_between, between)
    async with valkey.Redis.from_url(settings.valkey_url) as client:
        [name] = [key async for key in client.scan_iter(f"buildpeer:rate:{limit.name}:*", count=10_000)][:1] or [b""]
        assert 0 < await client.ttl(name) <= 120
        assert b"ana" not in name
    for process in processes:
        await process.close()


async def test_while_valkey_is_away_each_process_counts_for_itself_and_nobody_is_shut_out() -> None:
    clock, limit = Clock(), Limit("a", quota=3, window_s=60)
    rates = Rates(NOWHERE, clock=clock)
    async with rates.running():
        for _ in range(3):
            began = time.perf_counter()
            assert rates.take(limit, "ana").allowed
            assert time.perf_counter() - began < 0.05  # nobody waits for a cache
            await rates.exchange()
        assert not rates.take(limit, "ana").allowed
        clock.now += 60
        assert rates.take(limit, "ana").allowed


async def test_what_is_over_is_forgotten(settings: Settings) -> None:
    clock, limit = Clock(), Limit("a", quota=3, window_s=60)
    rates = Rates(settings.valkey_url, clock=clock)
    for n in range(100):
        rates.take(limit, str(n))
    clock.now += 60
    await rates.exchange()
    await rates.close()
    assert not rates._windows


@pytest.fixture
async def strict(stack: Stack, settings: Settings) -> Any:
    """An api with small limits."""
    port = free_ports().api
    limited = msgspec.structs.replace(settings, caller_requests=5, tenant_requests=8, address_requests=4, api_port=port)
    server = Server(create_app(limited), port=port, interface=Interfaces.ASGI, websockets=False, log_access=False)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        with acting_as(stack.env("api")):
            serving = asyncio.create_task(server.serve())

            async def up() -> bool:
                try:
                    return (await client.get("/healthz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(up)
        yield client
    server.stop()
    await serving


def left(answer: httpx.Response) -> dict[str, int]:
    items = [item.split(";") for item in answer.headers["ratelimit"].split(", ")]
    return {name.strip('"'): int(rest[0].removeprefix("r=")) for name, *rest in items}


async def test_every_answer_tells_its_limits_and_too_many_requests_wait(
    strict: httpx.AsyncClient, company: Company
) -> None:
    one, two = await company.hire("owner"), await company.hire("owner")
    first = await strict.get("/v1/projects", headers=company.bearer(one))
    assert left(first) == {"requests-caller": 4, "requests-tenant": 7}
    assert first.headers["ratelimit-policy"] == '"requests-caller";q=5;w=60, "requests-tenant";q=8;w=60'
    answers = [await strict.get("/v1/projects", headers=company.bearer(one)) for _ in range(5)]
    if {a.status_code for a in answers} == {200}:  # the minute was over just then
        return
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many_requests"
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert left(refused)["requests-caller"] == 0
    # Somebody else of the company goes on, until the company's are used up.
    others = [await strict.get("/v1/projects", headers=company.bearer(two)) for _ in range(4)]
    assert [a.status_code for a in others][:2] == [200, 200]
    assert others[-1].status_code == 429
    assert left(others[-1])["requests-tenant"] == 0


async def test_who_has_no_good_token_is_counted_by_address(strict: httpx.AsyncClient, company: Company) -> None:
    wrong = await strict.get("/v1/projects", headers={"authorization": "Bearer nonsense"})
    assert (wrong.status_code, list(left(wrong))) == (401, ["requests-address"])
    answers = [await strict.post("/v1/tokens", json={"refresh_token": "x"}) for _ in range(8)]
    assert {a.status_code for a in answers} <= {401, 429}
    assert all("ratelimit" in a.headers for a in answers)
    assert answers[-1].json()["code"] in ("too_many_requests", "session_ended")
    assert (await strict.get("/healthz")).status_code == 200
    assert "ratelimit" not in (await strict.get("/healthz")).headers
    # Whoever has a token isn't kept out with them.
    owner = await company.hire("owner")
    assert (await strict.get("/v1/projects", headers=company.bearer(owner))).status_code == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/uploads/no-id", "PUT /v1/projects"])
async def test_what_no_route_answers_is_counted_too(strict: httpx.AsyncClient, path: str) -> None:
    method, _, path = path.rpartition(" ")
    answers = [await strict.request(method or "GET", path, headers={"authorization": "Bearer x"}) for _ in range(12)]
    assert all(list(left(answer)) == ["requests-address"] for answer in answers)
    assert answers[0].status_code in (404, 405, 429)
    limited = [answer for answer in answers if answer.status_code == 429]  # 4 a minute, of which there may be two here
    assert len(limited) >= 4
    assert {answer.json()["code"] for answer in limited} == {"too_many_requests"}
    assert all(0 < int(answer.headers["retry-after"]) <= 60 for answer in limited)


@pytest.mark.parametrize(
    "door", ["POST /v1/sessions", "POST /v1/device-challenges", "GET /v1/projects", "GET /v1/ops/metrics"]
)
@pytest.mark.parametrize("token", ["nonsense", "bpk_nonsense"])
async def test_a_token_that_is_none_gets_nobody_past_the_limit_of_their_address(
    strict: httpx.AsyncClient, door: str, token: str
) -> None:
    method, path = door.split()
    body = {"email": "a@b.test", "password": "x", "device_id": str(uuid4())} if method == "POST" else None
    headers = {"authorization": f"Bearer {token}"}
    answers = [await strict.request(method, path, json=body, headers=headers) for _ in range(12)]
    assert len([a for a in answers if a.json().get("code") == "too_many_requests"]) >= 4


async def test_keys_are_not_even_looked_up_once_an_address_has_sent_too_many(
    strict: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up, real = 0, identity.caller_of_key

    async def caller_of_key(*args: Any, **more: Any) -> Any:
        nonlocal looked_up
        looked_up += 1
        return await real(*args, **more)

    monkeypatch.setattr(identity, "caller_of_key", caller_of_key)
    headers = {"authorization": "Bearer bpk_guess"}
    answers = await asyncio.gather(*(strict.get("/v1/projects", headers=headers) for _ in range(4)))
    answers += [await strict.get("/v1/projects", headers=headers) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {401, 429}
    assert looked_up <= 8  # 4 a minute, and another minute may have begun


def request_from(host: str, *forwarded: str) -> Request[Any, Any, Any]:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return Request({"type": "http", "headers": headers, "client": (host, 1)})  # type: ignore[typeddict-item, arg-type]


@pytest.mark.parametrize(
    ("proxies", "host", "forwarded", "expected"),
    [
        (0, "198.51.100.7", ["203.0.113.1"], "198.51.100.7"),
        (1, "10.0.0.1", ["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        (1, "10.0.0.1", ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),  # a client's line, then the proxy's own
        (2, "10.0.0.1", ["203.0.113.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (0, "2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        (1, "10.0.0.1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        (0, "::ffff:198.51.100.7", [], "198.51.100.7"),
        (1, "10.0.0.1", ["unknown"], "unknown"),
    ],
)
def test_an_address_is_the_last_that_our_proxies_saw_and_of_ipv6_the_subscribers(
    proxies: int, host: str, forwarded: list[str], expected: str
) -> None:
    assert address(request_from(host, *forwarded), Settings(proxies=proxies)) == expected


async def test_a_stream_counts_once_and_a_call_for_urls_once(http: httpx.AsyncClient, company: Company) -> None:
    owner = await company.hire("owner")
    before = left(await http.get("/v1/projects", headers=company.bearer(owner)))["requests-caller"]
    async with http.stream("GET", "/v1/events", headers=company.bearer(owner)) as stream:
        assert left(stream)["requests-caller"] == before - 1  # type: ignore[arg-type]
        lines = stream.aiter_lines()
        await anext(lines)
    after = left(await http.get("/v1/projects", headers=company.bearer(owner)))["requests-caller"]
    assert after in (before - 2, 5999)  # or a new minute has begun


async def test_problems_and_machines_are_told_their_limits_too(http: httpx.AsyncClient, company: Company) -> None:
    owner = await company.hire("owner")
    missing = await http.get(f"/v1/uploads/{uuid4()}", headers=company.bearer(owner))
    assert (missing.status_code, "requests-tenant" in left(missing)) == (404, True)
    wanted = {"name": "ERP", "tools": {"projects": "read"}}
    secret = (await http.post("/v1/api-keys", json=wanted, headers=company.bearer(owner))).json()["secret"]
    machine = await http.get("/v1/projects", headers={"authorization": f"Bearer {secret}"})
    assert machine.status_code == 200
    assert left(machine)["requests-caller"] == 5999  # its own, not its maker's
