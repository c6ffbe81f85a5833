"""Messages that nobody could work on: kept, looked at, sent again or dropped, and all of it on record."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from click.testing import CliRunner
from tests.conftest import OPERATOR_KEY, Clients

from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Stack
from buildpeer.modules.operations import service
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id

QUEUE = "buildpeer-assemble-live"  # which nobody else serves here
OPERATOR = {"authorization": f"Bearer {OPERATOR_KEY}"}
Die = Callable[[], Awaitable[dict[str, Any]]]


@pytest.fixture
async def die(stack: Stack, worker_db: Database, worker_clients: Clients, http: httpx.AsyncClient) -> Die:
    """Has a message die in the queue; gives its letter as the api shows it."""
    sqs = stack.ministack.client("sqs")
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"])

    async def died() -> dict[str, Any]:
        body = f"poison {new_id()}"
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=f"{QUEUE}-dlq")["QueueUrl"], MessageBody=body)
        assert await service.collect(worker_db, worker_clients.queues, {QUEUE: f"{QUEUE}-dlq"}) == 1
        assert await service.collect(worker_db, worker_clients.queues, {QUEUE: f"{QUEUE}-dlq"}) == 0
        listed = (await http.get("/v1/ops/dead-letters?limit=200", headers=OPERATOR)).json()["items"]
        return next(letter for letter in listed if letter["body"] == body)

    return died


def arrived(stack: Stack) -> list[str]:
    sqs = stack.ministack.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    return [m["Body"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]


async def test_a_letter_is_sent_again_once_however_often_that_is_asked(
    die: Die, stack: Stack, http: httpx.AsyncClient, worker_db: Database, worker_clients: Clients
) -> None:
    letter = await die()
    assert (letter["queue"], letter["verb"]) == (QUEUE, None)
    path = f"/v1/ops/dead-letters/{letter['letter_id']}"
    for _ in range(2):
        answer = await http.post(f"{path}/redrive", headers=OPERATOR)
        assert (answer.status_code, answer.json()["verb"], answer.json()["wanted_by"]) == (202, "redrive", "marta")
    assert [await service.carry_out(worker_db, worker_clients.queues) for _ in range(2)] == [1, 0]
    assert arrived(stack) == [letter["body"]]
    assert (await http.delete(path, headers=OPERATOR)).json()["verb"] == "redrive"  # the first order stands
    assert await service.carry_out(worker_db, worker_clients.queues) == 0
    after = (await http.get(path, headers=OPERATOR)).json()
    assert after["ended_at"] >= after["wanted_at"]


async def test_a_letter_whose_queue_is_away_is_sent_when_it_is_back_and_a_crash_sends_it_twice_at_worst(
    die: Die, stack: Stack, worker_db: Database, worker_clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = await die()
    await service.order(worker_db, letter_id=letter["letter_id"], verb="redrive", by="t")
    with monkeypatch.context() as patch:

        async def away(*_: Any) -> list[int]:
            raise ConnectionError

        patch.setattr(worker_clients.queues, "send", away)
        assert await service.carry_out(worker_db, worker_clients.queues) == 0
    with monkeypatch.context() as patch:

        async def crash(*_: Any) -> None:
            raise KeyError

        patch.setattr(service.store, "end", crash)
        with pytest.raises(KeyError):
            await service.carry_out(worker_db, worker_clients.queues)
    assert await service.carry_out(worker_db, worker_clients.queues) == 1
    assert arrived(stack) == [letter["body"]] * 2


async def test_a_queue_is_redriven_whole_and_what_was_dropped_stays_dropped(
    die: Die, stack: Stack, http: httpx.AsyncClient, worker_db: Database, worker_clients: Clients
) -> None:
    dropped, first, second = [await die() for _ in range(3)]
    await http.delete(f"/v1/ops/dead-letters/{dropped['letter_id']}", headers=OPERATOR)
    counted = (await http.get("/v1/ops/metrics", headers=OPERATOR)).text
    assert f'buildpeer_dead_letters{{queue="{QUEUE}"}} 3\n' in counted
    answer = await http.post("/v1/ops/redrives", json={"queue": QUEUE}, headers=OPERATOR)
    assert (answer.status_code, answer.json()) == (202, {"letters": 2})
    assert await service.carry_out(worker_db, worker_clients.queues) == 3
    assert sorted(arrived(stack)) == sorted([first["body"], second["body"]])
    counted = (await http.get("/v1/ops/metrics", headers=OPERATOR)).text
    assert f'buildpeer_dead_letters{{queue="{QUEUE}"}} 0\n' in counted


@pytest.mark.parametrize(
    "header", [{}, {"authorization": "Bearer another"}, {"authorization": f"Basic {OPERATOR_KEY}"}]
)
async def test_nobody_else_is_let_in(http: httpx.AsyncClient, header: dict[str, str]) -> None:
    for path in ("dead-letters", "metrics"):
        assert (await http.get(f"/v1/ops/{path}", headers=header)).status_code == 401


async def test_the_roles_reach_letters_only_by_the_functions(
    db: Database, worker_db: Database, admin: asyncpg.Connection
) -> None:
    for database in (db, worker_db):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.call("select * from dead_letters")


@pytest.fixture
async def letter(die: Die) -> dict[str, Any]:
    return await die()


def test_the_terminal_shows_and_orders(stack: Stack, letter: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> str:
        done = CliRunner().invoke(main, ["dlq", *words], env=stack.env("worker"))
        assert done.exit_code == 0, done.output
        return done.output

    assert letter["letter_id"] in run("list", "--queue", QUEUE)
    assert letter["body"] in run("show", letter["letter_id"])
    assert "drop" in run("drop", letter["letter_id"])
    assert "terminal:" in run("show", letter["letter_id"])
    assert "drop by terminal:" in run("list")
    assert CliRunner().invoke(main, ["dlq", "redrive"], env=stack.env("worker")).exit_code == 2
    assert CliRunner().invoke(main, ["dlq", "show", str(new_id())], env=stack.env("worker")).exit_code == 1
