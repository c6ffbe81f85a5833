import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.architecture.test_isolation import fill

from buildpeer.modules.rfis import service, store
from buildpeer.modules.rfis.rules import Assignee
from buildpeer.modules.rfis.service import BulkChange
from buildpeer.modules.rfis.store import Filters
from buildpeer.platform import clock
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id


async def listed(site, by=None, *, sort="number", limit=50, after=None, overdue=False, location_id=None, **filters):
    found = await service.list_rfis(
        site.db,
        caller=by or site.owner,
        project_id=site.company.tower,
        filters=Filters(**filters),
        location_id=location_id,
        overdue=overdue,
        sort=sort,
        after=after,
        limit=limit,
        now=site.now,
    )
    return [shown.rfi for shown in found]


async def subjects(site, by=None, **asked) -> list[str]:
    return [rfi.subject for rfi in await listed(site, by, **asked)]


async def test_a_question_goes_its_way_and_everybody_knows_whose_move_it_is(site) -> None:
    opened = await site.opened(distribution=[site.other.person_id])
    rfi_id = opened.rfi.rfi_id
    assert opened.rfi.ball_in_court == tuple(sorted([site.first.person_id, site.second.person_id]))
    assert opened.rfi.due_date == date(2026, 12, 2)  # seven working days, Sundays off
    await site.reply(site.first, rfi_id)
    await site.act(site.second, rfi_id, "forward", person_id=site.other.person_id, note="¿Lo revisa?")
    back = await site.reply(site.other, rfi_id, "Correcto")
    assert back.rfi.ball_in_court == (site.second.person_id,)
    over = await site.reply(site.second, rfi_id, "20 cm")
    assert over.rfi.ball_in_court == (site.manager.person_id,)
    answered = await site.act(site.manager, rfi_id, "answer", reply_id=over.replies[-1].reply_id)
    assert [reply.official for reply in answered.replies] == [False, False, True]
    assert (await site.act(site.creator, rfi_id, "close")).rfi.ball_in_court == ()
    told = await site.news("rfi.changed")
    assert [news["rfi"]["verb"] for news in told] == [
        "submit",
        "open",
        "reply",
        "forward",
        "reply",
        "reply",
        "answer",
        "close",
    ]
    assert told[0]["rfi"]["people"] == sorted(
        str(p.person_id) for p in (site.manager, site.first, site.second, site.other)
    )
    assert told[-2]["rfi"]["people"] == sorted(
        str(p.person_id) for p in (site.creator, site.first, site.second, site.other)
    )
    assert not any("only_for" in news for news in told)


async def test_two_who_answer_at_once_are_both_heard_and_the_ball_moves_once(site) -> None:
    rfi_id = (await site.opened()).rfi.rfi_id
    await asyncio.gather(site.reply(site.first, rfi_id, "20 cm"), site.reply(site.second, rfi_id, "25 cm"))
    rfi = (await service.get_rfi(site.db, caller=site.creator, rfi_id=rfi_id, now=site.now)).rfi
    assert set(rfi.replied) == {site.first.person_id, site.second.person_id}
    history = await service.list_transitions(site.db, caller=site.creator, rfi_id=rfi_id, after=0, limit=50)
    assert [t.ball_after for t in history[-2:]].count((site.manager.person_id,)) == 1
    assert history[-1].ball_after == (site.manager.person_id,)


async def test_of_two_who_choose_the_official_reply_at_once_one_reply_stays_official(site) -> None:
    rfi_id = (await site.opened()).rfi.rfi_id
    replies = [(await site.reply(p, rfi_id)).replies[-1].reply_id for p in (site.first, site.second)]
    await asyncio.gather(
        site.act(site.manager, rfi_id, "answer", reply_id=replies[0]),
        site.act(site.owner, rfi_id, "answer", reply_id=replies[1]),
    )
    shown = await service.get_rfi(site.db, caller=site.creator, rfi_id=rfi_id, now=site.now)
    history = await service.list_transitions(site.db, caller=site.creator, rfi_id=rfi_id, after=0, limit=50)
    official = [reply.reply_id for reply in shown.replies if reply.official]
    assert official == [history[-1].reply_id]  # the later one; the earlier is in the history


async def test_of_two_who_edit_what_they_read_the_second_is_told(site) -> None:
    made = await site.create()
    await site.change(site.creator, made.rfi.rfi_id, made.rfi.version, subject="Losa N3")
    with pytest.raises(Problem, match="changed_meanwhile"):
        await site.change(site.owner, made.rfi.rfi_id, made.rfi.version, subject="Losa N4")
    assert (await site.change(site.owner, made.rfi.rfi_id, None, subject="Losa N4")).rfi.version == 3


async def test_the_same_call_again_makes_nothing_twice_and_another_under_its_id_is_refused(site) -> None:
    new = site.new()
    one, again = await asyncio.gather(site.create(new=new), site.create(new=new))
    assert one.rfi == again.rfi
    await site.change(site.creator, one.rfi.rfi_id, subject="Otra cosa")
    assert (await site.create(new=new)).rfi.subject == "Otra cosa"
    with pytest.raises(Problem, match="id_taken"):
        await site.create(rfi_id=new.rfi_id, subject="Distinta")
    with pytest.raises(Problem, match="id_taken"):
        await site.create(by=site.other, new=new)
    with pytest.raises(Problem, match="id_invalid"):
        await site.create(rfi_id=uuid4())
    await site.act(site.creator, one.rfi.rfi_id, "submit")
    await site.act(site.manager, one.rfi.rfi_id, "open")
    reply_id = new_id()
    await site.reply(site.first, one.rfi.rfi_id, "20 cm", reply_id)
    assert len((await site.reply(site.first, one.rfi.rfi_id, "20 cm", reply_id)).replies) == 1
    for by, body in ((site.first, "25 cm"), (site.second, "20 cm")):
        with pytest.raises(Problem, match="id_taken"):
            await site.reply(by, one.rfi.rfi_id, body, reply_id)


async def test_a_private_one_is_seen_and_heard_of_only_by_those_in_it(site) -> None:
    shown = await site.opened(private=True, distribution=[])
    insiders = (site.creator, site.manager, site.first, site.second, site.owner)
    for who in insiders:
        assert await subjects(site, who) == ["Losa"]
    assert await subjects(site, site.other) == []
    for call in (
        service.get_rfi(site.db, caller=site.other, rfi_id=shown.rfi.rfi_id, now=site.now),
        service.list_transitions(site.db, caller=site.other, rfi_id=shown.rfi.rfi_id, after=0, limit=9),
        site.reply(site.other, shown.rfi.rfi_id),
    ):
        with pytest.raises(Problem, match="not_found"):
            await call
    days = await service.court_days(
        site.db, caller=site.other, project_id=site.company.tower, rfi_id=None, now=site.now
    )
    assert days.people == []
    for news in await site.news("rfi.changed"):
        assert set(news["only_for"]) == {str(p.person_id) for p in insiders[:-1]}
    await site.act(site.first, shown.rfi.rfi_id, "forward", person_id=site.other.person_id)
    assert await subjects(site, site.other) == ["Losa"]


async def test_the_log_that_people_follow_tells_of_a_private_one_only_those_in_it(site, worker_db, wakeups) -> None:
    from tests.modules.notifications.test_stream import relay

    await site.opened(private=True)
    await site.opened()
    await relay(worker_db, None, wakeups)

    async def told(who) -> int:
        async with site.db.transaction(who.scope) as tx:
            return len(await tx.all("select from event_log where type = 'rfi.changed'"))

    assert [await told(who) for who in (site.creator, site.manager, site.owner, site.other)] == [4, 4, 4, 2]
    investor = await site.company.hire("inversionista")
    assert await told(investor) == 0


async def test_only_who_works_on_the_project_is_asked_and_only_its_own_things_are_named(site, admin, worker_db) -> None:
    company = site.company
    investor, outside = await company.hire("inversionista"), await company.hire("empleado_obra", company.school)
    elsewhere = await fill(admin, worker_db, company, company.school, outside.person_id)
    for field, said in (
        ("person_id", {"assignees": [Assignee(investor.person_id)]}),
        ("person_id", {"distribution": [outside.person_id]}),
        ("person_id", {"manager_id": uuid4()}),
        ("document_id", {"documents": [elsewhere]}),
        ("location_id", {"location_id": uuid4()}),
        ("trade_id", {"trade_id": uuid4()}),
        ("company_id", {"responsible_id": uuid4()}),
    ):
        with pytest.raises(Problem) as met:
            await site.create(**said)
        assert (met.value.code, met.value.facts) == ("reference_unknown", {"field": field})
    attached = await fill(admin, worker_db, company, company.tower, site.creator.person_id)
    assert (await site.create(documents=[attached, attached])).rfi.documents == (attached,)


async def test_what_is_due_on_a_holiday_is_due_on_the_next_working_day(site) -> None:
    await site.admin.execute("update projects set country = 'PE' where project_id = $1", site.company.tower)
    await site.rest_on(date(2026, 12, 9))
    shown = await site.create(due_date=date(2026, 12, 8))  # a holiday; the 9th is a day off of this site
    assert shown.rfi.due_date == date(2026, 12, 10)
    moved = await site.change(site.creator, shown.rfi.rfi_id, due_date=date(2026, 12, 13))  # a Sunday
    assert moved.rfi.due_date == date(2026, 12, 14)


async def reminders(site) -> list[tuple[str, str]]:
    return [(news["rfi"]["reminder"], news["rfi"]["due_date"]) for news in await site.news("rfi.reminded")]


async def remind(site, worker_db, at: datetime) -> None:
    while await service.remind(worker_db, now=at):
        pass


async def test_reminders_are_given_once_each_at_nine_on_working_days(site, worker_db) -> None:
    shown = await site.opened(due_date=date(2026, 12, 7))
    rfi_id, due = shown.rfi.rfi_id, "2026-12-07"
    nine = datetime(2026, 12, 5, 14, tzinfo=UTC)  # in Lima, on the Saturday before
    assert shown.rfi.remind_at == nine
    await remind(site, worker_db, nine - timedelta(seconds=1))
    assert await reminders(site) == []
    await asyncio.gather(*(remind(site, worker_db, nine) for _ in range(3)))
    await remind(site, worker_db, nine + timedelta(hours=1))
    assert await reminders(site) == [("soon", due)]
    news = (await site.news("rfi.reminded"))[0]["rfi"]
    assert news["people"] == sorted(str(p.person_id) for p in (site.first, site.second))
    await site.reply(site.first, rfi_id)
    # The worker was away until the night after the due date: the day's own reminder is missed, and nobody is woken.
    await remind(site, worker_db, datetime(2026, 12, 8, 8, tzinfo=UTC))
    assert len(await reminders(site)) == 1
    await site.rest_on(date(2026, 12, 8))
    await remind(site, worker_db, datetime(2026, 12, 8, 15, tzinfo=UTC))
    assert len(await reminders(site)) == 1
    await remind(site, worker_db, datetime(2026, 12, 9, 14, tzinfo=UTC))
    assert await reminders(site) == [("soon", due), ("late", due)]
    await remind(site, worker_db, datetime(2027, 1, 9, 14, tzinfo=UTC))
    assert len(await reminders(site)) == 2
    site.now = datetime(2026, 12, 9, 15, tzinfo=UTC)
    await site.change(site.manager, rfi_id, due_date=date(2026, 12, 14))  # another day, other reminders
    await remind(site, worker_db, datetime(2026, 12, 12, 14, tzinfo=UTC))
    assert (await reminders(site))[-1] == ("soon", "2026-12-14")
    await site.reply(site.second, rfi_id)
    replies = (await service.get_rfi(site.db, caller=site.owner, rfi_id=rfi_id, now=site.now)).replies
    await site.act(site.manager, rfi_id, "answer", reply_id=replies[0].reply_id)
    await remind(site, worker_db, datetime(2027, 1, 9, 14, tzinfo=UTC))
    assert len(await reminders(site)) == 3


async def test_a_reminder_that_could_not_be_kept_is_given_later(site, worker_db, monkeypatch) -> None:
    await site.opened(due_date=date(2026, 12, 7))
    nine = datetime(2026, 12, 5, 14, tzinfo=UTC)

    async def dies(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(store, "remind_later", dies)
        with pytest.raises(RuntimeError):
            await service.remind(worker_db, now=nine)
    assert await reminders(site) == []
    await remind(site, worker_db, nine + timedelta(minutes=2))
    assert len(await reminders(site)) == 1


async def test_many_are_changed_at_once_each_as_far_as_it_may(site) -> None:
    draft, opened, over = (await site.create()).rfi, (await site.opened()).rfi, (await site.opened()).rfi
    reply = (await site.reply(site.first, over.rfi_id)).replies[0].reply_id
    await site.act(site.manager, over.rfi_id, "answer", reply_id=reply)
    stranger = new_id()

    async def change(by, **said: Any) -> dict[UUID, str | int | None]:
        ids = [draft.rfi_id, opened.rfi_id, over.rfi_id, stranger]
        found = await service.change_many(site.db, caller=by, rfi_ids=ids, change=BulkChange(**said), now=site.now)
        assert [each.rfi_id for each in found] == ids
        return {each.rfi_id: each.problem.code if each.problem else each.version for each in found}

    changed = await change(
        site.manager,
        assign=[site.other.person_id],
        distribute=[site.creator.person_id],
        due_date=date(2026, 12, 6),
    )
    assert changed == {draft.rfi_id: "not_found", opened.rfi_id: 4, over.rfi_id: 6, stranger: "not_found"}
    rfi = (await service.get_rfi(site.db, caller=site.manager, rfi_id=opened.rfi_id, now=site.now)).rfi
    assert rfi.assignees == (site.first.person_id, site.second.person_id, site.other.person_id)
    assert site.other.person_id in rfi.ball_in_court
    assert (rfi.distribution, rfi.due_date) == ((site.creator.person_id,), date(2026, 12, 7))
    closed = await change(site.manager, close=True)
    assert closed == {draft.rfi_id: "not_found", opened.rfi_id: "rfi_state", over.rfi_id: 7, stranger: "not_found"}
    assert set((await change(site.other, close=True)).values()) == {"not_found", "rfi_state"}
    with pytest.raises(Problem, match="reference_unknown"):
        await change(site.manager, assign=[uuid4()])


async def test_lists_are_filtered_sorted_and_paged(site) -> None:
    company, admin = site.company, site.admin
    tower, floor, trade = uuid4(), uuid4(), uuid4()
    for place, above, name in ((tower, None, "Torre"), (floor, tower, "Piso 3")):
        await admin.execute(
            "insert into locations (tenant_id, project_id, location_id, parent_id, name) values ($1, $2, $3, $4, $5)",
            *(company.tenant_id, company.tower, place, above, name),
        )
    await admin.execute(
        "insert into trades (tenant_id, trade_id, name) values ($1, $2, 'Acero')", company.tenant_id, trade
    )
    await site.create(subject="Instalación de tubería", question="¿A qué presión?")
    await site.opened(subject="Fundações", due_date=date(2026, 11, 25), location_id=floor)
    mine = await site.opened(subject="Ventanas", due_date=date(2026, 12, 1), trade_id=trade)
    await site.reply(site.first, mine.rfi.rfi_id)
    assert await subjects(site) == ["Fundações", "Ventanas", "Instalación de tubería"]
    assert await subjects(site, site.manager, sort="-number") == ["Ventanas", "Fundações"]
    assert await subjects(site, sort="due_date") == ["Fundações", "Ventanas", "Instalación de tubería"]
    assert await subjects(site, status=["open"], ball_in_court=site.first.person_id) == ["Fundações"]
    assert await subjects(site, assignee_id=site.second.person_id, trade_id=trade) == ["Ventanas"]
    assert await subjects(site, location_id=tower) == await subjects(site, location_id=floor) == ["Fundações"]
    assert await subjects(site, location_id=uuid4()) == []
    for words in ("fundacao", "Fundação", "FUNDACOES"):
        assert await subjects(site, words=words) == ["Fundações"]
    for words in ("instalaciones tuberias", "tubería", "presion"):
        assert await subjects(site, words=words) == ["Instalación de tubería"]
    assert await subjects(site, overdue=True) == []
    site.now = datetime(2026, 11, 26, 5, tzinfo=UTC)  # midnight in Lima
    assert await subjects(site, overdue=True) == ["Fundações"]
    for sort in store.SORTS:
        whole, paged, after = await listed(site, sort=sort), [], None
        for _ in range(len(whole)):
            [rfi] = await listed(site, sort=sort, limit=1, after=after)
            paged.append(rfi)
            key = {
                "number": rfi.number or store.UNNUMBERED,
                "due_date": rfi.due_date or store.NEVER,
                "updated_at": rfi.updated_at,
            }
            after = (key[sort.removeprefix("-")], rfi.rfi_id)
        assert [rfi.subject for rfi in paged] == [rfi.subject for rfi in whole], sort


async def test_days_in_court_are_a_report_by_person_and_company(site) -> None:
    company, admin, builder = site.company, site.admin, uuid4()
    await admin.execute(
        "insert into companies (tenant_id, company_id, name) values ($1, $2, 'Cimbra SA')", company.tenant_id, builder
    )
    await admin.execute(
        "insert into project_companies (tenant_id, project_id, company_id, duty) values ($1, $2, $3, 'subcontractor')",
        *(company.tenant_id, company.tower, builder),
    )
    await admin.execute(
        "update project_members set company_id = $2 where person_id = $1", site.first.person_id, builder
    )
    rfi_id = (await site.opened()).rfi.rfi_id
    site.later(days=2)
    await site.reply(site.first, rfi_id)
    site.later(days=5)  # over a Sunday
    days = await service.court_days(site.db, caller=site.creator, project_id=company.tower, rfi_id=rfi_id, now=site.now)
    assert [(each.person_id, each.calendar_days, each.working_days) for each in days.people[:2]] == [
        (site.second.person_id, 7.0, 6),
        (site.first.person_id, 2.0, 2),
    ]
    assert [(each.company_id, each.calendar_days, each.working_days) for each in days.companies] == [
        (None, 7.0, 6),
        (builder, 2.0, 2),
    ]


async def test_what_happened_can_neither_be_changed_nor_forged(site) -> None:
    rfi = (await site.opened()).rfi
    for statement in (
        "update rfi_transitions set note = ''",
        "delete from rfi_transitions",
        "delete from rfis",
        "delete from rfi_replies",
        "update rfi_replies set body = ''",
        "update rfis set created_by = created_by",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with site.db.transaction(site.owner.scope) as tx:
                await tx.run(statement)
    reply = "insert into rfi_replies (tenant_id, rfi_id, reply_id, project_id, created_by, body, created_at)"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with site.db.transaction(site.owner.scope) as tx:
            await tx.run(
                f"{reply} values ($1, $2, $3, $4, $5, 'x', now())",
                *(site.company.tenant_id, rfi.rfi_id, new_id(), rfi.project_id, site.first.person_id),
            )


async def test_an_archived_project_is_read_and_asked_nothing_more(site, worker_db) -> None:
    rfi = (await site.opened(due_date=date(2026, 12, 7))).rfi
    await site.admin.execute("update projects set archived_at = now() where project_id = $1", site.company.tower)
    shown = await service.get_rfi(site.db, caller=site.manager, rfi_id=rfi.rfi_id, now=site.now)
    assert shown.permitted_actions == []
    with pytest.raises(Problem, match="project_archived"):
        await site.reply(site.first, rfi.rfi_id)
    await remind(site, worker_db, datetime(2026, 12, 7, 14, tzinfo=UTC))
    assert await reminders(site) == []


async def test_a_phone_asks_and_answers_over_http(http, site) -> None:
    bearer = site.company.bearer
    path, rfi_id = f"/v1/projects/{site.company.tower}/rfis", str(new_id())
    body = {
        "rfi_id": rfi_id,
        "subject": "Junta fría",
        "question": "¿Se acepta?",
        "manager_id": str(site.manager.person_id),
        "assignees": [{"person_id": str(site.first.person_id)}],
        "cost_impact": "yes",
        "cost_amount": "1250.50",
        "schedule_impact": "yes",
        "schedule_days": 3,
    }
    made = await http.post(path, json=body, headers=bearer(site.creator))
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert made.json()["permitted_actions"] == ["edit", "submit", "void"]
    assert (made.json()["cost_amount"], made.json()["full_number"]) == ("1250.50", None)
    one, change = f"/v1/rfis/{rfi_id}", {"reference": "A-101"}
    assert (await http.patch(one, json=change, headers=bearer(site.creator))).status_code == 428
    for tag, status in (('"7"', 412), ('"1"', 200)):
        answer = await http.patch(one, json=change, headers=bearer(site.creator) | {"if-match": tag})
        assert answer.status_code == status, answer.text
    assert answer.headers["etag"] == '"2"'
    for who, wanted in ((site.creator, "submit"), (site.manager, "open")):
        answer = await http.post(f"{one}/transitions", json={"action": wanted}, headers=bearer(who))
        assert answer.status_code == 201, answer.text
    listed = (await http.get(f"{path}?mine=true&sort=due_date&status=open", headers=bearer(site.first))).json()
    assert [item["full_number"] for item in listed["items"]] == ["TOR-RFI-001"]
    assert "replies" not in listed["items"][0]
    reply = {"reply_id": str(new_id()), "body": "Sí, con resina."}
    answer = await http.post(f"{one}/replies", json=reply, headers=bearer(site.first))
    assert answer.json()["assignees"] == [
        {"person_id": str(site.first.person_id), "response_required": True, "replied": True}
    ]
    assert answer.json()["ball_in_court"] == [str(site.manager.person_id)]
    answer = await http.post(
        f"{one}/transitions", json={"action": "close"}, headers=bearer(site.manager) | {"accept-language": "es"}
    )
    assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "rfi_state", "open")
    history = (await http.get(f"{one}/transitions?limit=2", headers=bearer(site.first))).json()
    assert [t["verb"] for t in history["items"]] == ["create", "submit"]
    rest = await http.get(f"{one}/transitions?cursor={history['next_cursor']}", headers=bearer(site.first))
    assert [t["verb"] for t in rest.json()["items"]] == ["open", "reply"]
    assert (await http.get(f"{path}?sort=subject", headers=bearer(site.first))).status_code == 422


async def test_the_first_pages_of_five_thousand_come_at_once(site) -> None:
    company = site.company
    await site.admin.execute(
        """insert into rfis (tenant_id, rfi_id, project_id, number, status, subject, question, created_by, manager_id,
          assignees, required, ball_in_court, due_date, created_at, updated_at, words, made_of)
        select $1, gen_random_uuid(), $2, n, (array['open', 'answered', 'closed', 'submitted'])[1 + n % 4],
          'Asunto ' || n, repeat('¿Qué hacemos con la losa? ', 20), $3, $4, array[$5::uuid], array[$5::uuid],
          case when n % 500 = 0 then array[$6::uuid] else array[$5::uuid] end, date '2026-01-01' + n % 400,
          now() - n * interval '1 minute', now() - n * interval '1 minute',
          to_tsvector('spanish', 'asunto ' || n || ' losa ' || case when n % 1000 = 0 then 'grieta' else '' end), ''
        from generate_series(1, 5000) n""",
        company.tenant_id,
        company.tower,
        *(p.person_id for p in (site.creator, site.manager, site.first, site.other)),
    )
    await site.admin.execute("analyze rfis")
    asked: list[dict[str, Any]] = [{"sort": sort} for sort in store.SORTS]
    asked += [
        {"ball_in_court": site.other.person_id},
        {"words": "grietas"},
        {"overdue": True, "sort": "due_date"},
        {"status": ["submitted"], "assignee_id": site.first.person_id},
        {"words": "nada"},
    ]
    for filters in asked:
        times: list[float] = []
        for _ in range(8):  # the sixth and later ones by whatever plan is kept
            began = clock.now()
            await listed(site, site.second, limit=51, **filters)
            times.append((clock.now() - began).total_seconds())
        print(f"{1000 * min(times):6.1f} ms {1000 * sorted(times)[4]:6.1f} ms  {filters}")
        assert sorted(times)[4] < 0.1, filters


async def test_settings_read_and_said(http, site) -> None:
    path = f"/v1/projects/{site.company.tower}/rfi-settings"
    read = await http.get(path, headers=site.company.bearer(site.first))
    assert (read.json(), read.headers["etag"]) == ({"manager_id": None, "due_days": 7}, '"0"')
    said = {"manager_id": str(site.manager.person_id), "due_days": 5}
    for who, status in ((site.manager, 403), (site.owner, 200), (site.owner, 412)):
        answer = await http.put(path, json=said, headers=site.company.bearer(who) | {"if-match": '"0"'})
        assert answer.status_code == status, answer.text
