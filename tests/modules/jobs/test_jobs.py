"""Long work: ordered once, done at least once, told as it goes, and nobody's but the orderer's."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.conftest import Company, eventually
from tests.modules.notifications.test_stream import Reader, relay, started

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.jobs import facade, rules, service
from buildpeer.modules.jobs.facade import Outcome, Work
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id


class Jobs:
    """Orders jobs of a kind of this test's own, and does them as the worker would."""

    def __init__(self, db: Any, worker_db: Any, storage: Any, bucket: str) -> None:
        self.kind = f"test.{uuid4().hex}"  # no other worker takes them on
        self._db, self._worker_db, self._storage, self._bucket = db, worker_db, storage, bucket

    async def order(
        self, caller: Caller, *, job_id: UUID | None = None, wanted: Any = None, project: Any = None
    ) -> UUID:
        job_id = job_id or new_id()
        async with self._db.transaction(caller.scope) as tx:
            await facade.start(
                tx, job_id=job_id, kind=self.kind, wanted=wanted or {}, language="es", project_id=project
            )
        return job_id

    async def work(self, handler: Any) -> int:
        return await service.work(
            self._worker_db, self._db, self._storage, {self.kind: handler}, bucket=self._bucket, now=clock.now
        )


@pytest.fixture
async def jobs(db, worker_db, worker_clients) -> AsyncIterator[Jobs]:
    yield Jobs(db, worker_db, worker_clients.storage, worker_clients.settings.derived_bucket)


async def told(http: httpx.AsyncClient, company: Company, caller: Caller, job_id: UUID) -> dict[str, Any]:
    answer = await http.get(f"/v1/jobs/{job_id}", headers=company.bearer(caller))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def nothing(_work: Work) -> Outcome:
    return Outcome(summary={"rows": 3})


async def forget_lease(admin: Any, job_id: UUID) -> None:
    await admin.execute("update jobs set due_at = now() where job_id = $1 and due_at is not null", job_id)


async def test_a_job_is_ordered_done_and_its_file_read_by_whoever_ordered_it_alone(
    http, worker_db, worker_clients, wakeups, company, jobs, admin
) -> None:
    worker, owner = await company.hire(), await company.hire("owner")
    job_id = await jobs.order(worker, project=company.tower)
    assert (await told(http, company, worker, job_id))["state"] == "queued"

    async def write(work: Work) -> Outcome:
        await work.tell(1, 4)
        file = work.folder / "informe.csv"
        file.write_bytes(b"ni\xc3\xb1o")
        return Outcome(file=file, filename="Informe niño.csv", content_type="text/csv", summary={"rows": 1})

    reader = Reader(http, company, worker)
    async with reader.open() as events:
        first = await started(reader, events)
        assert await jobs.work(write) == 1
        await relay(worker_db, worker_clients, wakeups)
        async with asyncio.timeout(5):
            news = [(await first)["data"], (await anext(events))["data"]]
    assert [(n["type"], n["job"]["state"], n["job"]["done"], n["job"]["total"]) for n in news] == [
        ("job.changed", "running", 1, 4),
        ("job.changed", "done", 4, 4),
    ]
    job = await told(http, company, worker, job_id)
    assert (job["state"], job["summary"], job["filename"]) == ("done", {"rows": 1}, "Informe niño.csv")
    assert job["permitted_actions"] == []
    async with httpx.AsyncClient() as client:
        read = await client.get(job["result"]["url"])
    assert (read.content, read.headers["content-type"]) == ("niño".encode(), "text/csv")
    assert "attachment" in read.headers["content-disposition"]
    assert (await http.get(f"/v1/jobs/{job_id}", headers=company.bearer(owner))).status_code == 404
    listed = (await http.get("/v1/jobs", headers=company.bearer(worker))).json()["items"]
    assert [(j["job_id"], j["result"]) for j in listed] == [(str(job_id), None)]
    tracked = await admin.fetchval(
        "select count(*) from audit.entries where tenant_id = $1 and action = 'download' and object_id = $2",
        *(company.tenant_id, str(job_id)),
    )
    assert tracked == 1


async def test_ordered_twice_it_is_one_job_and_with_other_content_none(company, jobs) -> None:
    worker, other = await company.hire(), await company.hire()
    job_id = await jobs.order(worker, wanted={"a": 1})
    assert await jobs.order(worker, job_id=job_id, wanted={"a": 1}) == job_id
    for caller, wanted in ((worker, {"a": 2}), (other, {"a": 1})):
        with pytest.raises(Problem, match="id_taken"):
            await jobs.order(caller, job_id=job_id, wanted=wanted)
    with pytest.raises(Problem, match="id_invalid"):
        await jobs.order(worker, job_id=uuid4())
    assert [await jobs.work(nothing) for _ in range(2)] == [1, 0]


async def test_a_job_whose_worker_was_killed_is_done_by_another_and_the_dead_one_writes_nothing(
    http, admin, company, jobs
) -> None:
    worker = await company.hire()
    job_id = await jobs.order(worker)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def silent(_work: Work) -> Outcome:
        begun.set()
        await go_on.wait()
        return Outcome(summary={"by": "the dead"})

    first = asyncio.create_task(jobs.work(silent))
    await begun.wait()
    assert await jobs.work(nothing) == 0  # it is at work
    await forget_lease(admin, job_id)
    assert await jobs.work(nothing) == 1
    go_on.set()
    await first
    assert (await told(http, company, worker, job_id))["summary"] == {"rows": 3}


async def test_a_job_that_is_called_off_stops_and_stays_so(http, monkeypatch, company, jobs) -> None:
    monkeypatch.setattr(rules, "BEAT_S", 0.02)
    worker = await company.hire()
    headers = company.bearer(worker)
    job_id = await jobs.order(worker)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(_work: Work) -> Outcome:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Outcome()

    working = asyncio.create_task(jobs.work(endless))
    await begun.wait()
    for _ in range(2):
        answer = await http.post(f"/v1/jobs/{job_id}/cancellation", headers=headers)
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert await asyncio.wait_for(working, 10) == 1
    assert ended.is_set()
    assert (await told(http, company, worker, job_id))["state"] == "cancelled"
    assert await jobs.work(nothing) == 0


async def test_a_job_that_breaks_is_tried_again_and_given_up_in_the_end(http, admin, company, jobs) -> None:
    worker = await company.hire()
    job_id = await jobs.order(worker)
    tries = []

    async def broken(_work: Work) -> Outcome:
        tries.append(1)
        raise RuntimeError

    assert await jobs.work(broken) == 1
    assert await jobs.work(broken) == 0  # it rests
    for _ in range(rules.MOST_TRIES):
        await forget_lease(admin, job_id)
        await jobs.work(broken)
    job = await told(http, company, worker, job_id)
    assert (len(tries), job["state"], job["reason"]) == (rules.MOST_TRIES, "failed", "job_broken")
    assert job["reason_text"].startswith("El trabajo")


async def test_a_worker_that_stops_gives_its_job_back_at_once(admin, company, jobs) -> None:
    job_id = await jobs.order(await company.hire())
    begun = asyncio.Event()

    async def endless(_work: Work) -> Outcome:
        begun.set()
        await asyncio.Event().wait()
        return Outcome()

    working = asyncio.create_task(jobs.work(endless))
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await admin.fetchval("select tries from jobs where job_id = $1", job_id) == 0
    assert await jobs.work(nothing) == 1


async def test_work_is_done_under_the_sight_and_the_role_that_its_orderer_has_by_then(http, company, jobs) -> None:
    worker = await company.hire()
    job_id = await jobs.order(worker, wanted={"project": str(company.tower)})
    seen = []

    async def look(work: Work) -> Outcome:
        async with work.transaction() as tx:
            seen.append(await tx.all("select project_id from projects"))
            identity.permit(tx, "files", "read")
        return Outcome()

    await company.dismiss(worker)
    assert await jobs.work(look) == 1
    assert seen == [[]]
    manager = await company.hire("manager")
    again = await jobs.order(manager)
    assert await jobs.work(look) == 1
    assert len(seen[1]) == 2
    assert (await told(http, company, manager, again))["state"] == "done"
    assert (await http.get(f"/v1/jobs/{job_id}", headers=company.bearer(worker))).status_code == 200


async def test_one_company_s_jobs_don_t_starve_another_s_and_nobody_orders_without_end(
    company, found_company, jobs
) -> None:
    """Ten wait, ordered first; the other company's one is among the first two to be taken on."""
    crowd = [await company.hire() for _ in range(2)]
    for caller in crowd:
        for _ in range(rules.OPEN_PER_PERSON):
            await jobs.order(caller)
        with pytest.raises(Problem, match="too_many_jobs"):
            await jobs.order(caller)
    small = await found_company()
    await jobs.order(await small.hire())
    taken: list[UUID] = []
    go_on = asyncio.Event()

    async def hold(work: Work) -> Outcome:
        taken.append(work.tenant_id)
        await go_on.wait()
        return Outcome()

    working = [asyncio.create_task(jobs.work(hold)) for _ in range(6)]

    async def three() -> bool:
        return len(taken) == 3 and sum(task.done() for task in working) == 3

    await eventually(three)
    assert (taken.count(company.tenant_id), taken.count(small.tenant_id)) == (rules.AT_ONCE_PER_TENANT, 1)
    go_on.set()
    await asyncio.gather(*working)


async def test_a_file_goes_after_a_week_and_the_job_says_so(
    http, worker_db, worker_clients, company, jobs, admin
) -> None:
    worker = await company.hire()
    job_id = await jobs.order(worker)

    async def write(work: Work) -> Outcome:
        (work.folder / "a").write_bytes(b"a")
        return Outcome(file=work.folder / "a", filename="a.txt")

    await jobs.work(write)
    url = (await told(http, company, worker, job_id))["result"]["url"]
    storage, now = worker_clients.storage, clock.now()
    assert await service.expire(worker_db, storage, now=now + timedelta(days=6)) == 0
    await service.expire(worker_db, storage, now=now + timedelta(days=7, minutes=1))
    job = await told(http, company, worker, job_id)
    assert (job["state"], job["result"]) == ("expired", None)
    async with httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 404
    await service.expire(worker_db, storage, now=now + timedelta(days=91))
    assert await admin.fetchval("select count(*) from jobs where job_id = $1", job_id) == 0
