"""Doors for the bitácora de obra. Only people issue notes and sign them, never a machine."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Controller, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.jobs.facade import JobStarted
from buildpeer.modules.reports.http.daily_logs import Export
from buildpeer.modules.reports.rules.bitacora import (
    Attached,
    BitacoraAction,
    Class,
    Contract,
    NewNote,
    Party,
    Role,
    Signature,
    Signing,
    Status,
)
from buildpeer.modules.reports.service import bitacora as service
from buildpeer.modules.reports.service import exporting
from buildpeer.modules.reports.service.bitacora import Issued, Kept, NewBitacora
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    page,
    read_cursor,
    used_with,
)

_READ = used_with("daily_logs")
ClassFilter = Annotated[Class | None, QueryParameter(name="class", required=False, description="Only notes of it")]


class BitacoraView(msgspec.Struct, kw_only=True):
    """A bitácora; `last_folio` is how many notes it has."""

    bitacora_id: UUID
    project_id: UUID
    title: str
    contract: Contract
    signing_days: int
    status: Status
    parties: list[Party]
    last_folio: int
    created_by: UUID
    created_at: datetime
    permitted_actions: list[BitacoraAction]


class NoteView(msgspec.Struct, kw_only=True):
    """A note. `hash` is what its parties sign: the SHA-256 of its canonical content (docs/guides/bitacora.md).

    `signing`: `signed` by all of its `parties`; `pending` until the end of `sign_by` at the site, `overdue` after that;
    `awaited` are the roles that haven't signed.
    """

    bitacora_id: UUID
    project_id: UUID
    folio: int
    note_id: UUID
    note_class: Class = msgspec.field(name="class")
    issued_at: str
    dated: date
    timezone: str
    author: Party
    parties: list[Party]
    subject: str
    text: str
    place: str | None
    cause: str | None
    solution: str | None
    prevention: str | None
    economic_consequence: str | None
    responsibility: str | None
    attend_by: date | None
    refers_to: int | None
    attachments: list[Attached]
    contract: Contract | None
    previous: str
    hash: str
    sign_by: date
    signing: Signing
    awaited: list[Role]
    signatures: list[Signature]
    permitted_actions: list[Literal["sign"]]


class Bitacoras(msgspec.Struct):
    """A project's bitácoras."""

    items: list[BitacoraView]


class Named(msgspec.Struct):
    """Who acts in the role."""

    person_id: UUID


class Signed(msgspec.Struct):
    """The `hash` of the note as its signer has read it."""

    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]


class BitacorasController(Controller):
    """Bitácoras. Machines may read them; to write and to sign takes a person."""

    path = "/v1"
    tags = ("bitácora",)

    @get("/projects/{project_id:uuid}/bitacoras", summary="List bitácoras", opt=_READ)
    async def list_bitacoras(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> Bitacoras:
        """Those of a project; one is for its parties, and for those who answer for the site."""
        found = await service.list_bitacoras(db, caller=caller, project_id=project_id)
        return Bitacoras([_view(each) for each in found])

    @get("/bitacoras/{bitacora_id:uuid}", summary="One bitácora", opt=_READ)
    async def get_bitacora(self, bitacora_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> BitacoraView:
        """Its contract, its parties, and how far it is."""
        return _view(await service.get_bitacora(db, caller=caller, bitacora_id=bitacora_id))

    @get("/bitacoras/{bitacora_id:uuid}/notes", summary="List notes", opt=_READ)
    async def list_notes(
        self,
        *,
        bitacora_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        note_class: ClassFilter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[NoteView]:
        """By folio."""
        found = await service.list_notes(
            db,
            caller=caller,
            bitacora_id=bitacora_id,
            note_class=note_class,
            after=after[0] if (after := read_cursor(cursor, tuple[int])) else 0,
            limit=limit + 1,
            now=now,
        )
        cut = page(found, limit, lambda issued: [issued.said.folio])
        return Page([_note(each) for each in cut.items], cut.next_cursor)

    @get("/bitacoras/{bitacora_id:uuid}/notes/{folio:int}", summary="One note", opt=_READ)
    async def get_note(
        self, bitacora_id: FromPath[UUID], folio: FromPath[int], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> NoteView:
        """A note, who has signed it, and who is still to."""
        return _note(await service.get_note(db, caller=caller, bitacora_id=bitacora_id, folio=folio, now=now))

    @post("/projects/{project_id:uuid}/bitacoras", summary="Make a bitácora", status_code=200)
    async def make_bitacora(
        self, project_id: FromPath[UUID], data: JSONBody[NewBitacora], caller: CallerDep, db: DatabaseDep
    ) -> BitacoraView:
        """A new one for the project; by the same id and content again, the same."""
        return _view(await service.make_bitacora(db, caller=caller, project_id=project_id, wanted=data))

    @put("/bitacoras/{bitacora_id:uuid}/parties/{role:str}", summary="Name a party")
    async def name_party(
        self,
        *,
        bitacora_id: FromPath[UUID],
        role: FromPath[Role],
        data: JSONBody[Named],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> BitacoraView:
        """Who acts as residente, superintendente or supervisor from now on, in place of whoever did."""
        return _view(
            await service.name_party(
                db, caller=caller, bitacora_id=bitacora_id, role=role, person_id=data.person_id, now=now
            )
        )

    @post("/bitacoras/{bitacora_id:uuid}/notes", summary="Issue a note", status_code=200)
    async def issue_note(
        self, bitacora_id: FromPath[UUID], data: JSONBody[NewNote], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> NoteView:
        """The next folio, signed by its author; from now on nobody changes it. Each of its parties is to sign it."""
        return _note(await service.issue_note(db, caller=caller, bitacora_id=bitacora_id, note=data, now=now))

    @post("/bitacoras/{bitacora_id:uuid}/notes/{folio:int}/signature", summary="Sign a note", status_code=200)
    async def sign_note(
        self,
        *,
        bitacora_id: FromPath[UUID],
        folio: FromPath[int],
        data: JSONBody[Signed],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> NoteView:
        """Sign what one has read, for the role in which one acts; also after `sign_by`."""
        return _note(
            await service.sign_note(
                db, caller=caller, bitacora_id=bitacora_id, folio=folio, read_hash=data.hash, now=now
            )
        )

    @post(
        "/bitacoras/{bitacora_id:uuid}/exports",
        summary="A bitácora as a PDF",
        opt=used_with("daily_logs", write="read"),
    )
    async def export(
        self,
        bitacora_id: FromPath[UUID],
        data: JSONBody[Export],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> JobStarted:
        """Order it on paper, with its notes, signatures and hashes, and the signed bundle attached, which
        `buildpeer bitacora verify` checks; `GET /v1/jobs/{job_id}` has the file.
        """
        return await exporting.order_bitacora(
            db, caller=caller, bitacora_id=bitacora_id, job_id=data.job_id, language=language
        )


def _view(kept: Kept) -> BitacoraView:
    bitacora = kept.bitacora
    return BitacoraView(
        bitacora_id=bitacora.bitacora_id,
        project_id=bitacora.project_id,
        title=bitacora.title,
        contract=bitacora.contract,
        signing_days=bitacora.signing_days,
        status=kept.status,
        parties=kept.parties,
        last_folio=bitacora.folio,
        created_by=bitacora.created_by,
        created_at=bitacora.created_at,
        permitted_actions=kept.permitted_actions,
    )


def _note(issued: Issued) -> NoteView:
    said = {name: getattr(issued.said, name) for name in NoteView.__struct_fields__ if hasattr(issued.said, name)}
    return NoteView(
        **said,
        hash=issued.hash,
        signing=issued.signing,
        awaited=issued.awaited,
        signatures=issued.signatures,
        permitted_actions=["sign"] if issued.can_sign else [],
    )
