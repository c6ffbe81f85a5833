"""The real services, once per test process, and people to act in them: every test makes tenants of its own."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from tests.local.services import running_services

from buildpeer.entrypoints.api import create_app
from buildpeer.local.stack import Stack
from buildpeer.modules.identity.service import hash_password
from buildpeer.platform import clock, migrate
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id
from buildpeer.platform.messaging import Queues
from buildpeer.platform.realtime import Wakeups
from buildpeer.platform.storage import Storage

PASSWORD = "correct horse battery staple"
OPERATOR_KEY = "an operator's key of these tests"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Postgres, ministack and Valkey, with nothing in them but what the stack sets up itself."""
    with running_services(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="session")
async def admin_url(stack: Stack) -> str:
    """A migrated database, by its administrator."""
    url = stack.env("admin")["BUILDPEER_ADMIN_DATABASE_URL"]
    await migrate.migrate(url, migrate.read())
    stack.set_role_passwords()
    return url


@contextlib.contextmanager
def acting_as(env: dict[str, str]) -> Iterator[Settings]:
    """Make AWS clients as one process would; a client keeps the key that it was made with."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, env[name])
        yield Settings.from_env(env)


class Clients:
    """What a process holds, made from the environment that the stack gives it."""

    def __init__(self, env: dict[str, str]) -> None:
        with acting_as(env) as self.settings:
            self.storage = Storage(self.settings, now=clock.now)
            self.queues = Queues(self.settings, threads=4)

    def close(self) -> None:
        self.storage.close()
        self.queues.close()


@pytest.fixture(scope="session")
def api_clients(stack: Stack, admin_url: str) -> Iterator[Clients]:
    clients = Clients(stack.env("api"))
    yield clients
    clients.close()


@pytest.fixture(scope="session")
def worker_clients(stack: Stack, admin_url: str) -> Iterator[Clients]:
    clients = Clients(stack.env("worker"))
    yield clients
    clients.close()


@pytest.fixture(scope="session")
def storage(api_clients: Clients) -> Storage:
    """S3 as the api may use it."""
    return api_clients.storage


@pytest.fixture(scope="session")
def settings(api_clients: Clients) -> Settings:
    return api_clients.settings


@pytest.fixture(scope="session")
async def db(api_clients: Clients) -> AsyncIterator[Database]:
    """Postgres as the api's role."""
    database = await Database.connect(api_clients.settings.database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def worker_db(worker_clients: Clients) -> AsyncIterator[Database]:
    """Postgres as the worker's role."""
    database = await Database.connect(worker_clients.settings.database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def admin(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Postgres as its administrator, past row-level security: to arrange and to look."""
    connection = await asyncpg.connect(admin_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def wakeups(settings: Settings) -> AsyncIterator[Wakeups]:
    wakeups = Wakeups(settings.valkey_url)
    async with wakeups.running():
        yield wakeups


class Company:
    """A tenant of its own for one test, with two projects; people join as the test needs them."""

    def __init__(self, admin: asyncpg.Connection, tokens: Tokens, password_hash: str) -> None:
        self.tenant_id = uuid4()
        self.tower, self.school = uuid4(), uuid4()
        self.emails: dict[UUID, str] = {}
        self._admin = admin
        self._tokens = tokens
        self._hash = password_hash

    async def found(self) -> "Company":
        await self._admin.execute("insert into tenants (tenant_id, name) values ($1, 'Obra')", self.tenant_id)
        for project, code in ((self.tower, "TOR"), (self.school, "ESC")):
            await self._admin.execute(
                """insert into projects (tenant_id, project_id, code, name, timezone)
                values ($1, $2, $3, $3, 'America/Lima')""",
                *(self.tenant_id, project, code),
            )
        return self

    async def hire(self, role: str = "empleado_obra", *projects: UUID) -> Caller:
        """Somebody new; field workers and the like belong to the tower unless told otherwise."""
        person_id = uuid4()
        self.emails[person_id] = f"{person_id}@example.test"
        await self._admin.execute(
            "insert into people (person_id, email, name, password_hash) values ($1, $2, 'Alguien', $3)",
            *(person_id, self.emails[person_id], self._hash),
        )
        await self._admin.execute(
            "insert into memberships (tenant_id, person_id, role) values ($1, $2, $3)", self.tenant_id, person_id, role
        )
        for project in projects or (self.tower,):
            if role not in ("owner", "manager"):
                await self._admin.execute(
                    "insert into project_members (tenant_id, project_id, person_id) values ($1, $2, $3)",
                    *(self.tenant_id, project, person_id),
                )
        return Caller(person_id, self.tenant_id, uuid4())

    async def dismiss(self, caller: Caller) -> None:
        """End a field worker's membership."""
        await self._admin.execute("delete from project_members where person_id = $1", caller.person_id)
        await self._admin.execute("delete from memberships where person_id = $1", caller.person_id)

    def bearer(self, caller: Caller) -> dict[str, str]:
        return {"authorization": f"Bearer {self._tokens.access(caller, now=clock.now())}"}


@pytest.fixture(scope="session")
def password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.fixture(scope="session")
def tokens(settings: Settings) -> Tokens:
    return Tokens(settings.token_key)


@pytest.fixture
def found_company(admin: asyncpg.Connection, tokens: Tokens, password_hash: str) -> Callable[[], Awaitable[Company]]:
    return lambda: Company(admin, tokens, password_hash).found()


@pytest.fixture
async def company(found_company: Callable[[], Awaitable[Company]]) -> Company:
    return await found_company()


@pytest.fixture(scope="session")
async def http(stack: Stack, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real api, served on a free port by the server that serves it in production."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    operators = f"marta:{hashlib.sha256(OPERATOR_KEY.encode()).hexdigest()}"
    app = create_app(msgspec.structs.replace(settings, api_port=port, operator_keys=operators))
    server = Server(app, port=port, interface=Interfaces.ASGI, websockets=False, log_access=False)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        with acting_as(stack.env("api")):
            serving = asyncio.create_task(server.serve())
            await eventually(lambda: _is_up(client))
        yield client
    server.stop()
    await serving


async def _is_up(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


async def eventually(condition: Callable[[], Awaitable[Any]], *, within_s: float = 30) -> Any:
    """Wait until `condition` gives something true, and give it back."""
    async with asyncio.timeout(within_s):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


def declare(content: bytes, **changes: Any) -> dict[str, Any]:
    """What a client says of a file that holds `content`."""
    return {
        "upload_id": str(new_id()),
        "kind": "photo",
        "name": "foto.jpg",
        "size_bytes": len(content),
        "content_type": "image/jpeg",
        "sha256": hashlib.sha256(content).hexdigest(),
    } | changes
