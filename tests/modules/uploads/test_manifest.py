import time
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import Company, declare
from tests.modules.uploads.arriving import arrive, digest, open_files, put, tell

from buildpeer.platform.auth import Caller
from buildpeer.platform.ids import new_id


async def judged(http: Any, company: Company, caller: Caller, *files: tuple[str, str]) -> Any:
    body = {"files": [{"upload_id": upload_id, "sha256": sha256} for upload_id, sha256 in files]}
    return (await http.post("/v1/manifests", json=body, headers=company.bearer(caller))).json()


async def test_safe_is_only_what_was_hashed_by_us_and_is_what_the_phone_has(http, worker_db, company) -> None:
    caller, photo = await company.hire(), b"\xff\xd8\xff " + uuid4().bytes
    ready = await arrive(http, worker_db, company, caller, photo)
    [duplicate] = await open_files(http, company, caller, declare(photo))
    assert duplicate["verdict"] == "duplicate"
    others = [declare(photo + bytes([i])) for i in range(3)]
    _awaited, scanning, cancelled = await open_files(http, company, caller, *others)
    await tell(worker_db, company, scanning["upload"], await put(http, scanning, photo + b"\x01"), "created")
    await http.post(f"/v1/uploads/{cancelled['upload_id']}/cancellation", headers=company.bearer(caller))
    unknown = str(new_id())
    answer = await judged(
        http,
        company,
        caller,
        (ready["upload_id"], digest(photo)),
        (ready["upload_id"], digest(b"edited since")),
        (duplicate["upload_id"], digest(photo)),
        *((item["upload_id"], item["sha256"]) for item in others),
        (unknown, digest(photo)),
    )
    assert [(file["verdict"], file["state"]) for file in answer["files"]] == [
        ("safe", "ready"),
        ("different", "ready"),
        ("safe", "duplicate"),
        ("arriving", "requested"),
        ("processing", "scanning"),
        ("missing", "cancelled"),
        ("missing", None),
    ]
    assert (answer["safe"], answer["total"]) == (2, 7)
    assert answer["files"][0]["upload_id"] == ready["upload_id"]


async def test_what_was_erased_is_safe_no_more(http, worker_db, company) -> None:
    caller, photo = await company.hire(), uuid4().bytes
    ready = await arrive(http, worker_db, company, caller, photo)
    await http.delete(f"/v1/documents/{ready['upload_id']}", headers=company.bearer(caller))
    answer = await judged(http, company, caller, (ready["upload_id"], digest(photo)))
    assert answer["files"] == [{"upload_id": ready["upload_id"], "verdict": "missing", "state": "ready"}]


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("quarantined", "refused"), ("unscannable", "refused"), ("failed", "refused"), ("mismatched", "different"),
     ("expired", "missing"), ("stored", "processing"), ("deriving", "processing"), ("receiving", "arriving")],
)  # fmt: skip
async def test_every_state_has_its_verdict(http, company, admin, state: str, verdict: str) -> None:
    caller, item = await company.hire(), declare(b"x")
    await open_files(http, company, caller, item)
    await admin.execute("update uploads set state = $2 where upload_id = $1", item["upload_id"], state)
    answer = await judged(http, company, caller, (item["upload_id"], item["sha256"]))
    assert [(file["verdict"], file["state"]) for file in answer["files"]] == [(verdict, state)]


async def test_the_files_of_others_are_as_missing_as_those_of_nobody(http, worker_db, company) -> None:
    owner, colleague = await company.hire(), await company.hire("manager")
    photo = uuid4().bytes
    ready = await arrive(http, worker_db, company, owner, photo)
    theirs = await judged(http, company, colleague, (ready["upload_id"], digest(photo)))
    nobodys = await judged(http, company, colleague, (str(new_id()), digest(photo)))
    assert theirs["files"][0] | {"upload_id": ""} == nobodys["files"][0] | {"upload_id": ""}
    assert theirs["files"][0]["verdict"] == "missing"


async def test_two_thousand_files_are_judged_in_one_call_and_no_more(http, company) -> None:
    caller = await company.hire()
    items = [declare(b"x") for _ in range(2000)]
    for start in (0, 1000):
        await open_files(http, company, caller, *items[start : start + 1000])
    files = [(item["upload_id"], item["sha256"]) for item in items]
    began = time.monotonic()
    answer = await judged(http, company, caller, *files)
    print(f"2,000 judged in {time.monotonic() - began:.2f} s")
    assert [file["upload_id"] for file in answer["files"]] == [item["upload_id"] for item in items]
    assert {file["verdict"] for file in answer["files"]} == {"arriving"}
    assert (await judged(http, company, caller, *files, files[0]))["code"] == "batch_too_large"
    assert (await judged(http, company, caller))["code"] == "batch_empty"
    assert (await judged(http, company, caller, (files[0][0], "no hash")))["code"] == "invalid"
