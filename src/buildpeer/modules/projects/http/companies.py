"""Doors for trades and companies."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody

from buildpeer.modules.projects.service import companies
from buildpeer.modules.projects.service.companies import (
    Company,
    CompanyChanges,
    Engagement,
    NewCompany,
    NewTrade,
    ProjectCompany,
    Trade,
    TradeChanges,
)
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    IfMatch,
    Limit,
    NowDep,
    Page,
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)


class TradesController(Controller):
    """What people do on sites; the same list for all projects."""

    path = "/v1/trades"
    tags = ("projects",)
    opt = used_with("projects", write="admin")

    @get(summary="List trades")
    async def list_trades(
        self, caller: CallerDep, db: DatabaseDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[Trade]:
        """The company's trades, by name."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await companies.list_trades(db, caller=caller, after=after, limit=limit + 1)
        return page(found, limit, lambda t: [t.name, t.trade_id])

    @post(summary="Add a trade")
    async def add_trade(self, data: JSONBody[NewTrade], caller: CallerDep, db: DatabaseDep) -> Response[Trade]:
        """A new trade; sent again it is the same one."""
        made = await companies.add_trade(db, caller=caller, wanted=data)
        return tagged(made, made.version)

    @patch("/{trade_id:uuid}", summary="Change a trade")
    async def change_trade(
        self,
        *,
        trade_id: FromPath[UUID],
        data: JSONBody[TradeChanges],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[Trade]:
        """Rename a trade, or put it away or back."""
        changed = await companies.change_trade(
            db, caller=caller, trade_id=trade_id, changes=data, version=read_if_match(if_match), now=now
        )
        return tagged(changed, changed.version)


class CompaniesController(Controller):
    """Companies that people work with."""

    path = "/v1/companies"
    tags = ("projects",)
    opt = used_with("projects", write="admin")

    @get(summary="List companies")
    async def list_companies(
        self, caller: CallerDep, db: DatabaseDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[Company]:
        """Companies by name: all for owners and managers, for others those of their projects."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await companies.list_companies(db, caller=caller, after=after, limit=limit + 1)
        return page(found, limit, lambda c: [c.name, c.company_id])

    @post(summary="Add a company")
    async def add_company(self, data: JSONBody[NewCompany], caller: CallerDep, db: DatabaseDep) -> Response[Company]:
        """A new company; sent again it is the same one."""
        made = await companies.add_company(db, caller=caller, wanted=data)
        return tagged(made, made.version)

    @patch("/{company_id:uuid}", summary="Change a company")
    async def change_company(
        self,
        *,
        company_id: FromPath[UUID],
        data: JSONBody[CompanyChanges],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[Company]:
        """Change a company, or put it away or back."""
        changed = await companies.change_company(
            db, caller=caller, company_id=company_id, changes=data, version=read_if_match(if_match), now=now
        )
        return tagged(changed, changed.version)


class ProjectCompaniesController(Controller):
    """Which companies work on a project."""

    path = "/v1/projects/{project_id:uuid}/companies"
    tags = ("projects",)
    opt = used_with("projects", write="admin")

    @get(summary="List a project's companies")
    async def list_project_companies(
        self,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ProjectCompany]:
        """Companies that work, or worked, on the project, by name."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await companies.list_project_companies(
            db, caller=caller, project_id=project_id, after=after, limit=limit + 1
        )
        return page(found, limit, lambda c: [c.name, c.company_id])

    @put("/{company_id:uuid}", summary="Have a company work on a project")
    async def engage(
        self,
        project_id: FromPath[UUID],
        company_id: FromPath[UUID],
        data: JSONBody[Engagement],
        caller: CallerDep,
        db: DatabaseDep,
    ) -> ProjectCompany:
        """Say what a company does on the project; again changes nothing."""
        return await companies.engage(db, caller=caller, project_id=project_id, company_id=company_id, wanted=data)

    @delete("/{company_id:uuid}", summary="Let a company leave a project")
    async def disengage(
        self, project_id: FromPath[UUID], company_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> None:
        """It takes nothing new there from now on; what it did stays its own."""
        await companies.disengage(db, caller=caller, project_id=project_id, company_id=company_id, now=now)
