"""The bitácora de obra: made, its parties named, notes issued and signed. Nobody changes a note, whoever they are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.reports import events
from buildpeer.modules.reports.rules import bitacora as rules
from buildpeer.modules.reports.rules.bitacora import (
    Attached,
    Bitacora,
    BitacoraAction,
    Class,
    Contract,
    NewNote,
    Party,
    Role,
    Said,
    Signature,
    Signing,
    Status,
)
from buildpeer.modules.reports.store import bitacora as store
from buildpeer.modules.reports.store.bitacora import Note
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7
from buildpeer.platform.messaging import Outgoing


class NewBitacora(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bitácora to make; `bitacora_id` is a UUIDv7 made by the client, `signing_days` within how many days, counted
    from the day after a note's, its parties are to sign it.
    """

    bitacora_id: UUID
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    contract: Contract
    signing_days: Annotated[int, msgspec.Meta(ge=1, le=30)] = 5


class Kept(msgspec.Struct, frozen=True):
    """A bitácora as somebody sees it."""

    bitacora: Bitacora
    status: Status
    parties: list[Party]
    permitted_actions: list[BitacoraAction]


class Issued(msgspec.Struct, frozen=True):
    """A note as somebody sees it; `can_sign`: it waits for the caller's signature."""

    said: Said
    hash: str
    signatures: list[Signature]
    awaited: list[Role]
    signing: Signing
    can_sign: bool


async def make_bitacora(db: Database, *, caller: Caller, project_id: UUID, wanted: NewBitacora) -> Kept:
    """Make a bitácora; the same one again is that. Raises Problem not_found, not_allowed, id_invalid, id_taken."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "daily_logs", "admin")
        if not is_uuid7(wanted.bitacora_id):
            raise Problem("id_invalid")
        told = {"title": wanted.title, "contract": wanted.contract, "signing_days": wanted.signing_days}
        fresh = await store.make(
            tx,
            wanted.bitacora_id,
            project_id,
            title=wanted.title,
            contract=wanted.contract,
            signing_days=wanted.signing_days,
        )
        made = await store.bitacora(tx, wanted.bitacora_id)
        if made is None or (not fresh and not _is_same(made, project_id, caller.person_id, told)):
            raise Problem("id_taken")
        return await _look(tx, made)


async def list_bitacoras(db: Database, *, caller: Caller, project_id: UUID) -> list[Kept]:
    """A project's bitácoras that the caller may see. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        identity.permit(tx, "daily_logs", "read")
        return [await _look(tx, each) for each in await store.bitacoras(tx, project_id)]


async def get_bitacora(db: Database, *, caller: Caller, bitacora_id: UUID) -> Kept:
    """A bitácora. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        return await _look(tx, await find(tx, bitacora_id))


async def name_party(
    db: Database, *, caller: Caller, bitacora_id: UUID, role: Role, person_id: UUID, now: datetime
) -> Kept:
    """Say who acts in a role from now on, in place of whoever did; they work on the project, and in one role only.

    Raises Problem not_found, not_allowed, bitacora_closed, party_taken, or invalid for somebody who isn't there.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, bitacora_id)
        identity.permit(tx, "daily_logs", "admin")
        await store.queue(tx, bitacora_id)
        bitacora = await find(tx, bitacora_id)
        if rules.status(bitacora) == "closed":
            raise Problem("bitacora_closed")
        if not await projects.may_send(tx, bitacora.project_id, person_id):
            raise Problem("invalid", "person_id must be of somebody who works on the project")
        acting = {party.person_id: party.role for party in await store.parties(tx, bitacora_id)}
        if acting.get(person_id, role) != role:
            raise Problem("party_taken", role=acting[person_id])
        if person_id not in acting:
            await store.end_party(tx, bitacora_id, role, now=now)
            await store.name_party(tx, bitacora, role, person_id, now=now)
        return await _look(tx, bitacora)


async def issue_note(db: Database, *, caller: Caller, bitacora_id: UUID, note: NewNote, now: datetime) -> Issued:
    """Issue the next note, signed by its author in the same moment. The same one again is that.

    Whoever issues one waits for whoever does so already, so that folios have no gap, and each note names the hash of
    the one before it. Raises Problem not_found, not_a_party, id_invalid, id_taken, reference_unknown, and what
    `rules.check_next` does.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, bitacora_id)
        if not is_uuid7(note.note_id):
            raise Problem("id_invalid")
        await store.queue(tx, bitacora_id)
        bitacora = await find(tx, bitacora_id)
        digest = rules.digest(note)
        if known := await store.note_by_id(tx, bitacora_id, note.note_id):
            if (known.digest, known.author_id) != (digest, caller.person_id):
                raise Problem("id_taken")
            return (await _read(tx, bitacora_id, [known], now=now))[0]
        if await store.is_taken(tx, note.note_id):
            raise Problem("id_taken")
        parties = await store.parties(tx, bitacora_id)
        author = _party(parties, caller.person_id)
        unsigned = await _unsigned(tx, bitacora_id, now=now) if note.note_class == "closing" else []
        rules.check_next(bitacora, note, author.role, parties, unsigned)
        project = await projects.find_project(tx, bitacora.project_id)
        said = rules.said(
            bitacora,
            note,
            tenant_id=caller.tenant_id,
            author=author,
            parties=parties,
            attachments=await _attached(tx, bitacora.project_id, note.attachments),
            zone=project.timezone,
            now=now,
        )
        content = rules.canonical(said)
        hash_ = rules.note_hash(content)
        await store.issue(tx, said, note, digest=digest, content=content, hash_=hash_, now=now)
        await store.sign(tx, said, author, hash_=hash_, now=now)
        await tx.announce([_news("bitacora.note_issued", said, [p.person_id for p in parties if p != author])])
        issued = await store.note(tx, bitacora_id, said.folio)
        assert issued is not None  # noqa: S101 - it was inserted above
        return (await _read(tx, bitacora_id, [issued], now=now))[0]


async def list_notes(
    db: Database,
    *,
    caller: Caller,
    bitacora_id: UUID,
    note_class: Class | None,
    after: int,
    limit: int,
    now: datetime,
) -> list[Issued]:
    """Notes by folio, after one. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, bitacora_id)
        found = await store.notes(tx, bitacora_id, after=after, note_class=note_class, limit=limit)
        return await _read(tx, bitacora_id, found, now=now)


async def get_note(db: Database, *, caller: Caller, bitacora_id: UUID, folio: int, now: datetime) -> Issued:
    """A note. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, bitacora_id)
        return (await _read(tx, bitacora_id, [await _find_note(tx, bitacora_id, folio)], now=now))[0]


async def sign_note(
    db: Database, *, caller: Caller, bitacora_id: UUID, folio: int, read_hash: str, now: datetime
) -> Issued:
    """Sign a note for the role in which the caller acts, by the hash of what they have read. Again changes nothing.

    Raises Problem not_found, not_a_party, or note_changed where the hash is not the note's.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, bitacora_id)
        note = await _find_note(tx, bitacora_id, folio)
        party = _party(await store.parties(tx, bitacora_id), caller.person_id)
        said = rules.read(note.content)
        if party.role not in {each.role for each in said.parties}:
            raise Problem("not_a_party")
        if read_hash.lower() != note.hash.hex():
            raise Problem("note_changed")
        if await store.sign(tx, said, party, hash_=note.hash, now=now):
            await tx.announce([_news("bitacora.note_signed", said, [said.author.person_id])])
        return (await _read(tx, bitacora_id, [note], now=now))[0]


async def find(tx: Transaction, bitacora_id: UUID) -> Bitacora:
    """A bitácora that the caller may see. Raises Problem not_found."""
    found = await store.bitacora(tx, bitacora_id)
    if found is None:
        raise Problem("not_found")
    identity.permit(tx, "daily_logs", "read")
    return found


async def _look(tx: Transaction, bitacora: Bitacora) -> Kept:
    parties = await store.parties(tx, bitacora.bitacora_id)
    own: Role | None = next((party.role for party in parties if party.person_id == tx.person_id), None)
    leads = identity.level(tx, "daily_logs") == "admin"
    ordered = sorted(parties, key=lambda party: rules.ROLES.index(party.role))
    return Kept(bitacora, rules.status(bitacora), ordered, rules.bitacora_actions(bitacora, own, leads=leads))


async def _read(tx: Transaction, bitacora_id: UUID, notes: Sequence[Note], *, now: datetime) -> list[Issued]:
    signatures = await store.signatures(tx, bitacora_id, [note.folio for note in notes])
    own = {party.role for party in await store.parties(tx, bitacora_id) if party.person_id == tx.person_id}

    def issued(note: Note) -> Issued:
        said, signed = rules.read(note.content), signatures.get(note.folio, [])
        roles: set[Role] = {signature.role for signature in signed}
        waiting = rules.awaited(said, roles)
        signing = rules.signing(said, roles, now=now)
        return Issued(said, note.hash.hex(), signed, waiting, signing, bool(own & set(waiting)))

    return [issued(note) for note in notes]


async def _find_note(tx: Transaction, bitacora_id: UUID, folio: int) -> Note:
    note = await store.note(tx, bitacora_id, folio)
    if note is None:
        raise Problem("not_found")
    return note


async def _unsigned(tx: Transaction, bitacora_id: UUID, *, now: datetime) -> list[int]:
    found = await store.unsigned(tx, bitacora_id)
    return [folio for folio, content in found if rules.signing(rules.read(content), set(), now=now) == "pending"]


async def _attached(tx: Transaction, project_id: UUID, document_ids: Sequence[UUID]) -> list[Attached]:
    await documents.check_attachable(tx, project_id, document_ids)
    found = {d.document_id: d for d in await documents.described(tx, document_ids)}
    return [Attached(i, found[i].name, found[i].sha256.hex()) for i in document_ids]


def _party(parties: Sequence[Party], person_id: UUID) -> Party:
    """Who the caller is among the parties. Raises Problem not_a_party."""
    for party in parties:
        if party.person_id == person_id:
            return party
    raise Problem("not_a_party")


def _is_same(made: Bitacora, project_id: UUID, person_id: UUID, told: Mapping[str, object]) -> bool:
    same = {name: getattr(made, name) for name in told} == told
    return same and (made.project_id, made.created_by) == (project_id, person_id)


def _news(event: events.NoteEvent, said: Said, people: Sequence[UUID]) -> Outgoing:
    return events.note(event, events.NoteNews(said.bitacora_id, said.project_id, said.folio), people)
