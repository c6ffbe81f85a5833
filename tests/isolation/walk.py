"""People of three companies, who call whatever the api has with each other's ids, at random and by a seed.

Everything that a company holds has words of its own: its ids, and names that begin with `mk`. The walk knows whom each
word is for, by rules written down here a second time. An answer that tells somebody a word not for them leaks. So does
an answer to a call with such a word if it differs from that to the same call with a word that nobody has.
"""

import base64
import binascii
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID, uuid4

import asyncpg
import httpx
import redis.asyncio as valkey
from tests.architecture.test_isolation import add_drawing, add_job, add_rfi, file_away, fill
from tests.conftest import Company
from tests.isolation.calls import STREAM, body_of, face, path_of, routes, send
from tests.isolation.test_routes import add_device, add_key, add_session
from tests.modules.notifications.test_stream import announce, relay

from buildpeer.platform import clock
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id
from buildpeer.platform.realtime import Wakeups

CROWD = (
    ("owner", "owner", ""),
    ("manager", "manager", ""),
    ("residente", "residente", "tower"),
    ("field", "empleado_obra", "tower"),
    ("field_out", "empleado_obra", "school"),
    ("investor", "inversionista", "tower"),
    ("removed", None, "tower"),
)
KINDS = (
    "tenant_id",
    "person_id",
    "email",
    "project_id",
    "upload_id",
    "sha256",
    "document_id",
    "invitation_id",
    "key_id",
    "device_id",
    "session_id",
    "rfi_id",
    "job_id",
    "entry_id",
    "conflict_id",
    "bitacora_id",
    "report_id",
    "folder_id",
    "album_id",
    "pair_id",
    "link_id",
    "location_id",
    "trade_id",
    "company_id",
    "endpoint_id",
    "message_id",
    "area_id",
    "set_id",
    "drawing_id",
    "revision_id",
    "filing_id",
    "pin_id",
)
_SORTS = {"rfis": ("number", "-due_date"), "drawings": ("number",)}  # other lists go by name or code
_FIXED = {
    "number": "1",
    "position": "1",
    "folio": "1",
    "role": "supervisor",
    "log_date": "2026-10-01",
    "measured_on": "2026-10-02",
}
RESTORED_EVERY = 60
SELDOM = {  # they hash passwords, or wait
    **dict.fromkeys(("POST /v1/sessions", "PUT /v1/me/password", "POST /v1/password-resets/completion"), 0.15),
    **dict.fromkeys((STREAM, "POST /v1/invitations/acceptance", "GET /v1/audit/export"), 0.5),
    **dict.fromkeys(("DELETE /v1/members/{person_id}", "DELETE /v1/api-keys/{key_id}"), 0.5),
    "POST /v1/projects/{project_id}/uploads": 3.0,
}
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_WORD = re.compile(rf"{_UUID}|mk[0-9a-f]{{12}}|(?<![0-9a-f])[0-9a-f]{{64}}(?![0-9a-f])")
_BASE64 = re.compile(r"[A-Za-z0-9_+/-]{40,}={0,2}")

# Every word that a row of these tenants holds: what kind of id it is, and whom it is for.
_HARVEST = """
select * from (
  select 'tenant_id' as kind, t.tenant_id::text || ' ' || t.name as words, t.tenant_id, null::uuid as project_id,
    'member' as level, null::uuid as person_id, t.created_at from tenants t
  union all select 'person_id', m.person_id::text, m.tenant_id, null, 'member', m.person_id, m.created_at
    from memberships m
  union all select 'email', p.email || ' ' || p.name, m.tenant_id, null, 'people', m.person_id, m.created_at
    from memberships m join people p using (person_id)
  union all select 'project_id', concat_ws(' ', project_id, code, name), tenant_id, project_id, 'project', null,
    created_at from projects
  union all select 'upload_id', concat_ws(' ', upload_id, name, encode(sha256, 'hex')), tenant_id, project_id, 'files',
    null, created_at from uploads
  union all select 'sha256', encode(sha256, 'hex'), tenant_id, project_id, 'files', null, created_at from documents
  union all select 'document_id', concat_ws(' ', document_id, name), tenant_id, project_id, 'files', null, created_at
    from documents
  union all select 'invitation_id', concat_ws(' ', invitation_id, email), tenant_id, null, 'managers', null, created_at
    from invitations
  union all select 'key_id', concat_ws(' ', key_id, name), tenant_id, null, 'managers', null, created_at from api_keys
  union all select 'device_id', concat_ws(' ', device_id, name), tenant_id, null, 'managers', person_id, created_at
    from devices
  union all select 'session_id', concat_ws(' ', session_id, device, tenant_id), tenant_id, null, 'managers', person_id,
    created_at
    from sessions
  union all select 'rfi_id', concat_ws(' ', r.rfi_id, r.subject, y.reply_id, y.body), r.tenant_id, r.project_id,
    case when r.private or r.status = 'draft' then 'managers' else 'files' end, null, r.created_at
    from rfis r left join rfi_replies y using (tenant_id, rfi_id)
  union all select 'rfi_id', concat_ws(' ', r.rfi_id, r.subject, y.reply_id, y.body), r.tenant_id, null, 'managers',
    i.person_id, r.created_at
    from rfis r left join rfi_replies y using (tenant_id, rfi_id)
    cross join unnest(r.created_by || r.assignees || r.distribution) as i (person_id)
  union all select 'entry_id', concat_ws(' ', entry_id, fields ->> 'text'), tenant_id, project_id, 'files', null,
    created_at from daily_log_entries
  union all select 'conflict_id', concat_ws(' ', conflict_id, value ->> 0), tenant_id, project_id, 'files', null,
    created_at from daily_log_conflicts
  union all select 'bitacora_id', concat_ws(' ', bitacora_id, title), tenant_id, project_id, 'leads', null, created_at
    from bitacoras
  union all select 'report_id', concat_ws(' ', report_id, content ->> 'title'), tenant_id, project_id,
    case when published_at is null then 'leads' else 'published' end, null, created_at from progress_reports
  union all select 'folder_id', concat_ws(' ', folder_id, name), tenant_id, project_id, 'files', null, created_at
    from folders
  union all select 'album_id', concat_ws(' ', album_id, name), tenant_id, project_id, 'files', null, created_at
    from albums
  union all select 'pair_id', concat_ws(' ', pair_id, title), tenant_id, project_id, 'files', null, created_at
    from photo_pairs
  union all select 'link_id', concat_ws(' ', link_id, note), tenant_id, null, 'managers', created_by, created_at
    from share_links
  union all select 'location_id', concat_ws(' ', location_id, name), tenant_id, project_id, 'project', null, created_at
    from locations
  union all select 'trade_id', concat_ws(' ', trade_id, name), tenant_id, null, 'member', null, created_at from trades
  union all select 'company_id', concat_ws(' ', company_id, name), tenant_id, null, 'managers', null, created_at
    from companies
  union all select 'company_id', concat_ws(' ', c.company_id, c.name), c.tenant_id, pc.project_id, 'project', null,
    c.created_at
    from companies c join project_companies pc on pc.tenant_id = c.tenant_id and pc.company_id = c.company_id
  union all select 'day', name, tenant_id, project_id, 'project', null, day::timestamptz from calendar_days
  union all select 'endpoint_id', concat_ws(' ', endpoint_id, description), tenant_id, null, 'managers', null,
    created_at from webhook_endpoints
  union all select 'message_id', message_id::text, tenant_id, null, 'managers', endpoint_id, occurred_at
    from webhook_deliveries
  union all select 'area_id', concat_ws(' ', area_id, name), tenant_id, project_id, 'files', null, created_at
    from drawing_areas
  union all select 'set_id', concat_ws(' ', set_id, name), tenant_id, project_id, 'files', null, created_at
    from drawing_sets
  union all select 'drawing_id', concat_ws(' ', drawing_id, number, title), tenant_id, project_id, 'files', null,
    created_at from drawings
  union all select 'revision_id', concat_ws(' ', revision_id, title), tenant_id, project_id, 'files', null, published_at
    from drawing_revisions
  union all select 'pin_id', concat_ws(' ', pin_id, label), tenant_id, project_id, 'files', null, created_at
    from drawing_pins
  union all select 'filing_id', concat_ws(' ', filing_id, (select string_agg(s.number || ' ' || s.title, ' ')
      from drawing_sheets s where s.tenant_id = f.tenant_id and s.filing_id = f.filing_id)),
    tenant_id, null, 'managers', created_by, created_at from drawing_filings f
  union all select 'job_id', job_id::text, tenant_id, null, 'one', created_by, created_at from jobs
) as all_words where tenant_id = any ($1) order by created_at, kind, words
"""
_RIGHTS = """
select m.tenant_id, m.role, array(select p.project_id from projects p where p.tenant_id = m.tenant_id
  and (m.role in ('owner', 'manager') or exists (select from project_members pm
    where pm.tenant_id = p.tenant_id and pm.project_id = p.project_id and pm.person_id = m.person_id))) as projects
from memberships m where m.person_id = $1
"""
# What a list holds when it is asked for whole: for this tenant, and these projects.
_LISTS = {
    "GET /v1/projects": "select project_id::text from projects where tenant_id = $1 and project_id = any ($2)",
    "GET /v1/uploads": """select upload_id::text from uploads where tenant_id = $1 and project_id = any ($2)
        order by created_at desc, upload_id desc limit 200""",
    "GET /v1/documents": """select document_id::text from documents where tenant_id = $1 and project_id = any ($2)
        and superseded_at is null and archived_at is null order by created_at desc, document_id desc limit 200""",
    "GET /v1/members": "select person_id::text from memberships where tenant_id = $1 and $2::uuid[] is not null",
}


class Leak(AssertionError):  # noqa: N818
    """Somebody was told what isn't for them."""


@dataclass(frozen=True)
class Audience:
    """Whom a word is for: a level of a tenant, in one project or none; and the person whom it is about."""

    tenant_id: UUID
    project_id: UUID | None
    level: str
    person_id: UUID | None


@dataclass(frozen=True)
class Rights:
    """What somebody is, at this moment, in the tenant that they call from; and to which ones they belong."""

    person_id: UUID
    tenant_id: UUID
    role: str | None
    projects: frozenset[UUID]
    tenants: frozenset[UUID]

    def may_read(self, audience: Audience) -> bool:
        if audience.person_id == self.person_id:
            return True
        if audience.level == "member" and audience.person_id is None and audience.tenant_id in self.tenants:
            return True
        if self.role is None or audience.tenant_id != self.tenant_id:
            return False
        if self.role in ("owner", "manager"):
            return audience.level != "one"
        match audience.level:
            case "member":
                return True
            case "people":
                return self.role == "residente"
            case "project":
                return audience.project_id in self.projects
            case "leads":  # and the parties, of which there are none but by these
                return audience.project_id in self.projects and self.role == "residente"
            case "published":
                return audience.project_id in self.projects and self.role in ("residente", "inversionista")
            case "files":
                return audience.project_id in self.projects and self.role != "inversionista"
        return False


@dataclass
class Actor:
    """Somebody who calls, what they are meant to be, and what they call by."""

    name: str
    company: Company
    caller: Caller
    role: str | None
    project: str
    secret: str = ""  # of a machine

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"} if self.secret else self.company.bearer(self.caller)


class Picked(dict[str, str]):
    """Ids, picked when a call asks for them; so it knows afterwards which it asked for."""

    def __init__(self, walk: "Walk", actor: Actor, rights: Rights, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self._walk, self._actor, self._rights = walk, actor, rights

    def __missing__(self, name: str) -> str:
        self[name] = value = self._walk.pick(name, self, self._rights)
        return value


@dataclass
class Walk:
    """A walk by one seed."""

    seed: int
    http: httpx.AsyncClient
    admin: asyncpg.Connection
    worker_db: Database
    wakeups: Wakeups
    tokens: Tokens
    settings: Settings
    password_hash: str
    only: tuple[str, ...] = ()  # routes; none: all
    calls: Counter[str] = field(default_factory=Counter)  # of each route
    compared: Counter[str] = field(default_factory=Counter)  # calls with others' ids, by route
    statuses: Counter[int] = field(default_factory=Counter)

    async def begin(self) -> None:
        """Found the companies."""
        self.rng = random.Random(self.seed)
        self.operations = {r: o for r, o in routes().items() if not self.only or r in self.only}
        self.audiences: defaultdict[str, set[Audience]] = defaultdict(set)
        self.said: defaultdict[UUID, set[str]] = defaultdict(set)  # what people of a tenant said themselves
        self.pool: defaultdict[str, list[str]] = defaultdict(list)
        self.cursors: defaultdict[str, list[str]] = defaultdict(list)  # of pages, whoever got them
        self.actors: list[Actor] = []
        self.companies = [await Company(self.admin, self.tokens, self.password_hash).found() for _ in range(3)]
        self.valkey = valkey.Redis.from_url(self.settings.valkey_url)
        self.start = await self.admin.fetchval("select position from event_log_head")
        first, second, _ = self.companies
        for number, company in enumerate(self.companies):
            for name, role, project in CROWD:
                caller = await company.hire(role or "manager", company.tower)
                self.actors.append(Actor(f"{name} {number}", company, caller, role, project))
        owner, worker = self.actors[0], self.actors[3]
        machine = await add_key(self.admin, owner.caller, uuid4(), {"files": "standard", "people": "admin"})
        self.actors.append(Actor("machine 0", first, owner.caller, "owner", "", machine))
        elsewhere = Caller(worker.caller.person_id, second.tenant_id, uuid4())
        self.actors.append(Actor("field 0 in 1", second, elsewhere, "manager", ""))
        stranger = Caller(uuid4(), first.tenant_id, uuid4())
        self.actors.append(Actor("nobody", first, stranger, None, ""))
        for company in self.companies:
            await self._mark(company)
        await self.restore()
        self.coming = list(self.operations) * 2  # each at least twice
        self.rng.shuffle(self.coming)

    async def run(self, steps: int) -> None:
        """So many calls, and the ones that they are compared with."""
        for number in range(steps):
            if number and number % RESTORED_EVERY == 0:
                await self.restore()
            await self.step(number)

    async def end(self) -> None:
        """Leave nothing behind that others would stumble over."""
        await self.valkey.aclose()
        await self.admin.execute("delete from mails where recipient like 'mk%'")

    def word(self) -> str:
        """A name that nothing else has; like the ids that the api makes, it is another one in each walk by a seed."""
        return f"mk{uuid4().hex[:12]}"

    async def restore(self) -> None:
        """Put people back where they belong, give every project a file, news and a device, and seal the trail."""
        await self.admin.execute("update jobs set state = 'cancelled', due_at = null where due_at is not null")
        for actor in self.actors:
            await self._put_back(actor)
        for company in self.companies:
            by = next(a for a in self.actors if a.company is company and a.name.startswith("field "))
            for project in (company.tower, company.school):
                content = self.word()
                self.audiences[content].add(Audience(company.tenant_id, project, "files", None))
                person = by.caller.person_id
                document = await fill(
                    self.admin, self.worker_db, company, project, person, name=self.word(), content=content
                )
                await file_away(self.admin, company, project, person, document, name=self.word())
                await announce(self.worker_db, company, content, project=project)
            await add_device(self.admin, by.caller, uuid4())
            for private in (False, True):
                await add_rfi(
                    self.admin,
                    *(company.tenant_id, company.tower, by.caller.person_id),
                    name=self.word(),
                    private=private,
                )
            await add_job(self.admin, by.caller, company.tower)
            residente = next(a for a in self.actors if a.company is company and a.name.startswith("residente"))
            who = residente.caller.person_id
            drawn = await fill(self.admin, self.worker_db, company, company.tower, who, name=self.word())
            await add_drawing(self.admin, company, company.tower, who, document=drawn, name=self.word())
            await self.worker_db.call("select audit.seal($1)", company.tenant_id)
        await relay(self.worker_db, None, self.wakeups)
        await self.harvest()

    async def step(self, number: int) -> None:
        """One call, and what it tells."""
        actor, route = self.rng.choice(self.actors), self._route()
        rights = await self._rights(actor)
        seed = self.rng.getrandbits(32)
        given = {"text": self.word()}
        if route == "POST /v1/projects/{project_id}/uploads" and self.rng.random() < 0.7:
            given["upload_id"] = str(new_id())
        ids = Picked(self, actor, rights, given)
        path, body = self._request(route, ids, seed)
        await self.valkey.flushdb()  # too many tries are too many for everybody
        answer = await self._send(actor, route, path, body)
        self.calls[route] += 1
        self.statuses[answer.status_code] += 1
        asked = set(_WORD.findall(f"{unquote(path)} {json.dumps(body)}"))
        told = f"seed {self.seed}, step {number}: {actor.name} ({rights.role}): {route} {path} {body}"
        self._check_words(answer, rights, asked | self._of_the_trail(route, rights), told)
        await self._check_numbers(route, path, answer, rights, told)
        await self._check_against_nobodys(actor, rights, route, ids, seed, answer, told)
        if '"next_cursor":"' in answer.text:
            self.cursors[route].append(quote(answer.json()["next_cursor"]))
        if answer.is_success and (not route.startswith("GET") or route == "GET /v1/audit/export"):
            self.said[actor.caller.tenant_id] |= asked  # their own trail tells it to them
            await self.harvest()
        if answer.status_code == 401 and not actor.secret:
            await self._sign_in(actor)
            await self.harvest()

    def _of_the_trail(self, route: str, rights: Rights) -> set[str]:
        """Jobs, which owners and managers learn of by their trail alone: that there are some, and whose."""
        if not route.startswith("GET /v1/audit"):
            return set()
        return {j for j in self.pool["job_id"] if any(a.tenant_id == rights.tenant_id for a in self.audiences[j])}

    async def harvest(self) -> None:
        """Note all that the companies hold by now, and whom it is for."""
        tenants = [company.tenant_id for company in self.companies]
        for row in await self.admin.fetch(_HARVEST, tenants):
            audience = Audience(row["tenant_id"], row["project_id"], row["level"], row["person_id"])
            words = _WORD.findall(row["words"])
            if words and words[0] not in self.pool[row["kind"]]:
                self.pool[row["kind"]].append(words[0])
            for word in words:
                self.audiences[word].add(audience)

    def pick(self, name: str, ids: Mapping[str, str], rights: Rights) -> str:
        """An id of this kind: one's own about half the time, else anybody's. Raises KeyError for an unknown kind."""
        if name == "challenge":
            return self.tokens.challenge(UUID(ids["device_id"]), now=clock.now())
        if name in _FIXED:
            return _FIXED[name]
        if name == "after_id":
            return self._any("document_id", rights)
        if name == "day":
            return f"2026-12-{self.rng.randrange(10, 31)}"
        if name == "older_id":
            return self._any("revision_id", rights)
        if name == "target_id":
            return self._any("document_id", rights)
        if name == "letter_id":
            return self._nobodys(name)
        if name == "email":
            return f"{self._any(name, rights).partition('@')[0]}@example.test"
        of = {"device_id": "person_id", "message_id": "endpoint_id"}.get(name)
        if of in ids and self.rng.random() < 0.7:
            theirs = [d for d in self.pool[name] if any(str(a.person_id) == ids[of] for a in self.audiences[d])]
            if theirs:
                return self.rng.choice(theirs)
        if name == "sha256" and self.rng.random() < 0.3:
            return f"{self.rng.getrandbits(256):064x}"
        return self._any(name, rights)

    def _any(self, kind: str, rights: Rights) -> str:
        if kind not in KINDS:
            raise KeyError(f"nobody knows how to fill {kind}")
        if not self.pool[kind]:
            return self._nobodys(kind)
        own = [word for word in self.pool[kind] if self._may_read(word, rights)]
        return self.rng.choice(own if own and self.rng.random() < 0.5 else self.pool[kind])

    def _may_read(self, word: str, rights: Rights) -> bool:
        audiences = self.audiences.get(word)
        return not audiences or any(rights.may_read(audience) for audience in audiences)

    def _route(self) -> str:
        if self.coming:
            return self.coming.pop()
        return self.rng.choices(list(self.operations), [SELDOM.get(route, 1.0) for route in self.operations])[0]

    def _request(self, route: str, ids: Mapping[str, str], seed: int) -> tuple[str, Any]:
        rng = random.Random(seed)
        query = self._query(route, ids, rng)
        return path_of(route, ids) + query, body_of(route, self.operations[route], ids, rng)

    def _query(self, route: str, ids: Mapping[str, str], rng: random.Random) -> str:
        """Parameters as the api describes them. Raises KeyError for one that nobody knows how to fill."""
        if route.endswith("/calendar"):
            return "?from=2026-12-01&to=2026-12-31"
        fillers = {
            "project_id": lambda: ids["project_id"],
            "person_id": lambda: ids["person_id"],
            "key_id": lambda: ids["key_id"],
            "object_id": lambda: ids[rng.choice(["upload_id", "project_id", "person_id"])],
            "object_type": lambda: rng.choice(["uploads", "projects", "memberships", "documents"]),
            "action": lambda: rng.choice(["insert", "update", "delete", "download"]),
            "from": lambda: "2020-01-01T00:00:00Z",
            "to": lambda: "2120-01-01T00:00:00Z",
            "unread": lambda: "true",
            "state": lambda: "delivered" if "/webhooks/" in route else rng.choice(["requested", "ready", "cancelled"]),
            "format": lambda: rng.choice(["csv", "json"]),
            "status": lambda: rng.choice(["open", "void"]),
            "ball_in_court": lambda: ids["person_id"],
            "mine": lambda: "true",
            "assignee_id": lambda: ids["person_id"],
            "location_id": lambda: ids["location_id"],
            "trade_id": lambda: ids["trade_id"],
            "overdue": lambda: "true",
            "rfi_id": lambda: ids["rfi_id"],
            "q": lambda: ids["text"],
            "tag": lambda: ids["text"],
            "kind": lambda: rng.choice(["photo", "plan", "note", "weather"]),
            "folder_id": lambda: ids["folder_id"],
            "document_id": lambda: ids["document_id"],
            "album_id": lambda: ids["album_id"],
            "created_by": lambda: ids["person_id"],
            "starred": lambda: "true",
            "since": lambda: "2020-01-01T00:00:00Z",
            "until": lambda: "2120-01-01T00:00:00Z",
            **{side: lambda: str(rng.randint(1, 60)) for side in ("east", "north")},
            **{side: lambda: str(rng.randint(-60, -1)) for side in ("west", "south")},
            "discipline": lambda: "other",
            "area_id": lambda: ids["area_id"],
            "set_id": lambda: ids["set_id"],
            "target_id": lambda: ids["target_id"],
            "obsolete": lambda: "false",
            "queue": lambda: "buildpeer-scan-live",
            "class": lambda: rng.choice(["opening", "order"]),
            "deleted": lambda: "true",
            "resolved": lambda: "true",
            "archived": lambda: rng.choice(["true", "false"]),
            "phase": lambda: rng.choice(["construction", "warranty"]),
            "sort": lambda: rng.choice(_SORTS.get(route.rsplit("/", 1)[1], ("name", "code"))),
            "role": lambda: rng.choice(["residente", "manager"]),
            "company_id": lambda: ids["company_id"],
            "parent_id": lambda: ids["location_id"],
            "limit": lambda: str(rng.choice([1, 7, 200])),
            "cursor": lambda: rng.choice(self.cursors[route]),
        }
        wanted = [p["name"] for p in self.operations[route].get("parameters", []) if p["in"] == "query"]
        known = {name: fillers[name] for name in wanted}
        if "limit" in known and rng.random() < 0.4:
            return "?limit=200"
        if not self.cursors[route]:
            known.pop("cursor", None)
        chosen = {name: value() for name, value in known.items() if rng.random() < 0.3}
        return "?" + "&".join(f"{name}={value}" for name, value in chosen.items()) if chosen else ""

    async def _send(self, actor: Actor, route: str, path: str, body: Any) -> httpx.Response:
        headers = actor.headers()
        if route == STREAM:
            headers["last-event-id"] = str(self.start)
        return await send(self.http, route, path, headers=headers, json=body)

    def _check_words(self, answer: httpx.Response, rights: Rights, asked: set[str], told: str) -> None:
        known = asked | self.said[rights.tenant_id]
        for word in words_of(answer) - known:
            if not self._may_read(word, rights):
                raise Leak(f"{told}\ntold {word}, which is for {self.audiences[word]}\n{answer.text[:2000]}")

    async def _check_numbers(self, route: str, path: str, answer: httpx.Response, rights: Rights, told: str) -> None:
        """Lists hold what is theirs, no less and no more; sums are those of the company."""
        if answer.status_code != 200:
            return
        if route == "GET /v1/storage":
            entries = "select coalesce(sum(bytes), 0)::bigint from storage_entries where tenant_id = $1"
            if answer.json()["used_bytes"] != await self.admin.fetchval(entries, rights.tenant_id):
                raise Leak(f"{told}\n{answer.text}")
        if route in _LISTS and path.endswith("?limit=200"):
            unseen = route in ("GET /v1/uploads", "GET /v1/documents") and rights.role == "inversionista"
            projects = [] if unseen else list(rights.projects)
            expected = {row[0] for row in await self.admin.fetch(_LISTS[route], rights.tenant_id, projects)}
            items = answer.json()["items"]
            name = {"projects": "project_id", "members": "person_id"}.get(route[8:], f"{route[8:-1]}_id")
            if {item[name] for item in items} != expected:
                raise Leak(f"{told}\nexpected {expected}\n{answer.text[:2000]}")

    async def _check_against_nobodys(
        self,
        actor: Actor,
        rights: Rights,
        route: str,
        ids: Mapping[str, str],
        seed: int,
        answer: httpx.Response,
        told: str,
    ) -> None:
        """What isn't there for somebody looks like what isn't there."""
        foreign = {name for name, word in ids.items() if not self._may_read(word.partition("@")[0], rights)}
        opening = route == "POST /v1/projects/{project_id}/uploads"
        if opening and "upload_id" in foreign and self._is_taken(ids["upload_id"], rights.tenant_id):
            # An id is one of a kind in a company, so one that is taken can't be given again; no more is told of it.
            for result in answer.json().get("results", []):
                if (result["verdict"], result["upload"], result["put"]) != ("conflict", None, None):
                    raise Leak(f"{told}\n{answer.text}")
            return
        if not foreign:
            return
        nobodys = dict(ids) | {name: self._nobodys(name) for name in foreign}
        if "challenge" in ids:
            nobodys["challenge"] = self.tokens.challenge(UUID(nobodys["device_id"]), now=clock.now())
        if opening and ids["upload_id"] not in self.audiences:
            nobodys["upload_id"] = str(new_id())  # the one before is open by now
        path, body = self._request(route, nobodys, seed)
        await self.valkey.flushdb()
        other = await self._send(actor, route, path, body)
        self.compared[route] += 1
        one, two = face(answer, ids.values()), face(other, nobodys.values())
        if one != two:
            raise Leak(f"{told}\ndiffers from what nobody has ({path} {body}):\n{one}\n{two}")

    def _is_taken(self, upload_id: str, tenant_id: UUID) -> bool:
        return any(audience.tenant_id == tenant_id for audience in self.audiences[upload_id])

    def _nobodys(self, name: str) -> str:
        if name == "sha256":
            return f"{random.getrandbits(256):064x}"
        if name == "email":
            return f"{self.word()}@example.test"
        return str(new_id() if name in ("upload_id", "document_id", "rfi_id") else uuid4())

    async def _rights(self, actor: Actor) -> Rights:
        rows = await self.admin.fetch(_RIGHTS, actor.caller.person_id)
        here = next((row for row in rows if row["tenant_id"] == actor.caller.tenant_id), None)
        return Rights(
            actor.caller.person_id,
            actor.caller.tenant_id,
            here["role"] if here else None,
            frozenset(here["projects"]) if here else frozenset(),
            frozenset(row["tenant_id"] for row in rows),
        )

    async def _mark(self, company: Company) -> None:
        """Give all that a company begins with names of its own."""
        await self.admin.execute("update tenants set name = $2 where tenant_id = $1", company.tenant_id, self.word())
        for project in (company.tower, company.school):
            await self.admin.execute(
                "update projects set code = $2, name = $3 where project_id = $1", project, self.word(), self.word()
            )
        for actor in self.actors:
            if actor.company is company:
                await self.admin.execute(
                    "update people set email = $2, name = $3 where person_id = $1",
                    *(actor.caller.person_id, f"{self.word()}@example.test", self.word()),
                )

    async def _put_back(self, actor: Actor) -> None:
        tenant_id, person_id = actor.caller.tenant_id, actor.caller.person_id
        if actor.name == "nobody":
            return
        if actor.secret:
            await self.admin.execute("update api_keys set revoked_at = null where tenant_id = $1", tenant_id)
            return
        await self._sign_in(actor)
        if actor.role is None:
            await self.admin.execute(
                "delete from memberships where tenant_id = $1 and person_id = $2", tenant_id, person_id
            )
            return
        await self.admin.execute(
            """insert into memberships (tenant_id, person_id, role) values ($1, $2, $3)
            on conflict (tenant_id, person_id) do update set role = excluded.role""",
            *(tenant_id, person_id, actor.role),
        )
        await self.admin.execute(
            "delete from project_members where tenant_id = $1 and person_id = $2", tenant_id, person_id
        )
        if actor.project:
            await self.admin.execute(
                "insert into project_members (tenant_id, project_id, person_id) values ($1, $2, $3)",
                *(tenant_id, getattr(actor.company, actor.project), person_id),
            )

    async def _sign_in(self, actor: Actor) -> None:
        if await self.admin.fetchval("select true from people where person_id = $1", actor.caller.person_id):
            actor.caller = Caller(actor.caller.person_id, actor.caller.tenant_id, uuid4())
            await add_session(self.admin, actor.caller, actor.caller.session_id)


def words_of(answer: httpx.Response) -> set[str]:
    """Every id and name in an answer: in its body, its headers, and in what they hold in base64, as cursors do."""
    text = unquote(answer.text + json.dumps(dict(answer.headers)))
    return set(_WORD.findall("\n".join([text, *_decoded(_BASE64.findall(text))])))


def _decoded(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        try:
            yield base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_").decode(
                "latin-1"
            )
        except binascii.Error:
            continue
