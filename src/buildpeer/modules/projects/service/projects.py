"""Projects themselves: what they are, what they may cost, what they look like."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID, uuid4

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import rules, store
from buildpeer.modules.projects.rules import Country, Phase
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

Code = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Zone = Annotated[str, msgspec.Meta(max_length=64)]
Client = Annotated[str, msgspec.Meta(max_length=200)]
Address = Annotated[str, msgspec.Meta(max_length=500)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Weekday = Annotated[int, msgspec.Meta(ge=1, le=7)]
Sort = Literal["name", "code"]
_MOST_AMOUNT = Decimal(10) ** 16


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project; `timezone` is an IANA name, `currency` an ISO 4217 code, `country` the one whose public holidays are
    kept, `rest_weekdays` are by ISO 8601 (1 is Monday). `cover_document_id` is a photo for whoever may see files.
    """

    project_id: UUID
    code: str
    name: str
    timezone: str
    client: str
    address: str
    latitude: float | None
    longitude: float | None
    currency: str
    country: Country | None
    phase: Phase
    starts_on: date | None
    ends_on: date | None
    rest_weekdays: list[int]
    cover_document_id: UUID | None
    archived_at: datetime | None
    created_at: datetime
    version: int


class NewProject(msgspec.Struct, frozen=True, kw_only=True):
    """A project to make; its `code` is what people call it by, one of a kind in the company. With a `project_id` of the
    client's own (UUIDv7), making it twice is making it once.
    """

    code: Code
    name: Name
    timezone: Zone
    project_id: UUID | None = None
    client: Client = ""
    address: Address = ""
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    currency: Currency = "USD"
    country: Country | None = None
    phase: Phase = "construction"
    starts_on: date | None = None
    ends_on: date | None = None
    rest_weekdays: list[Weekday] = msgspec.field(default_factory=lambda: [7])


class ProjectChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes different: only what is named. `archived`: read from then on, and written no more, or again."""

    code: Code | msgspec.UnsetType = msgspec.UNSET
    name: Name | msgspec.UnsetType = msgspec.UNSET
    timezone: Zone | msgspec.UnsetType = msgspec.UNSET
    client: Client | msgspec.UnsetType = msgspec.UNSET
    address: Address | msgspec.UnsetType = msgspec.UNSET
    latitude: Latitude | msgspec.UnsetType | None = msgspec.UNSET
    longitude: Longitude | msgspec.UnsetType | None = msgspec.UNSET
    currency: Currency | msgspec.UnsetType = msgspec.UNSET
    country: Country | msgspec.UnsetType | None = msgspec.UNSET
    phase: Phase | msgspec.UnsetType = msgspec.UNSET
    starts_on: date | msgspec.UnsetType | None = msgspec.UNSET
    ends_on: date | msgspec.UnsetType | None = msgspec.UNSET
    rest_weekdays: list[Weekday] | msgspec.UnsetType = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET


class Budget(msgspec.Struct, frozen=True):
    """What a project may cost, in its currency; `amount` is null, and `version` 0, while nobody has said."""

    amount: Decimal | None
    currency: str
    version: int


async def list_projects(
    db: Database,
    *,
    caller: Caller,
    archived: bool,
    phase: Phase | None,
    sort: Sort,
    after: tuple[str, UUID] | None,
    limit: int,
) -> list[Project]:
    """The caller's projects by name or code, at most `limit`, after a name or code and an id."""
    async with db.transaction(caller.scope) as tx:
        rows = await store.page(tx, archived=archived, phase=phase, sort=sort, after=after, limit=limit)
    return [_project(row) for row in rows]


async def get_project(db: Database, *, caller: Caller, project_id: UUID) -> Project:
    """A project of the caller's. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        return await find(tx, project_id)


async def make_project(db: Database, *, caller: Caller, wanted: NewProject) -> Project:
    """Make a project, to which owners and managers belong at once.

    Raises Problem not_found, not_allowed, invalid, id_invalid, id_taken or code_taken; made again, it is one of those.
    """
    if wanted.project_id is not None and not is_uuid7(wanted.project_id):
        raise Problem("id_invalid")
    made = msgspec.structs.replace(
        wanted, project_id=wanted.project_id or uuid4(), rest_weekdays=_rest_weekdays(wanted.rest_weekdays)
    )
    _check_order(made.starts_on, made.ends_on)
    fields = msgspec.structs.asdict(made)
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "admin")
        await _check_zone(tx, made.timezone)
        known = await store.project(tx, fields["project_id"])
        if known is not None:
            if any(known[name] != value for name, value in fields.items()):
                raise Problem("id_taken")
            return _project(known)
        if not await store.add(tx, **fields):
            raise Problem("code_taken")
        return await find(tx, fields["project_id"])


async def change_project(
    db: Database, *, caller: Caller, project_id: UUID, changes: ProjectChanges, version: int | None, now: datetime
) -> Project:
    """Change what is named of a project, and nothing else, if it is still in that `version` (None: in any).

    Raises Problem not_found, not_allowed, invalid, changed_meanwhile, code_taken or project_archived.
    """
    wanted = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not msgspec.UNSET}
    async with db.transaction(caller.scope) as tx:
        known = await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        if "timezone" in wanted:
            await _check_zone(tx, wanted["timezone"])
        if "rest_weekdays" in wanted:
            wanted["rest_weekdays"] = _rest_weekdays(wanted["rest_weekdays"])
        archived = wanted.pop("archived", known.archived_at is not None)
        fields = {name: getattr(known, name) for name in store.CHANGEABLE} | wanted
        fields["archived_at"] = (known.archived_at or now) if archived else None
        _check_order(fields["starts_on"], fields["ends_on"])
        changed = await store.change(tx, project_id, version=version or known.version, fields=fields)
        if changed is None:
            raise Problem("code_taken")
        if not changed:
            raise Problem("changed_meanwhile")
        return await find(tx, project_id)


async def get_budget(db: Database, *, caller: Caller, project_id: UUID) -> Budget:
    """What a project may cost. Raises Problem not_found, also for whom it is hidden from."""
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "budgets", "read")
        row = await store.budget(tx, project_id)
    return Budget(row["amount"], project.currency, row["version"]) if row else Budget(None, project.currency, 0)


async def set_budget(db: Database, *, caller: Caller, project_id: UUID, amount: Decimal, version: int | None) -> Budget:
    """Say what a project may cost, if what is said is still in that `version` (0: nothing; None: in any).

    Raises Problem not_found, not_allowed, invalid, changed_meanwhile or project_archived.
    """
    if not (amount.is_finite() and 0 <= amount < _MOST_AMOUNT and amount == round(amount, 2)):
        raise Problem("invalid", "amount is not negative, and has at most 16 digits and two decimals")
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "budgets", "standard")
        said = await store.set_budget(tx, project_id, amount=amount, version=version)
        if said is None:
            raise Problem("changed_meanwhile")
    return Budget(amount, project.currency, said)


async def set_cover(db: Database, *, caller: Caller, project_id: UUID, document_id: UUID | None) -> Project:
    """Show a photo of the project as its cover, or none.

    Raises Problem not_found, not_allowed, reference_unknown or project_archived.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        if document_id is None:
            await store.remove_cover(tx, project_id)
        elif not await store.set_cover(tx, project_id, document_id):
            raise Problem("reference_unknown", field="document_id")
        return await find(tx, project_id)


async def find(tx: Transaction, project_id: UUID) -> Project:
    """A project of the caller's. Raises Problem not_found."""
    row = await store.project(tx, project_id)
    if row is None:
        raise Problem("not_found")
    return _project(row)


def _project(row: store.Row) -> Project:
    return Project(**dict(row))


def _rest_weekdays(days: list[int]) -> list[int]:
    kept = sorted(set(days))
    if len(kept) == 7:
        raise Problem("invalid", "rest_weekdays must leave a day to work on")
    return kept


def _check_order(starts_on: date | None, ends_on: date | None) -> None:
    if starts_on and ends_on and ends_on < starts_on:
        raise Problem("invalid", "ends_on comes before starts_on")


async def _check_zone(tx: Transaction, timezone: str) -> None:
    if not rules.looks_like_zone(timezone) or not await store.knows_zone(tx, timezone):
        raise Problem("invalid", "timezone must be an IANA name such as America/Lima")
