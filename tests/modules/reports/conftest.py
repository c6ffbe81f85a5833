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


CONTRACT = {
    "number": "LPN-014/2026",
    "works": "Construcción de la Torre Norte",
    "client": "Inmobiliaria del Valle",
    "contractor": "Constructora Andina",
    "starts_on": "2026-11-02",
}


def note(note_class: str = "order", **fields: Any) -> dict[str, Any]:
    told = {"class": note_class, "subject": "Colado de losa", "text": "Se autoriza el colado de la losa del nivel 4."}
    return {"note_id": str(new_id())} | told | fields


class Book:
    """A bitácora with its residente and superintendente."""

    def __init__(self, http: Any, company: Company) -> None:
        self.http, self.company = http, company
        self.path = f"/v1/bitacoras/{new_id()}"

    async def make(self) -> "Book":
        self.resident = await self.company.hire("residente")
        self.builder = await self.company.hire("empleado_obra")  # the contractor's, who only signs and writes here
        body = {
            "bitacora_id": self.path.split("/")[-1],
            "title": "Torre Norte",
            "contract": CONTRACT,
            "signing_days": 3,
        }
        path = f"/v1/projects/{self.company.tower}/bitacoras"
        made = [await self.send("POST", path, self.resident, body) for _ in range(2)]
        assert made[0].json() == made[1].json()
        for role, person in (("residente", self.resident), ("superintendente", self.builder)):
            named = await self.name(role, person)
            assert named.status_code == 200, named.text
        return self

    async def send(self, method: str, path: str, who: Caller, body: Any = None) -> Any:
        return await self.http.request(method, path, json=body, headers=self.company.bearer(who))

    async def name(self, role: str, person: Caller, by: Caller | None = None) -> Any:
        body = {"person_id": str(person.person_id)}
        return await self.send("PUT", f"{self.path}/parties/{role}", by or self.resident, body)

    async def issue(self, who: Caller, body: dict[str, Any]) -> Any:
        return await self.send("POST", f"{self.path}/notes", who, body)

    async def sign(self, who: Caller, folio: int, told: str) -> Any:
        return await self.send("POST", f"{self.path}/notes/{folio}/signature", who, {"hash": told})

    async def notes(self) -> list[dict[str, Any]]:
        return (await self.send("GET", f"{self.path}/notes?limit=200", self.resident)).json()["items"]


@pytest.fixture
async def book(http: Any, company: Company) -> Book:
    return await Book(http, company).make()
