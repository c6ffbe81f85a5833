"""The bitácora de obra over HTTP, and against whoever would change it."""

import asyncio
import hashlib
import itertools
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.architecture.test_isolation import fill
from tests.modules.reports.conftest import CONTRACT, Book, note

from buildpeer.modules.reports.rules import bitacora as rules
from buildpeer.platform.db import Scope


async def test_a_bitacora_is_opened_written_signed_and_closed(book: Book) -> None:
    early = await book.issue(book.builder, note("request"))
    assert (early.status_code, early.json()["code"]) == (409, "bitacora_not_open")
    assert (await book.issue(book.builder, note("opening"))).status_code == 403  # the residente opens
    opened = (await book.issue(book.resident, note("opening"))).json()
    assert (opened["folio"], opened["contract"]["number"], opened["signing"]) == (1, CONTRACT["number"], "pending")
    assert (opened["awaited"], [s["role"] for s in opened["signatures"]]) == (["superintendente"], ["residente"])
    wrong = await book.sign(book.builder, 1, "00" * 32)
    assert (wrong.status_code, wrong.json()["code"]) == (409, "note_changed")
    signed = [await book.sign(book.builder, 1, opened["hash"]) for _ in range(2)]
    assert signed[0].json() == signed[1].json()
    assert (signed[0].json()["signing"], signed[0].json()["permitted_actions"]) == ("signed", [])
    asked = (await book.issue(book.builder, note("request", cause="Lluvia", attend_by="2026-12-01"))).json()
    assert asked["permitted_actions"] == []  # its author has signed
    waiting = await book.issue(book.resident, note("closing"))
    assert (waiting.status_code, waiting.json()["code"], waiting.json()["folios"]) == (409, "bitacora_unsigned", [2])
    assert (await book.sign(book.resident, 2, asked["hash"])).json()["signing"] == "signed"
    lonely = await book.issue(book.resident, note("correction"))
    assert (lonely.status_code, lonely.json()["code"]) == (422, "invalid")
    corrected = (await book.issue(book.resident, note("correction", refers_to=2))).json()
    await book.sign(book.builder, 3, corrected["hash"])
    assert (await book.issue(book.resident, note("closing"))).json()["folio"] == 4
    for late in (note(), note("opening"), note("closing")):
        refused = await book.issue(book.resident, late)
        assert (refused.status_code, refused.json()["code"]) == (409, "bitacora_closed")
    notes = await book.notes()
    assert [n["previous"] for n in notes] == ["00" * 32, *(n["hash"] for n in notes[:-1])]


async def test_folios_have_no_gap_and_each_note_follows_on_the_one_before_however_many_write(book: Book) -> None:
    await book.issue(book.resident, note("opening"))
    wanted = [note() for _ in range(12)]
    answers = await asyncio.gather(*(book.issue(book.resident, each) for each in [*wanted, *wanted]))
    assert {answer.status_code for answer in answers} == {200}
    notes = await book.notes()
    assert [n["folio"] for n in notes] == list(range(1, 14))
    assert all(after["previous"] == before["hash"] for before, after in itertools.pairwise(notes))
    other = await book.issue(book.resident, wanted[0] | {"text": "otra cosa"})
    assert (other.status_code, other.json()["code"]) == (409, "id_taken")


async def test_nobody_changes_a_note_or_a_signature(book: Book, db, admin: asyncpg.Connection) -> None:
    await book.issue(book.resident, note("opening"))
    owner = await book.company.hire("owner")
    for statement in (
        "update bitacora_notes set content = content",
        "delete from bitacora_notes",
        "update bitacora_signatures set signed_at = now()",
        "delete from bitacora_signatures",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with db.transaction(Scope(owner.tenant_id, owner.person_id)) as tx:
                await tx.run(statement)
        with pytest.raises(asyncpg.RestrictViolationError):  # not even the database's administrator
            await admin.execute(f"{statement} where tenant_id = $1", owner.tenant_id)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await admin.execute(
            """insert into bitacora_notes select tenant_id, bitacora_id, 7, gen_random_uuid(), project_id, 'order',
            author_id, now(), null, '', content, hash, hash from bitacora_notes where tenant_id = $1""",
            owner.tenant_id,
        )


async def test_the_hash_is_that_of_the_content_and_the_trail_has_it(book: Book, admin, worker_db) -> None:
    photo = await fill(admin, worker_db, book.company, book.company.tower, book.resident.person_id, content="losa")
    await book.issue(book.resident, note("opening"))
    issued = (await book.issue(book.resident, note(attachments=[str(photo)]))).json()
    assert issued["attachments"][0]["sha256"] == hashlib.sha256(b"losa").hexdigest()
    content = await admin.fetchval(
        "select content from bitacora_notes where bitacora_id = $1 and folio = 2", UUID(issued["bitacora_id"])
    )
    assert hashlib.sha256(content.encode()).hexdigest() == issued["hash"]
    assert rules.canonical(rules.read(content)) == content
    kept = await admin.fetchval(
        """select changes ->> 'hash' from audit.entries where tenant_id = $1 and object_type = 'bitacora_notes'
        and action = 'insert' and object_id like '%/2'""",
        book.company.tenant_id,
    )
    assert kept == f"\\x{issued['hash']}"


async def test_parties_are_one_in_each_role_and_work_on_the_project(book: Book) -> None:
    investor = await book.company.hire("inversionista")
    outside = await book.company.hire("residente", book.company.school)
    for person in (investor, outside):
        assert (await book.name("supervisor", person)).status_code == 422
    taken = await book.name("supervisor", book.builder)
    assert (taken.status_code, taken.json()["code"]) == (409, "party_taken")
    assert (await book.name("boss", book.builder)).status_code == 422
    assert (await book.name("supervisor", investor, by=book.builder)).status_code == 403
    await book.issue(book.resident, note("opening"))
    heir = await book.company.hire()
    named = (await book.name("superintendente", heir)).json()
    assert [(p["role"], p["person_id"]) for p in named["parties"]] == [
        ("residente", str(book.resident.person_id)),
        ("superintendente", str(heir.person_id)),
    ]
    opened = (await book.notes())[0]
    gone = await book.sign(book.builder, 1, opened["hash"])
    assert (gone.status_code, gone.json()["code"]) == (403, "not_a_party")
    assert (await book.sign(heir, 1, opened["hash"])).json()["signing"] == "signed"


async def test_a_bitacora_is_for_its_parties_and_those_who_answer_for_the_site(book: Book) -> None:
    await book.issue(book.resident, note("opening"))
    expected = {"owner": 200, "residente": 200, "empleado_obra": 404, "inversionista": 404}
    for role, status in expected.items():
        who = await book.company.hire(role)
        for path in (book.path, f"{book.path}/notes", f"{book.path}/notes/1"):
            assert (await book.send("GET", path, who)).status_code == status, (role, path)
    assert (await book.send("GET", f"{book.path}/notes/1", book.builder)).status_code == 200
    not_party = await book.issue(await book.company.hire("owner"), note())
    assert (not_party.status_code, not_party.json()["code"]) == (403, "not_a_party")


def test_a_chain_tells_what_was_changed_moved_or_left_out() -> None:
    def said(folio: int, previous: str, text: str = "a") -> str:
        party = {"role": "residente", "person_id": str(UUID(int=1)), "name": "Ana"}
        whole = dict.fromkeys(rules.Said.__struct_encode_fields__) | {
            "v": 1,
            **dict.fromkeys(("tenant_id", "project_id", "bitacora_id", "note_id"), str(UUID(int=folio))),
            "folio": folio,
            "class": "opening" if folio == 1 else "order",
            **{"issued_at": "2026-11-23T10:00:00.000000Z", "dated": "2026-11-23", "timezone": "America/Mexico_City"},
            **{"author": party, "parties": [party], "sign_by": "2026-11-26", "subject": "s", "text": text},
            **{"attachments": [], "previous": previous},
        }
        return msgspec.json.encode(whole).decode()

    def hashed(content: str) -> tuple[str, str]:
        return content, rules.note_hash(content).hex()

    first = hashed(said(1, "00" * 32))
    second = hashed(said(2, first[1]))
    third = hashed(said(3, second[1]))
    signature = rules.Signature(
        2, "residente", UUID(int=1), "Ana", msgspec.json.decode('"2026-11-23T10:00:00Z"', type=Any), second[1]
    )
    assert rules.chain_problems([first, second, third], []) == []
    assert rules.chain_problems([first, (said(2, first[1], "b"), second[1]), third], []) == [
        "note 2 was changed: its hash is another"
    ]
    assert len(rules.chain_problems([first, hashed(said(2, first[1], "b")), third], [signature])) == 2
    assert rules.chain_problems([first, third], []) != []
    assert rules.chain_problems([second, first], []) != []
    assert rules.chain_problems([("{}", "")], []) == ["note 1 can't be read"]
