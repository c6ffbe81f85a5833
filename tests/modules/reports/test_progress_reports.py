"""Progress reports: composed, published for good, corrected, read by the investors of their project, and printed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
import pyvips
from tests.architecture.test_isolation import fill
from tests.conftest import Company
from tests.modules.reports.test_exporting import pictures_in, text_of

from buildpeer import layout
from buildpeer.modules.jobs import service as jobs
from buildpeer.modules.reports.rules.progress import Measured, Milestone, curve
from buildpeer.modules.reports.rules.progress_paper import milestone_state
from buildpeer.modules.reports.service import exporting_progress as exporting
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.ids import new_id

BASELINE = "fecha;físico;costo\n2026-01-31;0;0\n2026-06-30;40;400000\n2026-12-31;100;1000000\n"


class Desk:
    """Where a manager composes the tower's reports."""

    def __init__(self, http: httpx.AsyncClient, company: Company, admin: Any, worker_db: Any, clients: Any) -> None:
        self.http, self.company, self.admin, self._worker_db, self._clients = http, company, admin, worker_db, clients
        self.project = f"/v1/projects/{company.tower}"

    async def open(self) -> "Desk":
        self.manager = await self.company.hire("manager")
        self.investor = await self.company.hire("inversionista")
        plan = await self.call("PUT", f"{self.project}/baseline", {"csv": BASELINE}, tag="0")
        assert plan.status_code == 200, plan.text
        for day, physical, cost in (("2026-06-30", 38, "410000"), ("2026-09-30", 66.5, "702000.50")):
            path = f"{self.project}/progress/{day}"
            assert (await self.call("PUT", path, {"physical": physical, "cost": cost})).status_code == 200
        return self

    async def call(
        self, method: str, path: str, body: Any = None, *, who: Caller | None = None, tag: Any = None
    ) -> httpx.Response:
        headers = self.company.bearer(who or self.manager) | {"accept-language": "es"}
        headers |= {} if tag is None else {"if-match": "*" if tag == "*" else f'"{tag}"'}
        return await self.http.request(method, path, json=body, headers=headers)

    async def draft(self, *photos: UUID, corrects: str | None = None, **content: Any) -> str:
        """The path of a new draft."""
        report_id = str(new_id())
        body = {"report_id": report_id, "corrects": corrects, "content": composed(*photos, **content)}
        made = [await self.call("POST", f"{self.project}/progress-reports", body) for _ in range(2)]
        assert [m.status_code for m in made] == [200, 200], made[0].text
        assert made[0].json()["report_id"] == made[1].json()["report_id"]
        return f"/v1/progress-reports/{report_id}"

    async def publish(self, path: str, tag: Any = "*") -> httpx.Response:
        return await self.call("POST", f"{path}/publication", tag=tag)

    async def photo(self) -> UUID:
        """A photo whose preview is there."""
        photo = await fill(self.admin, self._worker_db, self.company, self.company.tower, self.manager.person_id)
        bucket, key = self._clients.settings.derived_bucket, layout.job_key(self.company.tenant_id, photo, 1)
        picture = pyvips.Image.black(64, 48).webpsave_buffer()
        await self._clients.storage.put_once(bucket=bucket, key=key, content=picture, content_type="image/webp")
        preview = msgspec.json.encode({"bucket": bucket, "key": key, "width": 64, "height": 48, "size": len(picture)})
        await self.admin.execute("update documents set preview = $2 where document_id = $1", photo, preview.decode())
        return photo

    async def withdraw(self, photo: UUID) -> None:
        await self.admin.execute("update documents set withdrawn_at = now() where document_id = $1", photo)


def composed(*photos: UUID, **changes: Any) -> dict[str, Any]:
    told = {
        "title": "Informe de avance",
        "first": "2026-09-01",
        "last": "2026-09-30",
        "text": "Se terminó la estructura. #strong[no es marcado]",
        "shows_money": True,
        "milestones": [{"name": "Estructura", "planned": "2026-09-20", "actual": "2026-09-28"}],
        "photos": [{"document_id": str(photo), "caption": "Losa del nivel 9"} for photo in photos],
    }
    return told | changes


@pytest.fixture
async def desk(http: httpx.AsyncClient, company: Company, admin: Any, worker_db: Any, worker_clients: Any) -> Desk:
    return await Desk(http, company, admin, worker_db, worker_clients).open()


@pytest.fixture
async def printed(db: Any, worker_db: Any, worker_clients: Any, desk: Desk) -> AsyncIterator[Callable[..., Any]]:
    """Order a paper, do the job as the worker would, and read its file; or else how the job ended."""
    handlers = {
        exporting.PROGRESS_REPORT: exporting.print_report,
        exporting.PHOTO_REPORT: exporting.print_photos,
    }

    async def order(
        path: str, body: dict[str, Any], who: Caller, before: Callable[[], Awaitable[None]] | None = None
    ) -> Any:
        job_id = str(new_id())
        ordered = await desk.call("POST", path, {"job_id": job_id} | body, who=who)
        assert ordered.status_code == 201, ordered.text
        if before:
            await before()
        state = "queued"
        while state in ("queued", "running"):  # other tests' jobs may come first
            bucket = worker_clients.settings.derived_bucket
            await jobs.work(worker_db, db, worker_clients.storage, handlers, bucket=bucket, now=clock.now)
            state = await desk.admin.fetchval("select state from jobs where job_id = $1", UUID(job_id))
        if state != "done":
            return state
        job = (await desk.call("GET", f"/v1/jobs/{job_id}", who=who)).json()
        async with httpx.AsyncClient() as plain:
            return (await plain.get(job["result"]["url"])).content

    yield order


async def test_a_published_report_shows_plan_and_progress_and_never_changes(desk: Desk) -> None:
    path = await desk.draft()
    assert (await desk.call("GET", path, who=desk.investor)).status_code == 404
    published = (await desk.publish(path, tag=1)).json()
    page = published["page"]
    assert page["physical"] == {"planned": 70.0, "actual": 66.5}
    assert page["financial"] == {"planned": 70.0, "actual": 70.2}
    money = {"currency": "USD", "budget": "1000000", "planned": "700000.00", "actual": "702000.50"}
    assert page["money"] == money
    curve = {point["on"]: point["physical"] for point in page["curve"]}
    assert (page["curve"][0]["on"], page["curve"][-1]["on"], len(curve)) == ("2026-01-31", "2026-12-31", 12)
    assert curve["2026-05-31"]["actual"] is None  # nothing was measured before
    assert curve["2026-08-31"] == {"planned": 60.22, "actual": 38.0}
    assert curve["2026-10-31"]["actual"] is None  # nor after
    # The plan, the measurements and the project's name change; what was published doesn't.
    await desk.call("PUT", f"{desk.project}/progress/2026-09-30", {"physical": 1, "cost": "1"})
    await desk.admin.execute("update projects set name = 'Otra' where project_id = $1", desk.company.tower)
    seen = (await desk.call("GET", path, who=desk.investor)).json()
    assert (seen["page"], seen["content"]) == (page, None)
    edited = await desk.call("PUT", path, composed(title="Otro"), tag="*")
    assert (edited.status_code, edited.json()["code"]) == (409, "report_published")
    for change in ("set content = '{}'", "set page = null, published_by = null, published_at = null"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await desk.admin.execute(f"update progress_reports {change} where report_id = $1", UUID(path[-36:]))
    with pytest.raises(asyncpg.RestrictViolationError):
        await desk.admin.execute("delete from progress_reports where report_id = $1", UUID(path[-36:]))


async def test_of_two_who_publish_at_once_one_does_and_an_edit_in_between_is_not_published_unread(desk: Desk) -> None:
    path = await desk.draft()
    answers = await asyncio.gather(*(desk.publish(path, tag=1) for _ in range(4)))
    assert {a.status_code for a in answers} == {200}
    assert len({(a.json()["published_at"], a.json()["version"]) for a in answers}) == 1
    told = """select count(*) from
        (select type, tenant_id from outbox union all select type, tenant_id from event_log) e
        where type = 'progress_report.published' and tenant_id = $1"""
    assert await desk.admin.fetchval(told, desk.company.tenant_id) == 1
    other = await desk.draft()
    assert (await desk.call("PUT", other, composed(title="Otro"), tag=1)).status_code == 200
    assert (await desk.call("PUT", other, composed(title="Tercero"), tag=1)).status_code == 412
    assert (await desk.publish(other, tag=1)).status_code == 412
    assert (await desk.call("POST", f"{other}/publication")).status_code == 428
    published = await desk.publish(other, tag=2)
    assert published.json()["page"]["title"] == "Otro"


async def test_a_correction_is_a_new_edition_and_the_first_to_be_published_is_the_one(desk: Desk) -> None:
    first = await desk.draft()
    old = first[-36:]
    body = {"report_id": str(new_id()), "corrects": old, "content": composed()}
    early = await desk.call("POST", f"{desk.project}/progress-reports", body)
    assert early.json()["code"] == "report_not_published"
    await desk.publish(first)
    drafts = [await desk.draft(corrects=old, title=title) for title in ("Uno", "Dos")]
    answers = await asyncio.gather(*(desk.publish(path) for path in drafts))
    assert sorted(a.status_code for a in answers) == [200, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"report_corrected"}
    [new] = [a.json() for a in answers if a.status_code == 200]
    assert (new["edition"], new["corrects"]) == (2, old)
    listed = (await desk.call("GET", f"{desk.project}/progress-reports", who=desk.investor)).json()["items"]
    told = {item["report_id"]: (item["status"], item["corrected_by"]) for item in listed}
    assert told == {old: ("corrected", new["report_id"]), new["report_id"]: ("published", None)}


async def test_investors_read_reports_of_their_project_while_they_belong_to_it_and_leave_receipts(
    desk: Desk, printed: Callable[..., Any]
) -> None:
    company, path = desk.company, await desk.draft()
    stranger = await company.hire("inversionista", company.school)
    builder, resident = await company.hire(), await company.hire("residente")
    await desk.publish(path)
    for who, status in ((desk.investor, 200), (resident, 200), (stranger, 404), (builder, 404)):
        assert (await desk.call("GET", path, who=who)).status_code == status
    await desk.call("GET", path, who=desk.investor)
    await desk.call("GET", path)  # who composes leaves none
    readings = (await desk.call("GET", f"{path}/readings")).json()["items"]
    times = {each["person_id"]: each["times"] for each in readings}
    assert times == {str(desk.investor.person_id): 2, str(resident.person_id): 1}
    assert all(each["first_at"] <= each["last_at"] for each in readings)
    # In an archived project it is read as before, receipt and all.
    await desk.admin.execute("update projects set archived_at = now() where project_id = $1", company.tower)
    assert (await desk.call("GET", path, who=desk.investor)).status_code == 200
    assert (await desk.call("GET", f"{path}/readings", who=desk.investor)).status_code == 403
    again = (await desk.call("GET", f"{path}/readings")).json()["items"]
    assert again[0]["times"] == 3
    await desk.admin.execute("update projects set archived_at = null where project_id = $1", company.tower)
    # Removed after the paper was ordered and before it is made: there is none.
    assert await printed(f"{path}/exports", {}, desk.investor, lambda: company.dismiss(desk.investor)) == "failed"
    assert (await desk.call("GET", path, who=desk.investor)).status_code == 404


async def test_investors_see_chosen_photos_by_the_report_alone_and_a_quarantined_one_is_left_out_with_a_note(
    desk: Desk, printed: Callable[..., Any]
) -> None:
    good, bad, unchosen = [await desk.photo() for _ in range(3)]
    path = await desk.draft(good, bad)
    await desk.publish(path)
    page = (await desk.call("GET", path, who=desk.investor)).json()["page"]
    assert [p["document_id"] for p in page["photos"]] == [str(good), str(bad)]
    async with httpx.AsyncClient() as plain:
        assert (await plain.get(page["photos"][0]["preview"]["url"])).status_code == 200
    for photo in (good, unchosen):
        assert (await desk.call("GET", f"/v1/documents/{photo}", who=desk.investor)).status_code == 404
    assert pictures_in(await printed(f"{path}/exports", {}, desk.investor)) == 2
    await desk.withdraw(bad)
    page = (await desk.call("GET", path, who=desk.investor)).json()["page"]
    assert ([p["document_id"] for p in page["photos"]], page["photos_left_out"]) == ([str(good)], 1)
    assert page["notice"] == "Se omite una foto que ya no está disponible."
    paper = await printed(f"{path}/exports", {}, desk.investor)
    assert pictures_in(paper) == 1
    for words in ("Informe de avance", "66.5", "USD", "#strong[no es marcado]", "Losa del nivel 9", page["notice"]):
        assert words in text_of(paper), words
    # What is gone before it is published can't be published.
    refused = await desk.call(
        "POST", f"{desk.project}/progress-reports", {"report_id": str(new_id()), "content": composed(bad)}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "reference_unknown")


async def test_a_photo_report_tells_caption_place_and_time_in_the_projects_zone(
    desk: Desk, printed: Callable[..., Any]
) -> None:
    photo, gone = await desk.photo(), await desk.photo()
    await desk.admin.execute(
        """update documents set captured_at = '2026-11-03 03:30Z', latitude = -12.05, longitude = -77.04
        where document_id = $1""",
        photo,
    )
    chosen = [{"document_id": str(p), "caption": "Armado"} for p in (photo, gone)]
    resident = await desk.company.hire("residente")
    body = {"title": "Fotos", "photos": chosen}
    paper = await printed(f"{desk.project}/photo-reports", body, resident, lambda: desk.withdraw(gone))
    text = " ".join(text_of(paper).split())
    assert "Armado · -12.05000, -77.04000 · 2 de noviembre de 2026, 22:30" in text
    assert "Se omite una foto" in text
    assert pictures_in(paper) == 1


async def test_money_and_plans_are_for_those_who_may(desk: Desk) -> None:
    resident = await desk.company.hire("residente")
    path = f"{desk.project}/progress/2026-10-31"
    assert (await desk.call("PUT", path, {"physical": 71}, who=resident)).status_code == 200
    assert (await desk.call("PUT", path, {"physical": 71, "cost": "5"}, who=resident)).status_code == 403
    kept = await desk.call("PUT", f"{desk.project}/progress/2026-09-30", {"physical": 67}, who=resident)
    assert kept.json()["cost"] == "702000.50"  # not touched
    assert (await desk.call("GET", f"{desk.project}/baseline", who=desk.investor)).status_code == 404
    quiet = await desk.draft(shows_money=False)
    page = (await desk.publish(quiet)).json()["page"]
    assert (page["money"], page["financial"]) == (None, {"planned": 70.0, "actual": 70.2})


@pytest.mark.parametrize(
    "csv",
    [
        "on,physical\n2026-01-31,0\n",
        "on,physical\n2026-01-31,50\n2026-02-28,40\n",
        "on,physical\n2026-02-28,0\n2026-01-31,40\n",
        "on,physical,cost\n2026-01-31,0,1\n2026-02-28,40,\n",
        "on,physical\n2026-01-31,cien\n2026-02-28,40\n",
        "day,progress\n1,2\n",
    ],
    ids=["one point", "falls", "backwards", "money at one point", "no number", "other columns"],
)
async def test_a_plan_that_is_none_is_refused(desk: Desk, csv: str) -> None:
    answer = await desk.call("PUT", f"{desk.project}/baseline", {"csv": csv}, tag="*")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_a_milestone_is_told_by_the_reports_last_day() -> None:
    planned, last = date(2026, 9, 20), date(2026, 9, 30)

    def told(**days: date) -> str:
        return milestone_state(Milestone(name="Estructura", planned=days.pop("planned", planned), **days), last, "es")

    assert told(actual=date(2026, 9, 20)) == "cumplido"
    assert told(actual=date(2026, 9, 21)) == "cumplido, 1 día tarde"
    assert told(actual=date(2026, 10, 1)) == "vencido"  # after the period, of which nothing was known in it
    assert told(forecast=date(2026, 10, 5)) == "15 días de retraso"
    assert told(planned=date(2026, 10, 20)) == "en fecha"


@pytest.mark.parametrize("step", ["month", "week"])
def test_a_curve_without_a_plan_or_measurements_is_still_one(step: Any) -> None:
    last = date(2026, 9, 30)
    assert [point.on for point in curve([], [], last=last, step=step)] == [last]
    measured = [Measured(measured_on=date(2026, 9, 1), physical=3)]
    days = [point.on for point in curve([], measured, last=last, step=step)]
    assert (days[0], days[-1]) == (date(2026, 9, 1), last)
    assert {day.isoweekday() for day in days[1:-1]} <= {7}
