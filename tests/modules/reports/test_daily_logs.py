"""A project's days over HTTP."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.architecture.test_isolation import fill
from tests.conftest import eventually
from tests.modules.reports.conftest import Site, entry, stamp, today

from buildpeer.modules.reports.store import daily_logs as store
from buildpeer.platform.ids import new_id


async def test_a_day_is_there_as_soon_as_somebody_writes_in_it_and_goes_through_its_life(site: Site, admin) -> None:
    owner, field = await site.company.hire("owner"), await site.company.hire()
    resident = await site.company.hire("residente")
    empty = await site.get(field)
    assert (empty["state"], empty["entries"], empty["timezone"]) == ("open", {}, "America/Lima")
    assert empty["permitted_actions"] == ["add_entry", "copy"]
    added = await site.add(field, entry(), entry("weather", sky="rain", rain=12.5), entry("manpower", workers=14))
    assert [r["verdict"] for r in added.json()["results"]] == ["added"] * 3
    weather = added.json()["results"][1]["entry"]
    assert (weather["content"]["sky"], weather["version"], weather["late"]) == ("rain", 1, False)
    refused = [
        await site.post(field, path, body) for path, body in (("completion", None), ("reopening", {"reason": "abc"}))
    ]
    assert {answer.status_code for answer in refused} == {403}
    early = await site.post(resident, "distribution", {"people": [str(owner.person_id)]})
    assert (early.status_code, early.json()["code"], early.json()["permitted_actions"]) == (
        409,
        "log_open",
        ["add_entry", "copy", "complete"],
    )
    done = [(await site.post(resident, "completion")).json() for _ in range(2)]
    assert done[0] == done[1]
    assert (done[0]["state"], done[0]["completed_by"]) == ("completed", str(resident.person_id))
    people = {"people": [str(owner.person_id)]}
    sent = [(await site.post(resident, "distribution", people)).json() for _ in range(2)]
    assert sent[0] == sent[1]
    assert (sent[0]["state"], sent[0]["recipients"]) == ("distributed", people["people"])
    opened = (await site.post(resident, "reopening", {"reason": "Faltó la cuadrilla de acero"})).json()
    assert (opened["state"], opened["completed_by"], opened["distributed_at"]) == ("open", None, None)
    trail = await admin.fetchrow(
        "select changes, person_id from audit.entries where tenant_id = $1 and action = 'log_reopened'",
        site.company.tenant_id,
    )
    assert "Faltó la cuadrilla" in trail["changes"]
    assert trail["person_id"] == resident.person_id
    events = await admin.fetch(
        "select type, count(*) from outbox where tenant_id = $1 group by 1 order by 1", site.company.tenant_id
    )
    assert [tuple(row) for row in events] == [
        ("daily_log.changed", 1),
        ("daily_log.completed", 1),
        ("daily_log.distributed", 1),
        ("daily_log.reopened", 1),
    ]
    listed = (await site.http.get(f"/v1/projects/{site.project}/daily-logs", headers=site.company.bearer(owner))).json()
    assert [day["entries"] for day in listed["items"]] == [{"manpower": 1, "note": 1, "weather": 1}]


async def test_an_entry_sent_again_is_known_and_another_by_its_id_a_conflict(site: Site) -> None:
    field, other = await site.company.hire(), await site.company.hire()
    first = entry()
    answers = await asyncio.gather(*(site.add(field, first) for _ in range(4)))
    verdicts = sorted(answer.json()["results"][0]["verdict"] for answer in answers)
    assert verdicts == ["added", "known", "known", "known"]
    changed = first | {"content": {"kind": "note", "text": "otra cosa"}}
    for who, sent in ((field, changed), (other, first)):
        result = (await site.add(who, sent)).json()["results"][0]
        assert (result["verdict"], result["problem"]["code"], result["entry"]) == ("conflict", "id_taken", None)
    both = (await site.add(field, second := entry(), second | {"content": {"kind": "note", "text": "x"}})).json()
    assert [r["verdict"] for r in both["results"]] == ["added", "conflict"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"entry_id": str(uuid4())}, "id_invalid"),
        ({"entry_id": 7}, "invalid"),
        ({"content": {"kind": "gossip"}}, "invalid"),
        ({"content": {"kind": "manpower", "workers": -1}}, "invalid"),
        ({"content": {"kind": "manpower", "workers": 1, "mood": "good"}}, "invalid"),
        ({"content": {"kind": "delay", "cause": "rain"}}, "invalid"),
        ({"content": {"kind": "visitor", "name": "Ana", "arrived_at": "24:00"}}, "invalid"),
        ({"noted_at": "2026-11-23T10:00:00"}, "invalid"),
        ({"attachments": [str(uuid4())]}, "reference_unknown"),
        ({"content": {"kind": "note", "text": "a", "location_id": str(uuid4())}}, "reference_unknown"),
    ],
)
async def test_an_item_that_is_none_is_refused_and_its_neighbours_are_not(site: Site, wrong: Any, code: str) -> None:
    field = await site.company.hire()
    results = (await site.add(field, entry(), entry() | wrong)).json()["results"]
    assert [r["verdict"] for r in results] == ["added", "rejected"]
    assert results[1]["problem"]["code"] == code


async def test_a_phone_that_believes_to_live_in_1970_or_tomorrow_is_told_what_day_it_is(site: Site) -> None:
    field = await site.company.hire()
    for day in (today() - timedelta(days=20_000), today() + timedelta(days=1)):
        answer = await site.add(field, entry(), day=day)
        assert (answer.status_code, answer.json()["code"]) == (422, "log_date_invalid")
        assert answer.json()["today"] == today().isoformat()
    fast = await site.add(field, entry() | {"noted_at": "2031-01-01T10:00:00Z"}, sent_at="2031-01-01T12:00:00Z")
    seen = fast.json()["results"][0]["entry"]
    assert seen["clock_off_s"] > 10_000_000
    assert seen["noted_at"] < stamp()


async def test_what_comes_after_completion_is_late_and_edits_wait_for_a_person(site: Site) -> None:
    field, resident = await site.company.hire(), await site.company.hire("residente")
    noted = entry()
    await site.add(field, noted)
    await site.post(resident, "completion")
    late = (await site.add(field, entry())).json()["results"][0]
    assert (late["verdict"], late["entry"]["late"], late["entry"]["permitted_actions"]) == ("added", True, [])
    edited = (await site.edit(field, noted["entry_id"], set={"text": "más tarde"})).json()
    assert edited["content"]["text"] == "Se coló la losa"
    (conflict,) = edited["conflicts"]
    assert (conflict["reason"], conflict["field"], conflict["value"]) == ("closed", "text", "más tarde")
    day = await site.get(resident)
    assert (day["late_entries"], day["conflicts"], day["state"]) == (1, 1, "completed")
    path = f"/v1/daily-log-conflicts/{conflict['conflict_id']}/resolution"
    closed = await site.post(resident, path, {"resolution": "taken"})
    assert (closed.status_code, closed.json()["code"]) == (409, "log_closed")
    assert "reopen" in closed.json()["permitted_actions"]
    await site.post(resident, "reopening", {"reason": "Corregir una nota"})
    taken = [await site.post(resident, path, {"resolution": "taken"}) for _ in range(2)]
    assert [a.json()["content"]["text"] for a in taken] == ["más tarde"] * 2
    otherwise = await site.post(resident, path, {"resolution": "kept"})
    assert (otherwise.status_code, otherwise.json()["code"]) == (409, "conflict_resolved")
    assert (await site.get(resident, "/conflicts"))["items"] == []
    assert len((await site.get(resident, "/conflicts?resolved=true"))["items"]) == 1


async def test_whoever_completes_a_day_waits_for_who_is_writing_in_it(site: Site, db, admin) -> None:
    field, resident = await site.company.hire(), await site.company.hire("residente")
    await site.add(field, entry())
    async with db.transaction(field.scope) as tx:
        assert await store.state(tx, site.project, today()) == "open"
        completing = asyncio.create_task(site.post(resident, "completion"))
        waits = """select exists (select from pg_stat_activity
            where wait_event_type = 'Lock' and query like '%state = ''completed''%')"""
        await eventually(lambda: admin.fetchval(waits))
        assert not completing.done()
    assert (await completing).json()["state"] == "completed"


async def test_two_phones_edit_apart_and_a_person_decides(site: Site) -> None:
    owner, field = await site.company.hire("owner"), await site.company.hire()
    noted = entry("manpower", workers=10, hours=8)
    await site.add(field, noted)
    phone, edit = str(new_id()), {"set": {"workers": 12}}
    first = await site.edit(field, noted["entry_id"], installation_id=phone, **edit)
    assert first.json()["version"] == 2
    again = await site.edit(field, noted["entry_id"], installation_id=phone, noted_at=stamp(), **edit)
    assert again.json() == first.json()
    other = await site.edit(field, noted["entry_id"], installation_id=phone, set={"workers": 13})
    assert (other.status_code, other.json()["code"]) == (409, "id_taken")
    apart = (await site.edit(owner, noted["entry_id"], set={"workers": 15, "hours": 9})).json()
    assert (apart["content"]["workers"], apart["content"]["hours"]) == (15, 9)
    (conflict,) = apart["conflicts"]
    assert (conflict["value"], conflict["written_by"]) == (12, str(field.person_id))
    path = f"/v1/daily-log-conflicts/{conflict['conflict_id']}/resolution"
    kept = (await site.post(field, path, {"resolution": "kept"})).json()
    assert (kept["content"]["workers"], kept["conflicts"]) == (15, [])


async def test_what_is_deleted_leaves_a_stone_and_can_come_back(site: Site) -> None:
    field, other = await site.company.hire(), await site.company.hire()
    noted = entry()
    await site.add(field, noted)
    assert (await site.edit(other, noted["entry_id"], delete=True)).status_code == 403
    gone = (await site.edit(field, noted["entry_id"], delete=True)).json()
    assert (gone["deleted_by"], gone["permitted_actions"]) == (str(field.person_id), ["restore"])
    assert (await site.get(field, "/entries"))["items"] == []
    stones = (await site.get(field, "/entries?deleted=true"))["items"]
    assert [e["deleted_at"] is not None for e in stones] == [True]
    back = (await site.post(field, f"/v1/daily-log-entries/{noted['entry_id']}/restoration")).json()
    assert (back["deleted_at"], back["content"]["text"]) == (None, "Se coló la losa")


async def test_an_edit_that_is_none_is_refused(site: Site) -> None:
    field = await site.company.hire()
    noted = entry()
    await site.add(field, noted)
    for wrong in (
        {},
        {"set": {"mood": "good"}},
        {"set": {"text": None}},
        {"set": {"text": "a"}, "delete": True},
        {"set": {"text": "a"}, "base_version": 2},
        {"set": {"text": "a"}, "sequence": 0},
    ):
        answer = await site.edit(field, noted["entry_id"], **wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), wrong
    assert (await site.edit(field, str(new_id()), set={"text": "a"})).status_code == 404


async def test_yesterdays_crews_are_copied_once_without_their_photos(site: Site, admin, worker_db) -> None:
    field = await site.company.hire()
    photo = await fill(admin, worker_db, site.company, site.project, field.person_id)
    then, before = today() - timedelta(days=1), today() - timedelta(days=4)  # the weekend lies between
    added = await site.add(
        field, entry("manpower", attachments=[photo], workers=14), entry("note", text="a"), day=before
    )
    assert {r["verdict"] for r in added.json()["results"]} == {"added"}
    copies = await asyncio.gather(*(site.post(field, "copies", {}, day=then) for _ in range(3)))
    items = copies[0].json()["items"]
    assert [c.json()["items"] for c in copies] == [items] * 3
    assert [(e["content"]["workers"], e["attachments"], e["version"]) for e in items] == [(14, [], 1)]
    assert items[0]["copied_from"] == added.json()["results"][0]["entry_id"]
    wrong = await site.post(field, "copies", {"kinds": ["photo"]}, day=then)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid")


async def test_a_day_is_for_those_who_work_on_the_project(site: Site) -> None:
    field, investor = await site.company.hire(), await site.company.hire("inversionista")
    outside = await site.company.hire("empleado_obra", site.company.school)
    noted = entry()
    await site.add(field, noted)
    for who in (investor, outside):
        headers = site.company.bearer(who)
        for path in (site.day(), f"{site.day()}/entries", f"/v1/daily-log-entries/{noted['entry_id']}"):
            assert (await site.http.get(path, headers=headers)).status_code == 404
        assert (await site.add(who, entry())).status_code == 404
