import asyncio
import base64
import hashlib
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest
from tests.conftest import Company, declare
from tests.modules.uploads import arriving
from tests.modules.uploads.arriving import open_files, tell

from buildpeer.platform.ids import new_id

CONTENT = b"\xff\xd8\xff not much of a photo"


async def open_uploads(http: httpx.AsyncClient, company: Company, caller: Any, *items: Any, project: Any = None) -> Any:
    answer = await http.post(
        f"/v1/projects/{project or company.tower}/uploads",
        json={"uploads": list(items)},
        headers=company.bearer(caller),
    )
    return answer.json()["results"] if answer.status_code == 200 else answer


async def test_each_file_of_a_batch_has_its_own_verdict_in_the_order_asked(http, company) -> None:
    caller = await company.hire()
    items = [
        declare(CONTENT, name="Plano Ñuñoa – São João 3ª fase.pdf"),
        declare(CONTENT, name="../etc/passwd"),
        declare(CONTENT, size_bytes=0),
        declare(CONTENT, size_bytes="many"),
        {"nothing": "useful"},
        declare(CONTENT, kind="song"),
        declare(CONTENT, name="nul\x00.jpg"),
        declare(CONTENT, name="n\u0303 👷.jpg"),
    ]
    results = await open_uploads(http, company, caller, *items)
    assert [r["verdict"] for r in results] == ["opened", *["rejected"] * 6, "opened"]
    codes = [r["problem"]["code"] for r in results if r["problem"]]
    assert codes == ["name_invalid", "file_empty", "invalid", "invalid", "invalid", "name_invalid"]
    for result, item in ((results[0], items[0]), (results[7], items[7])):
        assert result["upload"]["name"] == item["name"]
        assert item["name"] not in result["put"]["url"]
        assert result["put"]["headers"]["content-length"] == str(len(CONTENT))


async def test_the_same_call_gives_the_same_answer_and_no_second_row(http, company, admin: asyncpg.Connection) -> None:
    caller = await company.hire()
    item = declare(CONTENT)
    first = await open_uploads(http, company, caller, item)
    again = await open_uploads(http, company, caller, item, item)
    assert [first[0]["verdict"]] + [r["verdict"] for r in again] == ["opened", "known", "known"]
    assert again[0]["upload"] == first[0]["upload"]
    assert again[0]["put"] is not None
    assert await admin.fetchval("select count(*) from uploads where tenant_id = $1", company.tenant_id) == 1


async def test_the_same_id_twice_in_one_batch_is_opened_once(http, company) -> None:
    caller = await company.hire()
    item = declare(CONTENT)
    results = await open_uploads(http, company, caller, item, item, item | {"name": "otro.jpg"})
    assert [r["verdict"] for r in results] == ["opened", "known", "conflict"]


@pytest.mark.parametrize(
    "change",
    [{"name": "otra.jpg"}, {"kind": "report"}, {"size_bytes": 7}, {"sha256": "00" * 32}, {"content_type": "image/png"}],
)
async def test_an_id_with_other_content_is_a_conflict(http, company, change: Any) -> None:
    caller = await company.hire()
    item = declare(CONTENT)
    await open_uploads(http, company, caller, item)
    [result] = await open_uploads(http, company, caller, item | change)
    assert (result["verdict"], result["problem"]["status"]) == ("conflict", 409)
    assert result["upload"] is None


async def test_an_id_that_another_person_or_project_has_is_a_conflict_that_tells_nothing(http, company) -> None:
    caller, colleague = await company.hire("manager"), await company.hire("empleado_obra", company.school)
    item = declare(CONTENT)
    await open_uploads(http, company, caller, item)
    [elsewhere] = await open_uploads(http, company, caller, item, project=company.school)
    [hidden] = await open_uploads(http, company, colleague, item, project=company.school)
    for result in (elsewhere, hidden):
        assert (result["verdict"], result["problem"]["code"]) == ("conflict", "upload_conflict")
        assert (result["upload"], result["put"]) == (None, None)


async def test_another_tenant_may_use_the_same_id(http, company, found_company) -> None:
    rival = await found_company()
    item = declare(CONTENT)
    await open_uploads(http, company, await company.hire(), item)
    [result] = await open_uploads(http, rival, await rival.hire(), item)
    assert result["verdict"] == "opened"


async def test_a_thousand_open_in_one_call_and_fifty_come_with_a_url(http, company) -> None:
    caller = await company.hire()
    results = await open_uploads(http, company, caller, *(declare(CONTENT) for _ in range(1000)))
    assert {r["verdict"] for r in results} == {"opened"}
    assert [bool(r["put"]) for r in results] == [True] * 50 + [False] * 950
    more = await http.post(f"/v1/uploads/{results[999]['upload_id']}/urls", headers=company.bearer(caller))
    assert more.json()["put"]["method"] == "PUT"


@pytest.mark.parametrize(("count", "code"), [(0, "batch_empty"), (1001, "batch_too_large")])
async def test_a_batch_has_one_to_a_thousand_files(http, company, count: int, code: str) -> None:
    answer = await open_uploads(http, company, await company.hire(), *([declare(CONTENT)] * count))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_busy_tenant_moves_to_the_bulk_lane_whoever_is_busy(http, company) -> None:
    here, there = await company.hire(), await company.hire("empleado_obra", company.school)
    first = await open_uploads(http, company, here, *(declare(CONTENT) for _ in range(50)))
    [last_live] = await open_uploads(http, company, there, declare(CONTENT), project=company.school)
    [bulk] = await open_uploads(http, company, there, declare(CONTENT), project=company.school)
    assert {r["upload"]["lane"] for r in first} == {"live"}
    assert (last_live["upload"]["lane"], bulk["upload"]["lane"]) == ("live", "bulk")


async def test_strangers_and_nobodies_get_404_investors_403_and_the_unsigned_401(http, company, found_company) -> None:
    rival = await found_company()
    stranger, elsewhere = await rival.hire("owner"), await company.hire("empleado_obra", company.school)
    investor = await company.hire("inversionista")
    item = declare(CONTENT)
    for caller in (stranger, elsewhere):
        assert (await open_uploads(http, company, caller, item)).status_code == 404
    assert (await open_uploads(http, company, investor, item)).json()["code"] == "not_allowed"
    unsigned = await http.post(f"/v1/projects/{company.tower}/uploads", json={"uploads": [item]})
    assert (unsigned.status_code, unsigned.json()["code"]) == (401, "not_signed_in")
    nowhere = await open_uploads(http, company, elsewhere, item, project=uuid4())
    assert nowhere.status_code == 404


async def test_only_the_uploader_gets_write_urls(http, company, found_company) -> None:
    caller, colleague = await company.hire(), await company.hire("manager")
    stranger = await (rival := await found_company()).hire("owner")
    [result] = await open_uploads(http, company, caller, declare(CONTENT))
    address = f"/v1/uploads/{result['upload_id']}/urls"
    assert (await http.post(address, headers=company.bearer(caller))).status_code == 200
    assert (await http.post(address, headers=company.bearer(colleague))).json()["code"] == "not_allowed"
    assert (await http.post(address, headers=rival.bearer(stranger))).json()["code"] == "not_found"


async def test_lists_show_exactly_what_the_caller_may_see_page_by_page(http, company, found_company) -> None:
    here, both = await company.hire(), await company.hire("manager")
    for _ in range(3):
        await open_uploads(http, company, here, declare(CONTENT), declare(CONTENT))
    await open_uploads(http, company, both, declare(CONTENT), project=company.school)
    rival = await found_company()
    await open_uploads(http, rival, await rival.hire("owner"), declare(CONTENT))

    async def listed(caller: Any, **query: Any) -> list[str]:
        found, cursor = [], None
        while True:
            params = {"limit": 2, **query} | ({"cursor": cursor} if cursor else {})
            page = (await http.get("/v1/uploads", params=params, headers=company.bearer(caller))).json()
            found += [item["upload_id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    assert len(await listed(here)) == len(set(await listed(here))) == 6
    assert len(await listed(both)) == 7
    assert len(await listed(both, project_id=company.school)) == 1
    assert len(await listed(both, state="ready")) == 0
    assert await listed(await company.hire("inversionista")) == []


async def test_cancelling_is_for_the_uploader_and_can_be_repeated(http, company) -> None:
    caller, colleague = await company.hire(), await company.hire("manager")
    [result] = await open_uploads(http, company, caller, declare(CONTENT))
    address = f"/v1/uploads/{result['upload_id']}/cancellation"
    assert (await http.post(address, headers=company.bearer(colleague))).status_code == 403
    for _ in range(2):
        answer = await http.post(address, headers=company.bearer(caller) | {"accept-language": "pt-BR"})
        assert (answer.json()["state"], answer.json()["reason_text"]) == ("cancelled", "Quem enviava cancelou o envio.")
    refused = await http.post(f"/v1/uploads/{result['upload_id']}/urls", headers=company.bearer(caller))
    assert (refused.status_code, refused.json()["code"]) == (409, "upload_closed")


async def test_two_devices_racing_with_one_id_open_it_once(http, company) -> None:
    caller = await company.hire()
    item = declare(CONTENT)
    answers = await asyncio.gather(*(open_uploads(http, company, caller, item) for _ in range(8)))
    assert sorted(answer[0]["verdict"] for answer in answers) == ["known"] * 7 + ["opened"]


async def put(http: httpx.AsyncClient, signed: Any, content: bytes, **headers: str) -> httpx.Response:
    return await http.put(signed["url"], content=content, headers=signed["headers"] | headers)


async def test_a_url_takes_exactly_the_declared_bytes_and_takes_them_once(http, company) -> None:
    caller = await company.hire()
    items = [declare(CONTENT) for _ in range(7)]
    good, longer, typed, other, path, expired, late = await open_uploads(http, company, caller, *items)
    assert (await put(http, good["put"], CONTENT)).status_code == 200
    assert (await put(http, good["put"], CONTENT)).status_code == 412
    assert (
        await put(http, longer["put"], CONTENT + b"!", **{"content-length": str(len(CONTENT) + 1)})
    ).status_code == 403
    assert (await put(http, typed["put"], CONTENT, **{"content-type": "text/html"})).status_code == 403
    assert (await put(http, other["put"], b"X" * len(CONTENT))).status_code == 400
    lie = {"x-amz-checksum-sha256": "A" * 43 + "="}
    assert (await put(http, other["put"], CONTENT, **lie)).status_code == 403
    assert (await put(http, other["put"], CONTENT, **{"if-none-match": "x"})).status_code == 403
    elsewhere = path["put"] | {"url": path["put"]["url"].replace(path["upload_id"], str(new_id()))}
    assert (await put(http, elsewhere, CONTENT)).status_code == 403
    stale = expired["put"]["url"].replace("X-Amz-Date=2", "X-Amz-Date=1")
    assert (await put(http, expired["put"] | {"url": stale}, CONTENT)).status_code == 403
    assert (await put(http, late["put"], CONTENT)).status_code == 200  # the others waited for nothing


async def test_an_expired_url_is_refused(http, company, storage, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from buildpeer.platform import clock

    monkeypatch.setattr(storage, "_now", lambda: clock.now() - timedelta(hours=7))
    signed = storage.sign_write(
        bucket=settings.uploads_bucket,
        key=f"live/{company.tenant_id}/{new_id()}",
        size=len(CONTENT),
        content_type="image/jpeg",
        sha256=hashlib.sha256(CONTENT).digest(),
    )
    answer = await http.put(signed.url, content=CONTENT, headers=signed.headers)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"uploads": 3}', "application/json", 422),
        (b"\xff", "application/json", 400),
    ],
)
async def test_a_body_that_is_no_batch_is_a_problem(http, company, body: bytes, content_type: str, status: int) -> None:
    caller = await company.hire()
    headers = company.bearer(caller) | {"content-type": content_type}
    answer = await http.post(f"/v1/projects/{company.tower}/uploads", content=body, headers=headers)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_text_that_no_database_keeps_is_a_problem_of_the_caller(http, company) -> None:
    answer = await http.post("/v1/sessions", json={"email": "a\x00b", "password": "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_an_address_that_there_is_not_has_a_request_id_too(http) -> None:
    answer = await http.get("/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] != ""


@pytest.mark.parametrize(
    "body",
    [
        b'{"email": "\xff", "password": "x"}',
        b'{"email": ' + b"[" * 100_000,
        b'{"email": "a", "password": "' + b"x" * 2000 + b'"}',
    ],
)
async def test_a_body_that_nobody_can_read_is_a_problem_of_the_caller(http, body: bytes) -> None:
    answer = await http.post("/v1/sessions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_cursor_of_another_time_or_with_nul_is_a_problem_of_the_caller(http, company) -> None:
    caller = await company.hire()
    for path, place in (
        ("uploads", ["0001-01-01T00:00:00+14:00", str(uuid4())]),
        ("projects", ["a\x00", str(uuid4())]),
    ):
        cursor = base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()
        answer = await http.get(f"/v1/{path}", params={"cursor": cursor}, headers=company.bearer(caller))
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_batches_with_the_same_ids_in_other_orders_never_deadlock(http, company) -> None:
    caller = await company.hire()
    for _ in range(3):
        items = [declare(CONTENT) for _ in range(200)]
        answers = await asyncio.gather(
            *(open_uploads(http, company, caller, *order) for order in (items, items[::-1], items, items[::-1]))
        )
        verdicts = [result["verdict"] for answer in answers for result in answer]
        assert verdicts.count("opened") == 200
        assert verdicts.count("known") == 600


async def test_a_good_and_a_bad_item_with_one_id_are_judged_each_for_itself(http, company) -> None:
    item = declare(CONTENT)
    results = await open_uploads(http, company, await company.hire(), item, item | {"size_bytes": 0})
    assert [r["verdict"] for r in results] == ["opened", "rejected"]


async def test_who_has_sent_files_can_leave_and_the_files_stay(http, company) -> None:
    caller, owner = await company.hire(), await company.hire("owner")
    await open_uploads(http, company, caller, declare(CONTENT))
    await company.dismiss(caller)
    left = await http.get("/v1/uploads", headers=company.bearer(owner))
    assert len(left.json()["items"]) == 1


async def test_a_problem_is_told_in_the_callers_language(http, company) -> None:
    caller = await company.hire()
    headers = company.bearer(caller) | {"accept-language": "pt"}
    item = declare(CONTENT, size_bytes=51 * 1024 * 1024)
    answer = await http.post(f"/v1/projects/{company.tower}/uploads", json={"uploads": [item]}, headers=headers)
    told = answer.json()["results"][0]["problem"]["detail"]
    assert told == "O arquivo é grande demais: o limite para este tipo é de 50 MiB."
    missing = await http.get(f"/v1/uploads/{uuid4()}", headers=headers | {"accept-language": "es-CL"})
    assert missing.json()["detail"] == "No existe, o no está entre lo que usted puede ver."


async def test_what_a_phone_says_of_a_photo_reaches_its_document(http, worker_db, company: Company) -> None:
    caller, content = await company.hire(), uuid4().bytes
    said = {"captured_at": "2026-11-23T07:30:05-06:00", "latitude": 19.43, "longitude": -99.13}
    [result] = await open_files(http, company, caller, declare(content, **said))
    version = await arriving.put(http, result, content)
    await tell(worker_db, company, result["upload"], version, "derived", "scanned", "created")
    path = f"/v1/documents/{result['upload']['upload_id']}"
    shown = (await http.get(path, headers=company.bearer(caller))).json()
    assert datetime.fromisoformat(shown["captured_at"]) == datetime.fromisoformat(said["captured_at"])
    assert [shown[name] for name in ("captured_from", "latitude", "longitude", "located_from")] == [
        "client",
        19.43,
        -99.13,
        "client",
    ]


@pytest.mark.parametrize(
    "said",
    [
        {"captured_at": "2026-11-23T07:30:05"},
        {"captured_at": "yesterday"},
        {"latitude": 3.0},
        {"latitude": 91.0, "longitude": 0.0},
        {"latitude": 0.0, "longitude": -181.0},
    ],
)
async def test_what_a_phone_says_must_make_sense(http, company: Company, said: dict[str, Any]) -> None:
    caller = await company.hire()
    [result] = await open_files(http, company, caller, declare(b"x", **said))
    assert (result["verdict"], result["problem"]["code"]) == ("rejected", "invalid")
