"""People at work with the documents of one company."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import Company
from tests.modules.documents.test_documents import make_document

from buildpeer.platform.auth import Caller
from buildpeer.platform.ids import new_id


class Desk:
    """What one person does over HTTP; each call gives the answer's JSON, once its status is the expected one."""

    def __init__(self, http: httpx.AsyncClient, company: Company, caller: Caller, make: Any) -> None:
        self.http, self.company, self.caller = http, company, caller
        self._make = make

    async def ask(self, method: str, path: str, status: int = 200, *, match: str = "*", **request: Any) -> Any:
        headers = self.company.bearer(self.caller) | {"if-match": match, "accept-language": "en"}
        answer = await self.http.request(method, f"/v1{path}", headers=headers, **request)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def names(self, path: str, **params: Any) -> list[str]:
        return [item["name"] for item in (await self.ask("GET", path, params=params))["items"]]

    async def folder(self, name: str, parent: str | None = None, status: int = 201, **wanted: Any) -> Any:
        body = {"folder_id": str(new_id()), "name": name, "parent_id": parent} | wanted
        return await self.ask("POST", f"/projects/{self.company.tower}/folders", status, json=body)

    async def file(self, name: str, **changes: Any) -> str:
        """A document of this person's; gives its id."""
        return str((await self._make(self.caller, name=name, **changes)).upload_id)

    async def change(self, ids: list[str], status: int = 200, **changes: Any) -> Any:
        return await self.ask("POST", "/documents/changes", status, json={"document_ids": ids, "changes": changes})


@pytest.fixture
def desk(http, storage, worker_db, company) -> Callable[..., Awaitable[Desk]]:
    async def make(caller: Caller, **changes: Any) -> Any:
        return await make_document(http, storage, worker_db, company, caller, **changes)

    async def hire(role: str = "residente", *projects: UUID) -> Desk:
        return Desk(http, company, await company.hire(role, *projects), make)

    return hire
