"""Files in chunks, end to end: real api, real S3, the real handler of assemble with its own least rights."""

import asyncio
import os
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.conftest import Company, declare
from tests.modules.uploads.conftest import CHUNKS, UPLOADS, House, OpenFile

from buildpeer import facts
from buildpeer.entrypoints.functions.assemble import make_part
from buildpeer.entrypoints.functions.aws import aws
from buildpeer.layout import CELL, MIB, PART_SIZE
from buildpeer.modules.uploads import rules, service
from buildpeer.modules.uploads.service.joining import look
from buildpeer.platform import clock
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id

PHOTO = os.urandom(5 * CELL + 12_345)
PLAN = os.urandom(2 * PART_SIZE + 3 * CELL + 7)
PHOTO_CHUNKS = [(0, 2 * CELL), (2 * CELL, 3 * CELL), (5 * CELL, 12_345)]


def spans(*places: tuple[int, int]) -> list[dict[str, int]]:
    return [{"offset": start, "length": end - start} for start, end in places]


def part_chunks(part: int) -> list[tuple[int, int]]:
    """Chunks of 1 MiB that fill a part of the plan."""
    start, end = (part - 1) * PART_SIZE, min(part * PART_SIZE, len(PLAN))
    return [(at, min(MIB, end - at)) for at in range(start, end, MIB)]


async def test_a_photo_in_chunks_out_of_order_overlapping_and_twice_becomes_the_file(
    open_file: OpenFile, house: House
) -> None:
    file = await open_file(PHOTO)
    assert (await file.view())["state"] == "requested"
    assert await file.send((5 * CELL, 12_345), (2 * CELL, 3 * CELL)) == [200, 200]
    view = await file.view()
    assert (view["state"], view["received"]) == ("receiving", spans((2 * CELL, len(PHOTO))))
    assert await file.send((2 * CELL, 3 * CELL)) == [412]  # it is there
    early = await file.post("completion")
    assert (early.status_code, early.json()["code"]) == (409, "upload_incomplete")
    assert early.json()["missing"] == spans((0, 2 * CELL))
    assert await file.send((0, CELL), (0, 3 * CELL)) == [200, 200]
    assert (await file.view())["received"] == spans((0, len(PHOTO)))
    for _ in range(2):
        completed = await file.post("completion")
        assert (completed.status_code, completed.json()["state"]) == (200, "stored")
    assert len(await house.wanted(file)) == 1
    assert house.stored(file) is None
    assert await house.join(file) == ["joined"]
    assert house.stored(file) == PHOTO
    assert house.chunks(file) == []
    head = house.s3.head_object(Bucket=UPLOADS, Key=file.key)
    assert (head["ContentType"], head["ContentDisposition"]) == ("image/jpeg", "attachment")
    assert await house.sweep(file) == "scanning"
    assert (await file.view())["received"] == spans((0, len(PHOTO)))


async def test_a_plan_mixes_whole_parts_and_chunks(open_file: OpenFile, house: House) -> None:
    file = await open_file(PLAN, kind="plan")
    assert await file.send_parts(2) == [200]
    assert set(await file.send(*part_chunks(1)[::-1])) == {200}
    assert (await file.post("completion")).json()["missing"] == spans((2 * PART_SIZE, len(PLAN)))
    assert await file.send(*part_chunks(3)) == [200]
    assert (await file.post("completion")).json()["state"] == "stored"
    first, third = await house.wanted(file)
    assert (first["detail"]["part"], third["detail"]["part"]) == (1, 3)
    assert await house.join(file) == ["joined", "joined"]
    assert house.stored(file) == PLAN
    assert (house.chunks(file), house.multiparts(file)) == ([], [])


async def test_a_plan_that_came_in_chunks_alone_needs_no_part_of_its_own(open_file: OpenFile, house: House) -> None:
    file = await open_file(PLAN, kind="plan")
    for part in (3, 1, 2):
        assert set(await file.send(*part_chunks(part))) == {200}
    assert house.multiparts(file) == []
    assert (await file.post("completion")).json()["state"] == "stored"
    assert await house.join(file) == ["joined"] * 3
    assert house.stored(file) == PLAN


async def test_the_sweeper_finishes_what_is_all_there_when_the_phone_is_gone(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS[:2])
    assert await house.sweep(file) == "receiving"
    await file.send(PHOTO_CHUNKS[2])
    assert await house.sweep(file) == "stored"
    assert len(await house.wanted(file)) == 1
    await house.forget_wanted(file)  # the queue loses it
    assert await house.sweep(file, waiting=3) == "stored"
    assert await house.wanted(file) == []  # what merely waits in line is not asked for again
    assert await house.sweep(file) == "stored"
    assert await house.join(file) == ["joined"]
    assert await house.sweep(file) == "scanning"
    assert house.stored(file) == PHOTO


async def test_the_sweeper_finishes_a_plan_of_parts_and_chunks(open_file: OpenFile, house: House) -> None:
    file = await open_file(PLAN, kind="plan")
    await file.send_parts(1, 2)
    await file.send(*part_chunks(3))
    assert await house.sweep(file) == "stored"
    [message] = await house.wanted(file)
    house.assemble(message)  # and the word of it is lost
    assert await house.sweep(file) == "scanning"
    assert house.stored(file) == PLAN


async def test_assembling_twice_late_or_at_once_changes_nothing(open_file: OpenFile, house: House) -> None:
    photo, plan = await open_file(PHOTO), await open_file(PLAN, kind="plan")
    await photo.send(*PHOTO_CHUNKS)
    await plan.send_parts(1, 2)
    await plan.send(*part_chunks(3))
    for file in (photo, plan):
        await file.post("completion")
        [message] = await house.wanted(file)
        told = house.assemble(message, message)
        assert [fact.outcome for fact in told] == ["joined", "joined"]
        await house.tell(*told)
        [late] = house.assemble(message)  # the object stands, the multipart upload is gone
        assert late.outcome == "joined"
        await house.tell(late, late)
        assert await house.sweep(file) == "scanning"
        await house.tell(late)
        assert await house.state(file) == "scanning"
        assert house.stored(file) == file.content
        assert len(house.s3.list_object_versions(Bucket=UPLOADS, Prefix=file.key)["Versions"]) == 1


async def test_completions_and_assemblers_that_race_make_one_file(open_file: OpenFile, house: House) -> None:
    photo, plan = await open_file(PHOTO), await open_file(PLAN, kind="plan")
    await photo.send(*PHOTO_CHUNKS)
    await plan.send_parts(1, 2)
    await plan.send(*part_chunks(3))
    for file in (photo, plan):
        answers = await asyncio.gather(*(file.post("completion") for _ in range(4)))
        assert {(answer.status_code, answer.json()["state"]) for answer in answers} == {(200, "stored")}
        [message] = await house.wanted(file)
        told = await asyncio.gather(*(asyncio.to_thread(make_part, aws(), _read(message)) for _ in range(4)))
        assert set(told) == {"joined"}
        await asyncio.gather(*(house.tell(*house.assemble(message)) for _ in range(2)))
        assert (house.stored(file), house.chunks(file)) == (file.content, [])


def _read(message: dict[str, Any]) -> facts.PartWanted:
    return msgspec.convert(message["detail"], facts.PartWanted)


@pytest.mark.parametrize("before", ["list_objects", "list_parts", "head"])
async def test_bytes_that_move_while_somebody_looks_are_seen(
    open_file: OpenFile, house: House, db: Database, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    file = await open_file(PLAN, kind="plan")
    await file.send_parts(1, 2)
    await file.send(*part_chunks(3))
    await file.post("completion")
    messages = await house.wanted(file)
    upload = await service.get_upload(db, caller=file.caller, upload_id=UUID(file.upload_id))
    ask = getattr(house.storage, before)

    async def just_joined(**named: Any) -> Any:
        if messages:
            await house.tell(*house.assemble(messages.pop()))
        return await ask(**named)

    monkeypatch.setattr(house.storage, before, just_joined)
    assert (await look(house.storage, upload)).missing == []
    assert messages == []
    assert house.stored(file) == PLAN


async def test_chunks_that_contradict_each_other_end_the_upload(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS)
    wrong = bytearray(PHOTO)
    wrong[CELL + 5] ^= 1
    assert await file.send((CELL, CELL), content=bytes(wrong)) == [200]
    assert (await file.post("completion")).json()["state"] == "stored"
    assert await house.join(file) == ["differ"]
    view = await file.view()
    assert (view["state"], view["reason"]) == ("mismatched", "chunks_differ")
    assert "pedazos" in view["reason_text"]
    assert (house.stored(file), house.chunks(file)) == (None, [])
    assert (await file.post("completion")).json()["code"] == "upload_closed"


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (1, CELL),
        (CELL // 2, CELL),
        (-CELL, CELL),
        (0, 0),
        (0, CELL + 1),
        (0, 9 * CELL),
        (PART_SIZE - CELL, 2 * CELL),
        (2 * PART_SIZE + 3 * CELL, 8),
        (3 * PART_SIZE, CELL),
    ],
)
async def test_only_runs_of_cells_of_one_part_are_signed(open_file: OpenFile, offset: int, length: int) -> None:
    file = await open_file(PLAN, kind="plan")
    answer = await file.post("urls", {"chunks": spans((0, CELL), (offset, offset + length))})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert (await file.view())["state"] == "requested"


async def test_a_call_signs_up_to_64_pieces_of_either_kind(open_file: OpenFile) -> None:
    file = await open_file(PLAN, kind="plan")
    cells = spans(*((n * CELL, (n + 1) * CELL) for n in range(64)))
    assert len((await file.post("urls", {"chunks": cells})).json()["chunks"]) == 64
    both = await file.post("urls", {"chunks": cells[:62], "parts": [3, 1]})
    assert [each["part_number"] for each in both.json()["parts"]] == [3, 1]
    assert [each["offset"] for each in both.json()["chunks"]] == [each["offset"] for each in cells[:62]]
    assert (await file.post("urls", {"chunks": cells, "parts": [1]})).json()["code"] == "invalid"


async def test_a_chunk_of_another_length_is_refused_by_its_signature(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    [signed] = await file.sign((0, CELL))
    headers = signed["put"]["headers"] | {"content-length": "5"}
    answer = await file.http.put(signed["put"]["url"], content=b"short", headers=headers)
    assert answer.status_code == 403
    assert (await file.view())["received"] == []
    assert house.chunks(file) == []


async def test_another_s_chunk_counts_for_nothing(open_file: OpenFile, house: House) -> None:
    file, other = await open_file(PHOTO), await open_file(PHOTO)
    await other.send(*PHOTO_CHUNKS)
    assert (await file.view())["received"] == []
    [signed] = await file.sign(PHOTO_CHUNKS[0])
    stolen = signed["put"]["url"].replace(file.upload_id, other.upload_id)
    assert (await file.http.put(stolen, content=bytes(2 * CELL), headers=signed["put"]["headers"])).status_code == 403
    assert (await file.post("completion")).json()["missing"] == spans((0, len(PHOTO)))
    stranger = await file.http.post(
        f"/v1/uploads/{other.upload_id}/urls",
        json={"chunks": spans((0, CELL))},
        headers=file.bearer,
    )
    assert stranger.json()["code"] == "not_allowed"


async def test_keys_that_we_never_sign_count_for_nothing(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.sign((0, CELL))
    prefix = file.key.partition("/")[2]
    for name in ("00001/0000001-0131072", "00002/0000000-0131072", "00001/0000000-0262144", "x"):
        house.s3.put_object(Bucket=CHUNKS, Key=f"{prefix}/{name}", Body=b"short")
    assert (await file.view())["received"] == []


async def test_a_late_chunk_changes_nothing_of_what_stands(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS)
    [late] = await file.sign((0, CELL))
    await file.post("completion")
    [message] = await house.wanted(file)
    await house.join(file)
    assert await file.put(late["put"], b"?" * CELL) == 200
    [again] = house.assemble(message)
    assert again.outcome == "joined"
    assert (house.stored(file), house.chunks(file)) == (PHOTO, [])
    assert (await file.post("urls", {"chunks": spans((0, CELL))})).json()["code"] == "upload_closed"


async def test_a_file_that_came_whole_and_in_chunks_is_the_whole(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS[:2])
    await file.send((0, CELL), content=bytes(len(PHOTO)))  # even with a chunk that lies
    assert await file.put((await file.post("urls")).json()["put"], PHOTO) == 200
    assert (await file.view())["received"] == spans((0, len(PHOTO)))
    assert (await file.post("completion")).json()["state"] == "stored"
    assert (await house.wanted(file), house.chunks(file)) == ([], [])
    assert house.stored(file) == PHOTO
    assert await house.sweep(file) == "scanning"


async def test_a_whole_that_overtakes_the_joining_wins(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    whole = (await file.post("urls")).json()["put"]
    await file.send(*PHOTO_CHUNKS)
    await file.send((0, CELL), content=bytes(len(PHOTO)))
    await file.post("completion")
    assert await file.put(whole, PHOTO) == 200
    assert await house.join(file) == ["joined"]
    assert await house.state(file) == "stored"
    assert (house.stored(file), house.chunks(file)) == (PHOTO, [])


async def test_parts_that_s3_has_lost_are_sent_anew_and_chunks_are_not(open_file: OpenFile, house: House) -> None:
    file = await open_file(PLAN, kind="plan")
    await file.send_parts(1)
    for part in (2, 3):
        await file.send(*part_chunks(part))
    await file.post("completion")
    [multipart] = house.multiparts(file)
    house.s3.abort_multipart_upload(Bucket=UPLOADS, Key=file.key, UploadId=multipart["UploadId"])
    assert await house.join(file) == ["lost", "lost"]
    view = await file.view()
    assert (view["state"], view["received"]) == ("receiving", spans((PART_SIZE, len(PLAN))))
    assert (await file.post("completion")).json()["missing"] == spans((0, PART_SIZE))
    assert await file.send_parts(1) == [200]
    await file.post("completion")
    assert await house.join(file) == ["joined", "joined"]
    assert house.stored(file) == PLAN


async def test_a_multipart_upload_lost_before_any_part_was_joined_costs_no_byte(
    open_file: OpenFile, house: House
) -> None:
    file = await open_file(PLAN, kind="plan")
    for part in (1, 2, 3):
        await file.send(*part_chunks(part))
    await file.post("completion")
    [multipart] = house.multiparts(file)
    house.s3.abort_multipart_upload(Bucket=UPLOADS, Key=file.key, UploadId=multipart["UploadId"])
    assert await house.join(file) == ["lost"] * 3
    assert await house.sweep(file) == "stored"
    assert set(await house.join(file)) == {"joined"}
    assert house.stored(file) == PLAN


async def test_a_chunk_lost_after_completion_is_asked_for_again(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS)
    await file.post("completion")
    house.s3.delete_object(Bucket=CHUNKS, Key=house.chunks(file)[1])
    assert await house.join(file) == ["incomplete"]
    view = await file.view()
    assert (view["state"], view["received"]) == ("receiving", spans((0, 2 * CELL), (5 * CELL, len(PHOTO))))
    await file.send(PHOTO_CHUNKS[1])
    await file.post("completion")
    assert await house.join(file) == ["joined"]
    assert house.stored(file) == PHOTO


async def test_cancelling_and_expiring_free_the_chunks(open_file: OpenFile, house: House) -> None:
    cancelled, idle, old = [await open_file(PHOTO) for _ in range(3)]
    for file in (cancelled, idle, old):
        await file.send(PHOTO_CHUNKS[0])
    assert (await cancelled.post("cancellation")).json()["state"] == "cancelled"
    assert house.chunks(cancelled) == []
    almost = clock.now() + rules.IDLE_LIFE - timedelta(minutes=1)
    assert await house.sweep(idle, now=almost) == "receiving"
    assert await house.sweep(idle, now=almost + timedelta(minutes=2)) == "expired"
    assert house.chunks(idle) == []
    ages = clock.now() - rules.LIFE + timedelta(minutes=1)
    assert await house.sweep(old, created_at=ages) == "receiving"
    assert await house.sweep(old, created_at=ages - timedelta(minutes=2)) == "expired"
    assert house.chunks(old) == []


async def test_a_byte_or_a_call_keeps_an_upload_alive(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(PHOTO_CHUNKS[0])
    long_ago = clock.now() - rules.IDLE_LIFE - timedelta(days=1)
    assert await house.sweep(file, updated_at=long_ago) == "receiving"  # its chunk is of today
    whole = await open_file(PHOTO)
    await house.admin.execute("update uploads set updated_at = $2 where upload_id = $1", whole.upload_id, long_ago)
    await whole.post("urls")
    assert await house.sweep(whole) == "requested"


async def test_what_is_whole_in_pieces_is_finished_however_old_it_is(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS)
    assert await house.sweep(file, now=clock.now() + rules.LIFE + rules.IDLE_LIFE) == "stored"
    assert await house.join(file) == ["joined"]


def forged(message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return message | {"detail": message["detail"] | changes}


async def test_assemble_touches_only_the_configured_bucket_and_parts_that_there_are(
    open_file: OpenFile, house: House
) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS)
    await file.post("completion")
    [message] = await house.wanted(file)
    place = message["detail"]["object"]
    for lie in (
        forged(message, bucket={"name": "buildpeer-derived"}),
        forged(message, part=2),
        forged(message, part=0),
        forged(message, multipart_id="x"),
        forged(message, object=place | {"key": "live/../" + file.upload_id}),
        message | {"source": "buildpeer.scan"},
    ):
        with pytest.raises(AssertionError):  # it fails its message
            house.assemble(lie)
    [other] = house.assemble(forged(message, object=place | {"key": f"live/{UUID(int=1)}/{uuid4()}"}))
    assert other.outcome == "incomplete"
    await house.tell(other)
    assert len(house.chunks(file)) == 3
    assert house.stored(file) is None


async def test_a_word_about_an_upload_that_is_not_ours_is_dropped(open_file: OpenFile, house: House) -> None:
    file = await open_file(PHOTO)
    await file.send(*PHOTO_CHUNKS)
    await file.post("completion")
    [fact] = house.assemble(*await house.wanted(file))
    for strange in (
        {"key": file.key.replace("live/", "bulk/")},
        {"key": f"live/{file.company.tenant_id}/{new_id()}"},
    ):
        message = type(fact)(bucket=fact.bucket, object=type(fact.object)(size=1, **strange), part=1, outcome="differ")
        await house.tell(message)
    assert await house.state(file) == "stored"


async def test_who_leaves_loses_what_lacks_bytes_and_the_sweeper_finishes_what_is_all_there(
    open_file: OpenFile, house: House, company: Company
) -> None:
    begun, whole, parts = await open_file(PHOTO), await open_file(PHOTO), await open_file(PLAN, kind="plan")
    await begun.send(PHOTO_CHUNKS[0])
    await whole.send(*PHOTO_CHUNKS)
    await parts.send_parts(1)
    for file in (begun, whole, parts):
        await company.dismiss(file.caller)
    for file in (begun, parts):
        assert await house.sweep(file) == "cancelled"
        ended = await house.admin.fetchval("select reason from uploads where upload_id = $1", file.upload_id)
        assert (ended, house.chunks(file), house.multiparts(file)) == ("sender_left", [], [])
    assert await house.sweep(whole) == "stored"
    assert set(await house.join(whole)) == {"joined"}
    assert house.stored(whole) == PHOTO


async def test_the_opening_call_may_bring_the_urls_of_the_first_chunks(http, company) -> None:
    """Fairly: sixteen for a file, fifty for all, none for one that is a single chunk, and `put` as ever."""
    caller = await company.hire()
    sizes = [CELL, 9 * CELL + 7, *[40 * CELL] * 4]
    items = [declare(bytes([n]) * size) for n, size in enumerate(sizes)]
    path, asked = f"/v1/projects/{company.tower}/uploads", {"uploads": items, "chunk_length": 2 * CELL}
    for verdict in ("opened", "known"):
        answer = await http.post(path, json=asked, headers=company.bearer(caller))
        results = answer.json()["results"]
        assert {each["verdict"] for each in results} == {verdict}
        assert [len(each["chunks"]) for each in results] == [0, 5, 16, 16, 13, 0]
        assert all(each["put"] for each in results)
        states = [each["upload"]["state"] for each in results]
        assert states == ["requested", *["receiving"] * 4, "requested"]
    places = [(each["offset"], each["length"]) for each in results[1]["chunks"]]
    assert places == [*((n * 2 * CELL, 2 * CELL) for n in range(4)), (8 * CELL, CELL + 7)]
    for each in results[1]["chunks"]:
        sent = await http.put(each["put"]["url"], content=b"\1" * each["length"], headers=each["put"]["headers"])
        assert sent.status_code == 200
    done = await http.post(f"/v1/uploads/{items[1]['upload_id']}/completion", headers=company.bearer(caller))
    assert done.json()["state"] == "stored"


@pytest.mark.parametrize("length", [0, 1, CELL + 1, 9 * CELL, -CELL, "128 KiB"])
async def test_chunks_asked_for_at_opening_are_on_the_grid_too(http, company, length: Any) -> None:
    body = {"uploads": [declare(bytes(9 * CELL))], "chunk_length": length}
    path = f"/v1/projects/{company.tower}/uploads"
    answer = await http.post(path, json=body, headers=company.bearer(await company.hire()))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
