import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.modules.notifications.conftest import WEB
from tests.modules.notifications.test_stream import Reader, started
from tests.modules.notifications.test_webhooks import document, rfi

from buildpeer.modules.identity.facade import Tool
from buildpeer.modules.notifications import rules, service, store
from buildpeer.platform.ids import new_id
from buildpeer.platform.mail import Letter, compose
from buildpeer.platform.messages import LANGUAGES, NOTICES


async def inbox(http, company, caller, query: str = ""):
    headers = company.bearer(caller) | {"accept-language": "es"}
    answer = await http.get(f"/v1/notices{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def texts(http, company, caller) -> list[str]:
    return [notice["text"] for notice in (await inbox(http, company, caller))["items"]]


async def mails(admin, company, caller):
    return await admin.fetch(
        "select * from mails where recipient = $1 order by created_at", company.emails[caller.person_id]
    )


async def test_each_fact_is_told_to_those_whom_it_concerns_and_who_may_see_it(
    http, company, found_company, desk
) -> None:
    rival = await found_company()
    foreign = await rival.hire("owner")
    worker, colleague, out = await company.hire(), await company.hire(), await company.hire("residente", company.school)
    manager, investor = await company.hire("manager"), await company.hire("inversionista")
    named = [person.person_id for person in (worker, out, investor, foreign)]
    blocked = {"upload_id": str(new_id()), "name": "a.jpg", "created_by": str(worker.person_id)}
    await desk.announce(
        company,
        rfi(*named, by=str(manager.person_id)),
        rfi(worker.person_id, manager.person_id, number=8, by=str(worker.person_id)),
        ("upload.changed", {"version": 1, "upload": blocked | {"state": "quarantined"}}),
        ("upload.changed", {"version": 1, "upload": blocked | {"state": "ready"}}),
        document(),
        document(),
    )
    secret = rfi(colleague.person_id, worker.person_id, number=9)
    secret[1]["only_for"] = [str(worker.person_id)]
    await desk.announce(company, secret)
    await desk.hear()
    desk.later(minutes=1)
    await desk.hear()
    assert await texts(http, company, worker) == [
        "Hay novedades en la RFI 9",
        "Su archivo a.jpg no se pudo aceptar",
        "Hay novedades en la RFI 7",
    ]
    assert await texts(http, company, manager) == ["2 archivos nuevos", "Hay novedades en la RFI 8"]
    for nobody in (colleague, out, investor):
        assert await texts(http, company, nobody) == []
    assert await texts(http, rival, foreign) == []


async def test_notices_are_read_one_by_one_or_all_at_once(http, company, desk) -> None:
    worker, other = await company.hire(), await company.hire()
    await desk.announce(company, *(rfi(worker.person_id, number=n) for n in range(5)))
    await desk.hear()
    headers = company.bearer(worker)
    first = await inbox(http, company, worker, "?limit=2")
    rest = await inbox(http, company, worker, f"?cursor={first['next_cursor']}")
    assert [n["facts"]["number"] for n in first["items"] + rest["items"]] == [4, 3, 2, 1, 0]
    newest, second = first["items"]
    path = f"/v1/notices/{newest['position']}"
    assert (await http.patch(path, json={"read": True}, headers=headers)).status_code == 204
    assert (await http.get("/v1/notices/unread", headers=headers)).json() == {"count": 4}
    assert (await http.patch(path, json={"read": True}, headers=company.bearer(other))).status_code == 404
    await http.patch(path, json={"read": False}, headers=headers)
    marked = await http.post("/v1/notices/readings", json={"up_to": second["position"]}, headers=headers)
    assert marked.json() == {"count": 4}
    assert [n["position"] for n in (await inbox(http, company, worker, "?unread=true"))["items"]] == [
        newest["position"]
    ]


async def test_a_new_notice_reaches_its_reader_s_open_screen_and_no_other(
    http, worker_db, company, desk, wakeups
) -> None:
    worker, other = await company.hire("inversionista"), await company.hire()
    mine, theirs = Reader(http, company, worker), Reader(http, company, other)
    report = {"version": 1, "report": {"report_id": str(uuid4()), "people": [str(worker.person_id)]}}
    async with mine.open() as events, theirs.open() as others:
        first, foreign = await started(mine, events), await started(theirs, others)
        await desk.announce(company, ("progress_report.published", report))
        await desk.hear()
        await desk.hear()
        async with asyncio.timeout(5):
            assert (await first)["event"] == "notice.added"
            assert (await foreign)["event"] == "progress_report.published"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(others)


async def test_who_is_taken_out_of_a_project_hears_nothing_more_of_it(http, company, desk, admin) -> None:
    worker = await company.hire("empleado_obra", company.tower, company.school)
    await desk.announce(company, rfi(worker.person_id))
    await desk.announce(company, rfi(worker.person_id, number=5), project=company.school)
    await desk.hear()
    await admin.execute(
        "delete from project_members where person_id = $1 and project_id = $2", worker.person_id, company.tower
    )
    await desk.announce(company, rfi(worker.person_id, number=8))
    await desk.hear()
    assert await texts(http, company, worker) == ["Hay novedades en la RFI 5"]
    desk.later(days=1)
    await service.send_digests(desk.db, web_url=WEB, now=desk.now)
    [mail] = await mails(admin, company, worker)
    assert ("RFI 5" in mail["facts"], "RFI 7" in mail["facts"]) == (True, False)
    await company.dismiss(worker)
    await desk.announce(company, rfi(worker.person_id, number=9), project=company.school)
    await desk.hear()
    assert await texts(http, company, worker) == []


async def test_people_choose_what_they_hear_by_mail_and_when(http, company, desk, admin) -> None:
    daily, at_once, muted = [await company.hire() for _ in range(3)]
    put = {"mail": "at_once"}
    assert (
        await http.put("/v1/me/notice-preferences", json={"mail": "never"}, headers=company.bearer(at_once))
    ).status_code == 204
    path = f"/v1/projects/{company.tower}/notice-preferences"
    assert (await http.put(path, json=put, headers=company.bearer(at_once))).status_code == 204
    await http.put(path, json={"muted": True}, headers=company.bearer(muted))
    await http.put("/v1/me/notice-preferences", json={"timezone": "Europe/Madrid"}, headers=company.bearer(daily))
    shown = (await http.get("/v1/me/notice-preferences", headers=company.bearer(at_once))).json()
    assert (shown["general"]["mail"], shown["projects"][str(company.tower)]["mail"]) == ("never", "at_once")
    bad = await http.put("/v1/me/notice-preferences", json={"timezone": "Mars"}, headers=company.bearer(daily))
    assert (bad.status_code, bad.json()["code"]) == (422, "invalid")
    people = [person.person_id for person in (daily, at_once, muted)]
    await desk.announce(company, rfi(*people), rfi(*people, number=8))
    await desk.hear()
    for _ in range(2):  # once more changes nothing
        await service.send_digests(desk.db, web_url=WEB, now=desk.now)
    [mail] = await mails(admin, company, at_once)
    assert mail["template"] == "digest"
    assert await mails(admin, company, daily) == []
    due = await admin.fetchval("select min(mail_due_at) from notices where person_id = $1", daily.person_id)
    assert due == rules.mail_due("daily", now=desk.now, timezone="Europe/Madrid")
    newest = (await inbox(http, company, daily))["items"][0]
    await http.patch(f"/v1/notices/{newest['position']}", json={"read": True}, headers=company.bearer(daily))
    await service.send_digests(desk.db, web_url=WEB, now=due)
    [mail] = await mails(admin, company, daily)
    assert (mail["template"], "RFI 7" in mail["facts"]) == ("digest_of_one", True)
    assert await texts(http, company, muted) == []
    gone = await http.delete(path, headers=company.bearer(muted))
    assert gone.status_code == 204
    await desk.announce(company, rfi(*people, number=10))
    await desk.hear()
    assert await texts(http, company, muted) == ["Hay novedades en la RFI 10"]


async def test_a_killed_worker_neither_loses_nor_doubles_a_mail(company, desk, admin, monkeypatch) -> None:
    worker = await company.hire()
    await desk.announce(company, rfi(worker.person_id))
    await desk.hear()
    desk.later(days=1)
    real = store.take_mailed

    async def dies(*args: object) -> object:
        await real(*args)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(store, "take_mailed", dies)
        with pytest.raises(asyncio.CancelledError):
            await service.send_digests(desk.db, web_url=WEB, now=desk.now)
    assert await mails(admin, company, worker) == []
    while await service.send_digests(desk.db, web_url=WEB, now=desk.now):
        pass
    assert len(await mails(admin, company, worker)) == 1


@pytest.mark.parametrize(
    ("mail", "now", "zone", "due"),
    [
        ("daily", "2026-03-02T12:59", "America/Lima", "2026-03-02T13:00"),  # 7:59 there
        ("daily", "2026-03-02T13:00", "America/Lima", "2026-03-03T13:00"),
        ("daily", "2026-09-05T20:00", "America/Santiago", "2026-09-06T11:00"),  # the clocks go forward that night
        ("hourly", "2026-03-02T12:59", "UTC", "2026-03-02T13:00"),
        ("at_once", "2026-03-02T12:59", "UTC", "2026-03-02T12:59"),
        ("daily", "2026-03-02T07:00", "Gone/Nowhere", "2026-03-02T08:00"),
        ("never", "2026-03-02T12:59", "UTC", None),
    ],
)
def test_when_a_mail_goes_out(mail, now, zone, due) -> None:
    wanted = datetime.fromisoformat(due).replace(tzinfo=UTC) if due else None
    assert rules.mail_due(mail, now=datetime.fromisoformat(now).replace(tzinfo=UTC), timezone=zone) == wanted


def test_every_topic_has_words_in_every_language_and_a_tool_that_there_is() -> None:
    assert set(NOTICES) == set(rules.BY_NAME)
    assert len(rules.BY_NAME) == len(rules.TOPICS)
    for words in NOTICES.values():
        assert set(words) == set(LANGUAGES)
    assert {topic.tool for topic in rules.TOPICS.values()} <= set(Tool.__args__)


def test_what_comes_in_bursts_is_one_until_it_is_quiet_or_goes_on_for_too_long() -> None:
    project, began = uuid4(), datetime(2026, 3, 2, tzinfo=UTC)

    def happening(n: int) -> rules.Happening:
        found = rules.read(*document(), person_id=None, position=n, project_id=project, occurred_at=began + at(n))
        assert found is not None
        return found

    def at(n: int) -> timedelta:
        return timedelta(seconds=n)

    [burst], rest = rules.gather([], [happening(n) for n in range(50)])
    assert (burst.count, burst.first_position, burst.last_position, rest) == (50, 0, 49, [])
    assert burst.due_at == began + at(49) + rules.QUIET
    [burst], _ = rules.gather([burst], [happening(n) for n in range(50, 1000)])
    assert (burst.count, len(burst.ids), burst.due_at) == (1000, rules.MOST_IDS, began + rules.LONGEST_BURST)


@pytest.mark.parametrize("body", [{}, {"upload": None}, {"rfi": {"people": ["x", None, 3], "number": [1]}}, {"a": {}}])
@pytest.mark.parametrize("event", rules.TOPICS)
def test_no_event_s_body_stops_the_reader(event, body) -> None:
    place = {"position": 1, "project_id": uuid4(), "occurred_at": datetime.now(UTC)}
    found = rules.read(event, body, person_id=None, **place)
    assert found is None or rules.payload(found, web_url=WEB)


@pytest.mark.parametrize("locale", LANGUAGES)
def test_a_mail_lists_what_happened_line_by_line_and_escapes_names(locale) -> None:
    facts = {"count": 2, "company": "Obra", "first": "", "lines": "Torre <A>\n  • {x}", "link": WEB}
    letter = Letter(mail_id=uuid4(), template="digest", recipient="a@b.c", locale=locale, facts=facts)
    message = compose(letter, sender="B <a@b.c>", now=datetime.now(UTC))
    page = message.get_body(("html",)).get_content()
    assert "Torre &lt;A&gt;<br>" in page
    assert "{x}" in page
