"""SQL of the bitácora: one function, one statement. Notes and signatures are inserted and read, and nothing else."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.reports.rules.bitacora import Bitacora, Class, Contract, NewNote, Party, Role, Said, Signature
from buildpeer.platform.db import Transaction, record, records


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A note as it was issued: its canonical content, and its hash."""

    folio: int
    note_id: UUID
    author_id: UUID
    digest: bytes
    content: str
    hash: bytes


_BITACORA = """
select b.bitacora_id, b.project_id, b.title, b.contract, b.signing_days, b.created_by, b.created_at,
  coalesce(n.folio, 0) as folio, n.class as last_class, coalesce(n.hash, decode(repeat('00', 32), 'hex')) as last_hash
from bitacoras b left join lateral (select l.folio, l.class, l.hash from bitacora_notes l
  where l.tenant_id = b.tenant_id and l.bitacora_id = b.bitacora_id order by l.folio desc limit 1) n on true
"""
_NOTE = "folio, note_id, author_id, digest, content, hash"
_SIGNATURE = "folio, role, person_id, person_name as name, signed_at, encode(note_hash, 'hex') as note_hash"
BITACORA = f"{_BITACORA} where b.tenant_id = $1 and b.bitacora_id = $2"
BITACORAS = f"{_BITACORA} where b.tenant_id = $1 and b.project_id = $2 order by b.bitacora_id"
MAKE = """
insert into bitacoras (tenant_id, bitacora_id, project_id, title, contract, signing_days, created_by)
values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning true
"""
# Whoever issues a note, or names a party, waits for whoever does so in the same bitácora.
QUEUE = "select pg_advisory_xact_lock(hashtextextended('bitacora/' || $1::uuid::text, 0))"
PARTIES = """
select p.role, p.person_id, o.name from bitacora_parties p join people o on o.person_id = p.person_id
where p.tenant_id = $1 and p.bitacora_id = $2 and p.until is null
"""
END_PARTY = """
update bitacora_parties set until = $4 where tenant_id = $1 and bitacora_id = $2 and role = $3 and until is null
"""
NAME_PARTY = """
insert into bitacora_parties (tenant_id, bitacora_id, project_id, role, person_id, named_by, since)
values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning true
"""
ISSUE = """
insert into bitacora_notes (tenant_id, bitacora_id, folio, note_id, project_id, class, author_id, issued_at, refers_to,
  digest, content, previous_hash, hash)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
NOTE = f"select {_NOTE} from bitacora_notes where tenant_id = $1 and bitacora_id = $2 and folio = $3"  # noqa: S608
NOTE_BY_ID = f"""
select {_NOTE} from bitacora_notes where tenant_id = $1 and bitacora_id = $2 and note_id = $3
"""  # noqa: S608
TAKEN = "select exists (select from bitacora_notes where tenant_id = $1 and note_id = $2)"
NOTES = f"""
select {_NOTE} from bitacora_notes where tenant_id = $1 and bitacora_id = $2 and folio > $3
  and ($4::text is null or class = $4) order by folio limit $5
"""  # noqa: S608
# Of each note the roles that it waits for: those of its parties without a signature.
UNSIGNED = """
select n.folio, n.content from bitacora_notes n where n.tenant_id = $1 and n.bitacora_id = $2
  and (select count(*) from bitacora_signatures s
    where s.tenant_id = n.tenant_id and s.bitacora_id = n.bitacora_id and s.folio = n.folio)
    < jsonb_array_length(n.content::jsonb -> 'parties')
order by n.folio
"""
SIGN = """
insert into bitacora_signatures (tenant_id, bitacora_id, folio, role, project_id, person_id, person_name, signed_at,
  note_hash)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing returning true
"""
SIGNATURES = f"""
select {_SIGNATURE} from bitacora_signatures where tenant_id = $1 and bitacora_id = $2 and folio = any ($3)
order by folio, signed_at, role
"""  # noqa: S608


async def bitacora(tx: Transaction, bitacora_id: UUID) -> Bitacora | None:
    """A bitácora that the caller may see."""
    row = await tx.one(BITACORA, tx.tenant_id, bitacora_id)
    return None if row is None else record(row, Bitacora)


async def bitacoras(tx: Transaction, project_id: UUID) -> list[Bitacora]:
    """Those of a project that the caller may see, the oldest first."""
    return records(await tx.all(BITACORAS, tx.tenant_id, project_id), Bitacora)


async def make(
    tx: Transaction, bitacora_id: UUID, project_id: UUID, *, title: str, contract: Contract, signing_days: int
) -> bool:
    """Make one in the caller's name; False if there is one by this id."""
    told = msgspec.to_builtins(contract)
    row = (tx.tenant_id, bitacora_id, project_id, title, told, signing_days, tx.person_id)
    return bool(await tx.value(MAKE, *row))


async def queue(tx: Transaction, bitacora_id: UUID) -> None:
    """Wait for one's turn in this bitácora, which lasts until the transaction ends."""
    await tx.run(QUEUE, bitacora_id)


async def parties(tx: Transaction, bitacora_id: UUID) -> list[Party]:
    """Who acts as what now."""
    return records(await tx.all(PARTIES, tx.tenant_id, bitacora_id), Party)


async def end_party(tx: Transaction, bitacora_id: UUID, role: Role, *, now: datetime) -> None:
    """Whoever acts in a role does so no more."""
    await tx.run(END_PARTY, tx.tenant_id, bitacora_id, role, now)


async def name_party(tx: Transaction, bitacora: Bitacora, role: Role, person_id: UUID, *, now: datetime) -> bool:
    """Somebody acts in a role from now on; False if they do already, in any."""
    row = (tx.tenant_id, bitacora.bitacora_id, bitacora.project_id, role, person_id, tx.person_id, now)
    return bool(await tx.value(NAME_PARTY, *row))


async def issue(
    tx: Transaction, said: Said, note: NewNote, *, digest: bytes, content: str, hash_: bytes, now: datetime
) -> None:
    """Insert the next note."""
    await tx.run(
        ISSUE,
        tx.tenant_id,
        said.bitacora_id,
        said.folio,
        said.note_id,
        said.project_id,
        said.note_class,
        tx.person_id,
        now,
        note.refers_to,
        digest,
        content,
        bytes.fromhex(said.previous),
        hash_,
    )


async def note(tx: Transaction, bitacora_id: UUID, folio: int) -> Note | None:
    """A note by its folio."""
    row = await tx.one(NOTE, tx.tenant_id, bitacora_id, folio)
    return None if row is None else record(row, Note)


async def note_by_id(tx: Transaction, bitacora_id: UUID, note_id: UUID) -> Note | None:
    """A note of a bitácora by the client's id."""
    row = await tx.one(NOTE_BY_ID, tx.tenant_id, bitacora_id, note_id)
    return None if row is None else record(row, Note)


async def is_taken(tx: Transaction, note_id: UUID) -> bool:
    """Whether a note that the caller may see has this id."""
    return await tx.value(TAKEN, tx.tenant_id, note_id)


async def notes(tx: Transaction, bitacora_id: UUID, *, after: int, note_class: Class | None, limit: int) -> list[Note]:
    """Notes by folio, after one."""
    return records(await tx.all(NOTES, tx.tenant_id, bitacora_id, after, note_class, limit), Note)


async def unsigned(tx: Transaction, bitacora_id: UUID) -> list[tuple[int, str]]:
    """Folio and content of notes that somebody hasn't signed."""
    return [(row["folio"], row["content"]) for row in await tx.all(UNSIGNED, tx.tenant_id, bitacora_id)]


async def sign(tx: Transaction, said: Said, party: Party, *, hash_: bytes, now: datetime) -> bool:
    """Put the caller's signature under a note; False if their role has signed."""
    return bool(
        await tx.value(
            SIGN,
            tx.tenant_id,
            said.bitacora_id,
            said.folio,
            party.role,
            said.project_id,
            party.person_id,
            party.name,
            now,
            hash_,
        )
    )


async def signatures(tx: Transaction, bitacora_id: UUID, folios: Sequence[int]) -> dict[int, list[Signature]]:
    """The signatures of notes."""
    found: dict[int, list[Signature]] = {}
    for signature in records(await tx.all(SIGNATURES, tx.tenant_id, bitacora_id, list(folios)), Signature):
        found.setdefault(signature.folio, []).append(signature)
    return found
