"""The demo tenant of `make up`: one person per role, two projects. Putting it there twice changes nothing."""

import uuid

import argon2
import asyncpg
import msgspec

from buildpeer.modules.tenants import service as tenants
from buildpeer.modules.tenants.rules import TenantError
from buildpeer.platform import clock
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database, Transaction

_SPACE = uuid.UUID("5f0f8c1e-2a63-4f6e-9b57-6f1d8a7c0b42")  # names of the demo become ids of their own


class DemoPerson(msgspec.Struct, frozen=True):
    """Somebody of the demo tenant."""

    email: str
    name: str
    role: str
    locale: str
    projects: tuple[str, ...] = ()  # codes; owners and managers belong to all


TENANT = "Constructora Andes"
_REGION = Settings().aws_region
PROJECTS = (
    ("TAL", "Torre Alameda", "America/Santiago"),
    ("PSJ", "Residencial São João – 3ª fase", "America/Sao_Paulo"),
)
PEOPLE = (
    DemoPerson("valentina@demo.buildpeer.test", "Valentina Rojas", "owner", "es"),
    DemoPerson("mateo@demo.buildpeer.test", "Mateo Fuentes", "manager", "es"),
    DemoPerson("catalina@demo.buildpeer.test", "Catalina Muñoz", "residente", "es", ("TAL",)),
    DemoPerson("helena@demo.buildpeer.test", "Helena Sá", "inversionista", "pt", ("TAL", "PSJ")),
    DemoPerson("joao@demo.buildpeer.test", "João Conceição", "empleado_obra", "pt", ("TAL", "PSJ")),
)


async def seed(admin_url: str, *, password: str) -> bool:
    """Make the demo tenant, everybody with `password`, where it does not exist yet; False if it was erased."""
    if not await _found(admin_url):
        return False
    connection = await asyncpg.connect(admin_url)
    try:
        async with connection.transaction():
            await _seed(connection, argon2.PasswordHasher().hash(password))
    finally:
        await connection.close()
    return True


async def _found(admin_url: str) -> bool:
    """Make the tenant as its operator does, but for the invitation: its owner has a password already."""

    async def nobody(_tx: Transaction, _tenant: str) -> bool:
        return False

    db = await Database.connect(admin_url, size=1, role="buildpeer_operator")
    try:
        await tenants.create(
            db,
            tenant_id=_id(TENANT),
            name=TENANT,
            region=_REGION,
            regions=frozenset({_REGION}),
            storage_limit_bytes=None,
            uploads_per_day=None,
            invite_owner=nobody,
            now=clock.now(),
        )
    except TenantError:
        return False
    finally:
        await db.close()
    return True


async def _seed(connection: asyncpg.Connection, password_hash: str) -> None:
    tenant_id = _id(TENANT)
    await connection.execute("select set_config('app.tenant_id', $1, true)", str(tenant_id))
    for code, name, timezone in PROJECTS:
        await connection.execute(
            """insert into projects (tenant_id, project_id, code, name, timezone) values ($1, $2, $3, $4, $5)
            on conflict do nothing""",
            *(tenant_id, _id(code), code, name, timezone),
        )
    for person in PEOPLE:
        await _add(connection, tenant_id, person, password_hash)


async def _add(connection: asyncpg.Connection, tenant_id: uuid.UUID, person: DemoPerson, password_hash: str) -> None:
    person_id = _id(person.email)
    await connection.execute(
        """insert into people (person_id, email, name, locale, password_hash) values ($1, $2, $3, $4, $5)
        on conflict do nothing""",
        *(person_id, person.email, person.name, person.locale, password_hash),
    )
    await connection.execute(
        "insert into memberships (tenant_id, person_id, role) values ($1, $2, $3) on conflict do nothing",
        *(tenant_id, person_id, person.role),
    )
    for code in person.projects:
        await connection.execute(
            "insert into project_members (tenant_id, project_id, person_id) values ($1, $2, $3) on conflict do nothing",
            *(tenant_id, _id(code), person_id),
        )


def _id(name: str) -> uuid.UUID:
    return uuid.uuid5(_SPACE, name)
