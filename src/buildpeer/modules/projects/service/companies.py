"""Trades, the companies that people work with, and which of them work on a project."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import store
from buildpeer.modules.projects.rules import Duty
from buildpeer.modules.projects.service.projects import Name, find
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

TaxId = Annotated[str, msgspec.Meta(max_length=32)]
TradeName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody does on sites: concrete, plumbing; the same in all projects."""

    trade_id: UUID
    name: str
    archived_at: datetime | None
    version: int


class NewTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade to keep; `trade_id` is the client's own UUIDv7."""

    trade_id: UUID
    name: TradeName


class TradeChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes different; null: nothing. What is archived takes nothing new."""

    name: TradeName | None = None
    archived: bool | None = None


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """A company that people work with; `tax_id` is its RFC, NIT, CNPJ, RUT or RUC."""

    company_id: UUID
    name: str
    tax_id: str
    archived_at: datetime | None
    version: int


class NewCompany(msgspec.Struct, frozen=True, kw_only=True):
    """A company to keep; `company_id` is the client's own UUIDv7."""

    company_id: UUID
    name: Name
    tax_id: TaxId = ""


class CompanyChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes different; null: nothing. What is archived takes nothing new."""

    name: Name | None = None
    tax_id: TaxId | None = None
    archived: bool | None = None


class ProjectCompany(msgspec.Struct, frozen=True, kw_only=True):
    """A company that works on a project; `ended_at`: until when it did."""

    company_id: UUID
    name: str
    tax_id: str
    duty: Duty
    trade_id: UUID | None
    created_at: datetime
    ended_at: datetime | None


class Engagement(msgspec.Struct, frozen=True, kw_only=True):
    """What a company does on a project."""

    duty: Duty
    trade_id: UUID | None = None


async def list_trades(db: Database, *, caller: Caller, after: tuple[str, UUID] | None, limit: int) -> list[Trade]:
    """The company's trades by name, also archived ones, after a name and id. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "read")
        rows = await store.trades(tx, after=after, limit=limit)
    return [Trade(**dict(row)) for row in rows]


async def add_trade(db: Database, *, caller: Caller, wanted: NewTrade) -> Trade:
    """Keep a trade; again, with the same content, it is that one.

    Raises Problem not_found, not_allowed, id_invalid, id_taken or name_taken.
    """
    _check_id(wanted.trade_id)
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "admin")
        await store.add_trade(tx, wanted.trade_id, name=wanted.name)
        row = await store.trade(tx, wanted.trade_id)
        if row is None or row["name"] != wanted.name:
            raise Problem("id_taken")
    return Trade(**dict(row))


async def change_trade(
    db: Database, *, caller: Caller, trade_id: UUID, changes: TradeChanges, version: int | None, now: datetime
) -> Trade:
    """Rename a trade, or put it away or back, if it is still in that `version` (None: in any).

    Raises Problem not_found, not_allowed, changed_meanwhile or name_taken.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "read")
        if await store.trade(tx, trade_id) is None:
            raise Problem("not_found")
        identity.permit(tx, "projects", "admin")
        row = await store.change_trade(
            tx, trade_id, name=changes.name, archived=changes.archived, version=version, now=now
        )
        if row is None:
            raise Problem("changed_meanwhile")
    return Trade(**dict(row))


async def list_companies(db: Database, *, caller: Caller, after: tuple[str, UUID] | None, limit: int) -> list[Company]:
    """Companies by name, after a name and id: all for owners and managers, for others those of their projects.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "read")
        rows = await store.companies(tx, after=after, limit=limit)
    return [Company(**dict(row)) for row in rows]


async def add_company(db: Database, *, caller: Caller, wanted: NewCompany) -> Company:
    """Keep a company; again, with the same content, it is that one.

    Raises Problem not_found, not_allowed, id_invalid, id_taken or name_taken.
    """
    _check_id(wanted.company_id)
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "admin")
        await store.add_company(tx, wanted.company_id, name=wanted.name, tax_id=wanted.tax_id)
        row = await store.company(tx, wanted.company_id)
        if row is None or (row["name"], row["tax_id"]) != (wanted.name, wanted.tax_id):
            raise Problem("id_taken")
    return Company(**dict(row))


async def change_company(
    db: Database, *, caller: Caller, company_id: UUID, changes: CompanyChanges, version: int | None, now: datetime
) -> Company:
    """Change a company, or put it away or back, if it is still in that `version` (None: in any).

    Raises Problem not_found, not_allowed, changed_meanwhile or name_taken.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "projects", "read")
        if await store.company(tx, company_id) is None:
            raise Problem("not_found")
        identity.permit(tx, "projects", "admin")
        row = await store.change_company(
            tx,
            company_id,
            name=changes.name,
            tax_id=changes.tax_id,
            archived=changes.archived,
            version=version,
            now=now,
        )
        if row is None:
            raise Problem("changed_meanwhile")
    return Company(**dict(row))


async def list_project_companies(
    db: Database, *, caller: Caller, project_id: UUID, after: tuple[str, UUID] | None, limit: int
) -> list[ProjectCompany]:
    """Companies that work, or worked, on a project, by name, after a name and id. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        rows = await store.project_companies(tx, project_id, after=after, limit=limit)
    return [ProjectCompany(**dict(row)) for row in rows]


async def engage(
    db: Database, *, caller: Caller, project_id: UUID, company_id: UUID, wanted: Engagement
) -> ProjectCompany:
    """Have a company work on a project, or do something else there, or come back; again changes nothing.

    Raises Problem not_found, not_allowed, reference_unknown or project_archived.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        if wanted.trade_id is not None and await store.missing(tx, project_id, trades=[wanted.trade_id]):
            raise Problem("reference_unknown", field="trade_id")
        if await store.company(tx, company_id) is None:
            raise Problem("not_found")
        await store.engage(tx, project_id, company_id, duty=wanted.duty, trade_id=wanted.trade_id)
        rows = await store.project_companies(tx, project_id, after=None, limit=1, company_id=company_id)
    return ProjectCompany(**dict(rows[0]))


async def disengage(db: Database, *, caller: Caller, project_id: UUID, company_id: UUID, now: datetime) -> None:
    """Say that a company has left a project; what it did there stays its own.

    Raises Problem not_found, not_allowed or project_archived.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        identity.permit(tx, "projects", "admin")
        if not await store.disengage(tx, project_id, company_id, now=now):
            raise Problem("not_found")


def _check_id(value: UUID) -> None:
    if not is_uuid7(value):
        raise Problem("id_invalid")
