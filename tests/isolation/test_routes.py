"""Isolation as data, over HTTP: `tests/isolation.yaml` says what each caller gets by each route; this asks the api."""

import random
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import msgspec
import pytest
import redis.asyncio as valkey
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.architecture.test_isolation import (
    add_company,
    add_drawing,
    add_job,
    add_location,
    add_notice,
    add_report,
    add_rfi,
    add_trade,
    add_webhook,
    file_away,
    fill,
    write_logs,
)
from tests.conftest import Company, declare
from tests.isolation.calls import STREAM, body_of, face, path_of, routes, send
from tests.modules.notifications.test_stream import announce, relay

from buildpeer.modules.identity.service.keys import PREFIX
from buildpeer.modules.identity.service.passwords import token_hash
from buildpeer.modules.notifications.service import feed
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.ids import new_id
from buildpeer.platform.messaging import LOG, Outgoing
from buildpeer.platform.realtime import Wakeups

ROUTES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parents[1] / "isolation.yaml").read_text())["routes"]
OPERATIONS = routes()
LIMA = ZoneInfo("America/Lima")
STRANGERS = ("rival", "nobody")
CALLERS = (
    "owner",
    "manager",
    "residente",
    "field",
    "field_out",
    "investor",
    "investor_out",
    *STRANGERS,
    "key",
    "anonymous",
)
CELLS = [
    (route, who, str(row["everybody"] if "everybody" in row else row[who]))
    for route, row in ROUTES.items()
    for who in CALLERS
]
DRAWN = ("drawing_id", "revision_id", "older_id", "filing_id", "pin_id", "area_id", "set_id")
# Lists are asked for what the other cells don't make more of.
QUERIES = dict.fromkeys(
    (
        "GET /v1/members",
        "GET /v1/projects/{project_id}/members",
        "GET /v1/uploads",
        "GET /v1/documents",
        "GET /v1/trades",
        "GET /v1/companies",
        "GET /v1/projects/{project_id}/companies",
        "GET /v1/projects/{project_id}/locations",
    ),
    "?limit=200",
) | dict.fromkeys(("GET /v1/audit", "GET /v1/audit/export"), "?object_type=projects&action=insert")
QUERIES["GET /v1/projects/{project_id}/calendar"] = "?from=2026-12-01&to=2026-12-31"
QUERIES["GET /v1/projects/{project_id}/drawing-pins"] = f"?target_id={UUID(int=0)}"


class World:
    """A company with a tower and a school, its people, strangers, and things of the tower for them to ask for."""

    def __init__(self, company: Company, admin: asyncpg.Connection, worker_db: Database, tokens: Tokens) -> None:
        self.company, self.admin = company, admin
        self.shared: dict[str, str] = {}  # things that no call uses up
        self.places: dict[str, set[str]] = {}  # what each place is known by
        self.callers: dict[str, Caller] = {}
        self.secret = ""  # of the machine's key
        self.head = 0  # of the event log, before there was news
        self._worker_db, self._tokens = worker_db, tokens

    async def things(self, *names: str) -> dict[str, str]:
        """The shared things to ask for, but new ones of these names, for calls that use them up."""
        made = self.shared | new_words()
        for name in names:
            made |= await getattr(self, f"_{name}", self._nothing)()
        return made

    async def _nothing(self) -> dict[str, str]:
        return {}

    async def _person_id(self) -> dict[str, str]:
        person, device = await self.company.hire("residente"), uuid4()
        await add_device(self.admin, person, device)
        return {
            "person_id": str(person.person_id),
            "email": self.company.emails[person.person_id],
            "device_id": str(device),
            "challenge": self._tokens.challenge(device, now=clock.now()),
        }

    async def _upload_id(self) -> dict[str, str]:
        company, field = self.company, self.callers["field"]
        upload_id = str(await fill(self.admin, self._worker_db, company, company.tower, field.person_id))
        return {"upload_id": upload_id, "document_id": upload_id}

    _document_id = _upload_id

    async def _folder_id(self) -> dict[str, str]:
        """A folder, an album, a pair and a link of the tower; the link is the residente's, the others `field`'s."""
        company, field = self.company, self.callers["field"]
        document = await fill(self.admin, self._worker_db, company, company.tower, field.person_id)
        made = await file_away(self.admin, company, company.tower, field.person_id, document)
        await self.admin.execute(
            "update share_links set created_by = $2 where link_id = $1",
            *(made["link_id"], self.callers["residente"].person_id),
        )
        return {name: str(value) for name, value in (made | {"document_id": document, "upload_id": document}).items()}

    _album_id = _pair_id = _link_id = _folder_id

    async def _invitation_id(self) -> dict[str, str]:
        invitation = uuid4()
        await self.admin.execute(
            """insert into invitations values ($1, $2, 'crew', null, null, 'empleado_obra', '{}', $3, now(),
            now() + interval '1 day', 1, null)""",
            *(self.company.tenant_id, invitation, self.callers["owner"].person_id),
        )
        return {"invitation_id": str(invitation)}

    async def _rfi_id(self) -> dict[str, str]:
        field = self.callers["field"]
        rfi_id = await add_rfi(self.admin, field.tenant_id, self.company.tower, field.person_id, name=str(uuid4()))
        return {"rfi_id": str(rfi_id)}

    async def _entry_id(self) -> dict[str, str]:
        company, field = self.company, self.callers["field"]
        return await write_logs(self.admin, company, company.tower, field.person_id, name="log")

    _log_date = _conflict_id = _bitacora_id = _entry_id

    async def _report_id(self) -> dict[str, str]:
        company, field = self.company, self.callers["field"]
        report = await add_report(self.admin, company, company.tower, field.person_id, name=uuid4().hex)
        return {"report_id": str(report)}

    async def _drawing_id(self) -> dict[str, str]:
        """Of the residente, but for the pin, which is the field worker's."""
        residente, field = self.callers["residente"].person_id, self.callers["field"].person_id
        document = await fill(self.admin, self._worker_db, self.company, self.company.tower, residente)
        made = await add_drawing(
            self.admin, self.company, self.company.tower, residente, document=document, name=new_words()["text"]
        )
        await self.admin.execute(
            "update drawing_pins set created_by = $2 where pin_id = $1", UUID(made["pin_id"]), field
        )
        return made | {"older_id": made["revision_id"]}

    _filing_id = _pin_id = _drawing_id

    async def _job_id(self) -> dict[str, str]:
        return {"job_id": str(await add_job(self.admin, self.callers["field"], self.company.tower))}

    async def _endpoint_id(self) -> dict[str, str]:
        endpoint_id, message_id = await add_webhook(self.admin, self.company)
        return {"endpoint_id": str(endpoint_id), "message_id": str(message_id)}

    _message_id = _endpoint_id

    async def _position(self) -> dict[str, str]:
        return {"position": str(await add_notice(self.admin, self.callers["field"], self.company.tower))}

    async def _location_id(self) -> dict[str, str]:
        return {"location_id": str(await add_location(self.admin, self.company, self.company.tower, uuid4().hex))}

    async def _trade_id(self) -> dict[str, str]:
        return {"trade_id": str(await add_trade(self.admin, self.company, uuid4().hex))}

    async def _company_id(self) -> dict[str, str]:
        return {"company_id": str(await add_company(self.admin, self.company, self.company.tower, uuid4().hex))}

    async def _day(self) -> dict[str, str]:
        day = f"20{random.randrange(30, 99)}-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}"
        await self.admin.execute(
            "insert into calendar_days values ($1, $2, $3::text::date, false) on conflict do nothing",
            *(self.company.tenant_id, self.company.tower, day),
        )
        return {"day": day}

    async def _key_id(self) -> dict[str, str]:
        key = uuid4()
        await add_key(self.admin, self.callers["owner"], key, {})
        return {"key_id": str(key)}

    async def _session_id(self) -> dict[str, str]:
        session = uuid4()
        await add_session(self.admin, self.callers["field"], session)
        return {"session_id": str(session)}

    async def call_off_jobs(self) -> None:
        """What earlier calls have ordered doesn't keep anybody from ordering more."""
        await self.admin.execute(
            """update jobs set state = 'cancelled', due_at = null, ended_at = now()
            where tenant_id = $1 and state = 'queued' and job_id <> $2""",
            *(self.company.tenant_id, UUID(self.shared["job_id"])),
        )

    async def sign_in(self, who: str) -> dict[str, str]:
        """The headers of a caller, who has just signed in."""
        if who not in self.callers:
            return {"key": {"authorization": f"Bearer {self.secret}"}, "anonymous": {}}[who]
        caller = msgspec.structs.replace(self.callers[who], session_id=uuid4())
        await add_session(self.admin, caller, caller.session_id)
        return self.company.bearer(caller)

    def nothings(self) -> dict[str, str]:
        """Ids that are nobody's."""
        names = ("tenant_id", "project_id", "person_id", "device_id", "invitation_id", "key_id", "session_id")
        ids = {name: str(uuid4()) for name in (*names, "location_id", "trade_id", "company_id")} | dict.fromkeys(
            (
                *("upload_id", "document_id", "rfi_id", "job_id", "entry_id", "conflict_id", "bitacora_id"),
                *("report_id", *DRAWN),
            ),
            str(new_id()),
        )
        ids |= {"endpoint_id": str(new_id()), "message_id": str(new_id()), "position": str(2**40)}
        ids |= {name: str(new_id()) for name in ("folder_id", "album_id", "pair_id", "link_id", "after_id")}
        challenge = self._tokens.challenge(UUID(ids["device_id"]), now=clock.now())
        return ids | new_words() | {"email": f"{uuid4()}@example.test", "challenge": challenge}


def new_words() -> dict[str, str]:
    sha256 = declare(uuid4().bytes)["sha256"]
    return {
        "number": "1",
        "folio": "1",
        "role": "supervisor",
        "log_date": datetime.now(LIMA).date().isoformat(),
        "measured_on": "2026-10-02",
        "day": "2026-12-24",
        "letter_id": str(uuid4()),
        "text": f"x{uuid4().hex[:12]}",
        "sha256": sha256,
    }


async def add_device(admin: asyncpg.Connection, person: Caller, device_id: UUID) -> None:
    key = Ed25519PrivateKey.generate().public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    await admin.execute(
        """insert into devices (tenant_id, person_id, device_id, name, public_key, pin_hash, created_at)
        values ($1, $2, $3, $4, $5, '', now())""",
        *(person.tenant_id, person.person_id, device_id, str(device_id), der),
    )


async def add_key(admin: asyncpg.Connection, maker: Caller, key_id: UUID, tools: dict[str, str]) -> str:
    """A machine's key; gives its secret."""
    secret = f"{PREFIX}{uuid4()}"
    pairs = ", ".join(f'"{tool}": "{level}"' for tool, level in tools.items())
    await admin.execute(
        "insert into api_keys values ($1, $2, $3, $4, $5, now())",
        *(maker.tenant_id, key_id, maker.person_id, str(key_id), f"{{{pairs}}}"),
    )
    await admin.execute("insert into tokens values ($1, $2, $3)", token_hash(secret), maker.tenant_id, key_id)
    return secret


async def confide(admin: asyncpg.Connection, worker_db: Database, company: Company, person: UUID) -> UUID:
    """A private RFI of the tower, and news of it."""
    rfi_id = await add_rfi(admin, company.tenant_id, company.tower, person, private=True)
    body = {"rfi": str(rfi_id), "only_for": [str(person)]}
    async with worker_db.transaction(Scope(company.tenant_id, None)) as tx:
        await tx.announce([Outgoing(LOG, "rfi.changed", body, company.tower)])
    return rfi_id


async def add_session(admin: asyncpg.Connection, caller: Caller, session_id: UUID) -> None:
    await admin.execute(
        "insert into sessions (person_id, session_id, tenant_id, device) values ($1, $2, $3, $4)",
        *(caller.person_id, session_id, caller.tenant_id, str(session_id)),
    )


@pytest.fixture(scope="module")
async def world(
    admin: asyncpg.Connection, worker_db: Database, tokens: Tokens, password_hash: str, wakeups: Wakeups
) -> AsyncIterator[World]:
    company = await Company(admin, tokens, password_hash).found()
    rival = await Company(admin, tokens, password_hash).found()
    world = World(company, admin, worker_db, tokens)
    for who, role, project in (
        ("owner", "owner", company.tower),
        ("manager", "manager", company.tower),
        ("residente", "residente", company.tower),
        ("field", "empleado_obra", company.tower),
        ("field_out", "empleado_obra", company.school),
        ("investor", "inversionista", company.tower),
        ("investor_out", "inversionista", company.school),
    ):
        world.callers[who] = await company.hire(role, project)
    world.callers["rival"] = await rival.hire("owner")
    dismissed = await company.hire("manager")
    world.callers["nobody"] = dismissed
    await company.dismiss(dismissed)
    world.secret = await add_key(admin, world.callers["owner"], uuid4(), {"files": "standard"})
    world.head = await admin.fetchval("select position from event_log_head")
    for project in (company.tower, company.school):
        await announce(worker_db, company, "news", project=project)
    confided = await confide(admin, worker_db, company, (await company.hire("manager")).person_id)
    await relay(worker_db, None, wakeups)
    school = await fill(admin, worker_db, company, company.school, world.callers["field_out"].person_id)
    world.shared = {"tenant_id": str(company.tenant_id), "project_id": str(company.tower)}
    one_time = (
        "person_id",
        "upload_id",
        "rfi_id",
        "invitation_id",
        "key_id",
        "session_id",
        "job_id",
        "entry_id",
        "folder_id",
        "report_id",
        "endpoint_id",
        "position",
        "drawing_id",
    )
    shared = world.shared = await world.things(*one_time, "location_id", "trade_id", "company_id")
    other_company = await add_company(admin, company, company.school, uuid4().hex)
    other_place = await add_location(admin, company, company.school, uuid4().hex)
    world.places = {
        "tower": {str(company.tower), *(shared[name] for name in ("upload_id", "rfi_id", "location_id", "company_id"))},
        "school": {str(company.school), str(school), str(other_company), str(other_place)},
        "confided": {str(confided)},
        "company": {
            shared[name] for name in ("email", "device_id", "invitation_id", "key_id", "trade_id", "endpoint_id")
        },
    }
    await worker_db.call("select audit.seal($1)", company.tenant_id)
    yield world


def test_every_route_has_its_row_here() -> None:
    assert set(OPERATIONS) == set(ROUTES)
    for route, row in ROUTES.items():
        assert set(row) in ({"everybody"}, set(CALLERS)), route


@pytest.mark.parametrize(("route", "who", "expected"), CELLS)
async def test_each_call(
    http: httpx.AsyncClient,
    world: World,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    who: str,
    expected: str,
) -> None:
    monkeypatch.setattr(feed, "PING_S", 0.05)
    status, *places = expected.split()
    used_up = status.startswith("2") and not route.startswith("GET")
    ids = await world.things(*re.findall(r"{(\w+)}", route)) if used_up else world.shared | new_words()
    await forget_tries(settings)
    await world.call_off_jobs()
    answer = await ask(http, world, route, who, ids)
    assert answer.status_code == int(status), answer.text
    if places:
        reached = {place for place, words in world.places.items() if any(word in answer.text for word in words)}
        assert reached == set(places) - {"nothing"}
    names_things = "{" in route or "requestBody" in OPERATIONS[route]
    if names_things and (status == "404" or who in STRANGERS):
        await forget_tries(settings)
        nothings = world.nothings()
        other = await ask(http, world, route, who, nothings)
        # What isn't there for somebody looks like what isn't there.
        assert face(other, nothings.values()) == face(answer, ids.values())
    if who in STRANGERS:
        secrets = set[str]().union(*world.places.values()) - set(ids.values())
        assert not any(word in answer.text for word in secrets)


@pytest.mark.parametrize("route", ROUTES)
def test_a_stranger_is_never_told_that_something_is_there_but_not_theirs(route: str) -> None:
    assert not {str(ROUTES[route].get(who, ""))[:3] for who in STRANGERS} & {"403", "409"}


async def forget_tries(settings: Settings) -> None:
    """Too many tries are too many for everybody, so no call should be the one too many."""
    client = valkey.Redis.from_url(settings.valkey_url)
    await client.flushdb()
    await client.aclose()


async def ask(http: httpx.AsyncClient, world: World, route: str, who: str, ids: dict[str, str]) -> httpx.Response:
    """Make the call that the row is about: the same one for everybody."""
    operation, rng = OPERATIONS[route], random.Random(0)
    path = path_of(route, ids) + QUERIES.get(route, "")
    headers = await world.sign_in(who)
    if route == STREAM:
        headers["last-event-id"] = str(world.head)
    return await send(http, route, path, headers=headers, json=body_of(route, operation, ids, rng))
