from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.conftest import Company, declare
from tests.modules.uploads.arriving import open_files
from tests.modules.uploads.test_known_content import news

from buildpeer.modules.uploads import rules, service
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.ids import new_id

CONTENT = b"x" * 1000


async def say(http: Any, company: Company, caller: Caller, *sent: tuple[str, int]) -> int:
    body = {"uploads": [{"upload_id": upload_id, "sent_bytes": count} for upload_id, count in sent]}
    return (await http.post("/v1/progress", json=body, headers=company.bearer(caller))).status_code


async def shown(http: Any, company: Company, caller: Caller, upload_id: str) -> Any:
    return (await http.get(f"/v1/uploads/{upload_id}", headers=company.bearer(caller))).json()


async def test_progress_goes_forward_only_and_never_beyond_the_file(http, company) -> None:
    caller = await company.hire()
    [opened] = await open_files(http, company, caller, declare(CONTENT))
    upload_id, seen = opened["upload_id"], []
    for count in (0, 10, 5, 500, 2**63 - 1, 3):
        assert await say(http, company, caller, (upload_id, count)) == 204
        upload = await shown(http, company, caller, upload_id)
        seen.append((upload["state"], upload["sent_bytes"]))
    forward = [10, 10, 500, 1000, 1000]
    assert seen == [("requested", 0), *(("receiving", count) for count in forward)]
    assert await say(http, company, caller, (upload_id, -1)) == 422


async def test_progress_of_others_of_unknown_and_of_ended_uploads_is_passed_over(http, company, admin) -> None:
    caller, colleague = await company.hire(), await company.hire("manager")
    mine, over = await open_files(http, company, caller, declare(CONTENT), declare(CONTENT))
    await http.post(f"/v1/uploads/{over['upload_id']}/cancellation", headers=company.bearer(caller))
    assert await say(http, company, colleague, (mine["upload_id"], 9), (str(new_id()), 9)) == 204
    assert (
        await say(http, company, caller, (over["upload_id"], 9), (mine["upload_id"], 3), (mine["upload_id"], 7)) == 204
    )
    rows = await admin.fetch("select upload_id, sent_bytes from uploads where tenant_id = $1", company.tenant_id)
    assert {str(r["upload_id"]): r["sent_bytes"] for r in rows} == {mine["upload_id"]: 7, over["upload_id"]: 0}


async def test_progress_is_told_at_most_every_two_seconds_and_not_audited(
    http, db, company, admin: asyncpg.Connection
) -> None:
    caller = await company.hire()
    [opened] = await open_files(http, company, caller, declare(CONTENT))
    began = clock.now()
    for step in range(41):  # a report every 100 ms, for four seconds
        sent = [(opened["upload_id"], step + 1)]
        await service.note_progress(db, caller=caller, sent=sent, now=began + step * timedelta(milliseconds=100))
    told = [body["upload"] for body in await news(admin, company.tenant_id, "upload.progressed")]
    assert [upload["sent_bytes"] for upload in told] == [1, 21, 41]
    assert {upload["state"] for upload in told} == {"receiving"}
    changed = await news(admin, company.tenant_id, "upload.changed")
    assert [body["upload"]["state"] for body in changed] == ["receiving"]
    entries = await admin.fetch(
        "select changes from audit.entries where tenant_id = $1 and object_type = 'uploads' and action = 'update'",
        company.tenant_id,
    )
    assert [entry["changes"] for entry in entries] == ['{"state": ["requested", "receiving"]}']


async def test_a_list_says_who_is_sending_how_far_and_since_when_it_has_stalled(http, company, admin) -> None:
    sender, manager = await company.hire(), await company.hire("manager")
    going, stalled, waiting = await open_files(http, company, sender, *(declare(CONTENT) for _ in range(3)))
    await say(http, company, sender, (going["upload_id"], 10), (stalled["upload_id"], 20))
    silent = clock.now() - rules.STALLED_AFTER
    await admin.execute("update uploads set progressed_at = $2 where upload_id = $1", stalled["upload_id"], silent)
    answer = await http.get("/v1/uploads?state=receiving", headers=company.bearer(manager))
    items = {item["upload_id"]: item for item in answer.json()["items"]}
    assert set(items) == {going["upload_id"], stalled["upload_id"]}
    assert {item["created_by"] for item in items.values()} == {str(sender.person_id)}
    assert [items[o["upload_id"]]["sent_bytes"] for o in (going, stalled)] == [10, 20]
    assert items[going["upload_id"]]["stalled_since"] is None
    assert items[stalled["upload_id"]]["stalled_since"].startswith(silent.isoformat()[:19])
    assert (await shown(http, company, sender, waiting["upload_id"]))["stalled_since"] is None


@pytest.mark.parametrize(("count", "status"), [(0, 422), (200, 204), (201, 422)])
async def test_a_call_tells_of_one_to_two_hundred_uploads(http, company, count: int, status: int) -> None:
    sent = [(str(new_id()), 1) for _ in range(count)]
    assert await say(http, company, await company.hire(), *sent) == status
