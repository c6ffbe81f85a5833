"""A site on one day: people, the day's address, and phones."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
from tests.conftest import Company

from buildpeer.platform.auth import Caller
from buildpeer.platform.ids import new_id


def today() -> date:
    return datetime.now(ZoneInfo("America/Lima")).date()


def stamp() -> str:
    return datetime.now(UTC).isoformat()


def entry(kind: str = "note", *, attachments: Any = (), **fields: Any) -> dict[str, Any]:
    """An entry as a phone makes it."""
    if kind == "note" and not fields:
        fields = {"text": "Se coló la losa"}
    return {
        "entry_id": str(new_id()),
        "content": {"kind": kind, **fields},
        "noted_at": stamp(),
        "attachments": [str(a) for a in attachments],
    }


class Site:
    """The tower's daily logs, over HTTP."""

    def __init__(self, http: httpx.AsyncClient, company: Company) -> None:
        self.http, self.company = http, company
        self.project: UUID = company.tower

    def day(self, day: date | None = None) -> str:
        return f"/v1/projects/{self.project}/daily-logs/{day or today()}"

    async def add(
        self, who: Caller, *entries: dict[str, Any], day: date | None = None, **changes: Any
    ) -> httpx.Response:
        body = {"entries": list(entries), "sent_at": stamp()} | changes
        return await self.http.post(f"{self.day(day)}/entries", json=body, headers=self.company.bearer(who))

    async def edit(self, who: Caller, entry_id: str, **edit: Any) -> httpx.Response:
        body = {"installation_id": str(new_id()), "sequence": 1, "base_version": 1, "noted_at": stamp()} | edit
        body |= {"sent_at": stamp()}
        path = f"/v1/daily-log-entries/{entry_id}/edits"
        return await self.http.post(path, json=body, headers=self.company.bearer(who))

    async def get(self, who: Caller, path: str = "", day: date | None = None) -> Any:
        answer = await self.http.get(f"{self.day(day)}{path}", headers=self.company.bearer(who))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, who: Caller, path: str, body: Any = None, day: date | None = None) -> httpx.Response:
        whole = path if path.startswith("/v1") else f"{self.day(day)}/{path}"
        return await self.http.post(whole, json=body, headers=self.company.bearer(who))


@pytest.fixture
def site(http: httpx.AsyncClient, company: Company) -> Site:
    return Site(http, company)
