"""Pure rules of notices: what is told to whom, when bursts are over and mails due, when a delivery is tried again."""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from buildpeer.platform.errors import Problem

Audience = Literal["people", "managers", "uploader", "addressee"]
MailRhythm = Literal["at_once", "hourly", "daily", "never"]
DeliveryState = Literal["waiting", "delivered", "failed"]
Disabled = Literal["by_owner", "failing", "gone"]


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """What an event becomes: the `name` that notices and webhooks know it by, and who is told.

    `told`: `people` whom the event itself names, the `managers` (owners, too), the `uploader`, or the one `addressee`
    of an event for one person; nobody where it is empty. Of these only who sees the project and the `tool` is.
    `states`: only events whose thing is in one of these. `bursts`: told when it is quiet again, as one, with a count.
    `id_field` names the thing, `link` is where to read more.
    """

    name: str
    told: tuple[Audience, ...]
    tool: str
    id_field: str
    link: str = "/v1/projects/{project_id}"
    states: tuple[str, ...] = ()
    bursts: bool = False
    webhook: bool = True


_DOCUMENTS: Any = {"tool": "files", "id_field": "document_id", "link": "/v1/documents?project_id={project_id}"}

# Which events of the log are told, as what, to whom. A module that announces something new adds a row here, its words
# to `platform/messages.py`, and nothing else.
TOPICS: dict[str, Topic] = {
    # event of the log        topic                           who is told             tool
    "document.added": Topic(name="documents.added", told=("managers",), bursts=True, **_DOCUMENTS),
    "document.erased": Topic(name="documents.erased", told=(), bursts=True, **_DOCUMENTS),
    "document.withdrawn": Topic(name="documents.withdrawn", told=("managers",), bursts=True, **_DOCUMENTS),
    "document.returned": Topic(name="documents.returned", told=("managers",), bursts=True, **_DOCUMENTS),
    "upload.changed": Topic(
        name="upload.blocked",
        told=("uploader",),
        tool="files",
        id_field="upload_id",
        link="/v1/uploads/{id}",
        states=("quarantined", "unscannable", "mismatched", "failed"),
    ),
    "job.changed": Topic(
        name="job.ended",
        told=("addressee",),
        tool="projects",
        id_field="job_id",
        link="/v1/jobs/{id}",
        states=("done", "failed"),
        webhook=False,
    ),
    "drawing.published": Topic(name="drawings.published", told=("people",), tool="files", id_field="document_id"),
    "rfi.changed": Topic(name="rfi.changed", told=("people",), tool="rfis", id_field="rfi_id"),
    "rfi.reminded": Topic(name="rfi.reminded", told=("people",), tool="rfis", id_field="rfi_id"),
    "daily_log.completed": Topic(
        name="daily_log.completed", told=("people", "managers"), tool="daily_logs", id_field="log_date"
    ),
    "daily_log.reopened": Topic(
        name="daily_log.reopened", told=("people", "managers"), tool="daily_logs", id_field="log_date"
    ),
    "daily_log.distributed": Topic(
        name="daily_log.distributed", told=("people",), tool="daily_logs", id_field="log_date"
    ),
    "bitacora.note_issued": Topic(
        name="bitacora.note_issued", told=("people",), tool="daily_logs", id_field="bitacora_id"
    ),
    "bitacora.note_signed": Topic(
        name="bitacora.note_signed", told=("people",), tool="daily_logs", id_field="bitacora_id"
    ),
    "progress_report.published": Topic(
        name="progress_report.published", told=("people",), tool="reports", id_field="report_id"
    ),
}
TEST = "test"
WEBHOOK_TYPES = tuple(topic.name for topic in TOPICS.values() if topic.webhook)
BY_NAME = {topic.name: topic for topic in TOPICS.values()}

QUIET = timedelta(seconds=20)  # after the last one a burst is over
LONGEST_BURST = timedelta(minutes=10)  # and told even if it isn't
MOST_IDS = 100

GIVE_UP = timedelta(days=3)
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=12)
LEASE = timedelta(seconds=60)
AT_ONCE = 64  # deliveries of one worker
AT_ONCE_PER_ENDPOINT = 4
AT_ONCE_PER_TENANT = 16
BOTH_SECRETS = timedelta(days=1)
MOST_ENDPOINTS = 20
MESSAGES_KEPT = timedelta(days=30)
NOTICES_KEPT = timedelta(days=180)
DIGEST_HOUR = 8
USUAL_MAIL: MailRhythm = "daily"
MOST_LINES = 20  # of one mail
SECRET_PREFIX = "whsec_"  # noqa: S105 - which the specification asks for
_TEXT_KEPT = 300
_NOT_FACTS = frozenset({"people", "only_for", "ball_in_court", "by", "published_by", "created_by"})
_NAT64 = ipaddress.ip_network("64:ff9b::/32")  # both prefixes for addresses of IPv4 (RFC 6052, RFC 8215)


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell: one event, or a whole burst, whose `position` is its last one's.

    `people` are those whom it names; of these only who is in `only_for`, where there is one, and managers may hear of
    it. `facts` say what it is about, of a burst the first one's; `ids` which things, the first hundred.
    """

    topic: str
    position: int
    project_id: UUID | None
    occurred_at: datetime
    facts: Mapping[str, Any]
    ids: Sequence[str] = ()
    count: int = 1
    people: Sequence[UUID] = ()
    by: UUID | None = None
    only_for: Sequence[UUID] | None = None


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """What came since it was last quiet, of one topic in one project; over at `due_at` if nothing more comes."""

    project_id: UUID
    topic: str
    first_position: int
    last_position: int
    began_at: datetime
    ended_at: datetime
    due_at: datetime
    count: int
    facts: Mapping[str, Any]
    ids: Sequence[str]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody of the company as things stand now, the projects that they were put into, and the tools they may see."""

    person_id: UUID
    role: str
    projects: frozenset[UUID]
    tools: frozenset[str]


def read(event_type: str, body: Mapping[str, Any], *, person_id: UUID | None, **place: Any) -> Happening | None:
    """What an event of the log has to tell, None for nothing. Whatever its body holds, it raises nothing."""
    topic = TOPICS.get(event_type)
    thing = _thing(body)
    if topic is None or (topic.states and thing.get("state") not in topic.states):
        return None
    named = {
        "people": _ids(thing.get("people")) + _ids(body.get("people")),
        "uploader": _ids([thing.get("created_by")]),
        "addressee": [person_id] if person_id else [],
    }
    facts = {name: _short(value) for name, value in thing.items() if name not in _NOT_FACTS and _is_plain(value)}
    by = _ids([thing.get("by") or thing.get("published_by")])
    return Happening(
        topic=topic.name,
        people=list(dict.fromkeys(person for audience in topic.told for person in named.get(audience, []))),
        by=by[0] if by else None,
        only_for=_ids(body["only_for"]) if isinstance(body.get("only_for"), list) else None,
        facts=facts,
        ids=[str(thing[topic.id_field])] if topic.id_field in thing else [],
        **place,
    )


def gather(bursts: Iterable[Burst], happenings: Iterable[Happening]) -> tuple[list[Burst], list[Happening]]:
    """Put what comes in bursts to those that are open, and give the changed ones, and what is to be told at once."""
    open_bursts = {(burst.project_id, burst.topic): burst for burst in bursts}
    changed: dict[tuple[UUID, str], Burst] = {}
    rest: list[Happening] = []
    for happening in happenings:
        if happening.project_id is None or not BY_NAME[happening.topic].bursts:
            rest.append(happening)
            continue
        place = (happening.project_id, happening.topic)
        changed[place] = open_bursts[place] = _grown(open_bursts.get(place), happening, happening.project_id)
    return list(changed.values()), rest


def over(burst: Burst) -> Happening:
    """A burst as what is told of it."""
    return Happening(
        topic=burst.topic,
        position=burst.last_position,
        project_id=burst.project_id,
        occurred_at=burst.ended_at,
        facts=burst.facts,
        ids=burst.ids,
        count=burst.count,
    )


def recipients(happening: Happening, members: Iterable[Member]) -> list[UUID]:
    """Who gets a notice: whom its topic is told to, of those who see the project and the tool now; nobody hears of what
    they did themselves.
    """
    topic = BY_NAME[happening.topic]
    named = frozenset(happening.people)
    return [
        member.person_id
        for member in members
        if (member.person_id in named or ("managers" in topic.told and _manages(member)))
        and member.person_id != happening.by
        and (happening.only_for is None or _manages(member) or member.person_id in happening.only_for)
        and _sees(member, happening.project_id, topic)
    ]


def payload(happening: Happening, *, web_url: str) -> dict[str, Any]:
    """What a webhook tells (https://www.standardwebhooks.com, "Payload structure"): what, when, and enough to ask for
    more.
    """
    return {
        "type": happening.topic,
        "timestamp": happening.occurred_at,
        "data": {
            "project_id": happening.project_id,
            "count": happening.count,
            "ids": happening.ids,
            "link": web_url + link(happening.topic, happening.project_id, happening.ids),
            "first": happening.facts,
        },
    }


def link(topic: str, project_id: UUID | None, ids: Sequence[str]) -> str:
    """Where to read more, below the api's address."""
    return BY_NAME[topic].link.format(project_id=project_id, id=ids[0] if ids else "")


def still_sees(member: Member, topic: str, project_id: UUID | None) -> bool:
    """Whether somebody may (still) be told of a topic in a project."""
    return _sees(member, project_id, BY_NAME[topic])


def is_public(happening: Happening) -> bool:
    """Whether webhooks are told of it: what is for few people isn't for another system."""
    return happening.only_for is None and BY_NAME[happening.topic].webhook


def mail_due(mail: MailRhythm, *, now: datetime, timezone: str) -> datetime | None:
    """When a notice of now goes out by mail; None: never. A day's mail goes out at 8:00 in `timezone` (an IANA name),
    an hour's on the hour.
    """
    match mail:
        case "never":
            return None
        case "at_once":
            return now
        case "hourly":
            return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        case "daily":
            there = now.astimezone(_zone(timezone))
            due = there.replace(hour=DIGEST_HOUR, minute=0, second=0, microsecond=0)
            due = due if there < due else due + timedelta(days=1)
            return due.astimezone(now.tzinfo)


class Fate(msgspec.Struct, frozen=True):
    """What becomes of a delivery: tried again at `due_at`; without one it is over. Its endpoint is disabled for a
    reason, if it has one.
    """

    state: DeliveryState
    due_at: datetime | None = None
    disabled: Disabled | None = None


def fate(status: int | None, *, tries: int, tried_at: datetime, failing_since: datetime | None, now: datetime) -> Fate:
    """What becomes of a delivery after an attempt that ended now with this HTTP status, None for no answer: any 2xx is
    success, 410 says that nobody listens any more. `tries`: bad ones up to now with this one, the first at `tried_at`.
    """
    if status is not None and 200 <= status < 300:
        return Fate("delivered")
    if status == 410:
        return Fate("failed", disabled="gone")
    due_at = now + pause(tries)
    if due_at <= tried_at + GIVE_UP:
        return Fate("waiting", due_at)
    nothing_got_through = failing_since is not None and failing_since <= tried_at
    return Fate("failed", disabled="failing" if nothing_got_through else None)


def pause(tries: int) -> timedelta:
    """How long a delivery rests after this bad try: 5 s, 20 s, 80 s … at most 12 hours."""
    return min(FIRST_PAUSE * 4 ** min(tries - 1, 10), LONGEST_PAUSE)


def check_timezone(name: str) -> str:
    """Raises Problem invalid for what is no IANA name."""
    if name not in available_timezones():
        raise Problem("invalid", "timezone must be an IANA name, like America/Lima")
    return name


def sign(secrets: Iterable[bytes], *, message_id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: each secret's HMAC-SHA256 of `id.timestamp.body`
    (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in secrets)


def spelled_secret(key: bytes) -> str:
    """A secret as the receiver is given it."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def check_url(url: str, *, loopback: bool) -> str:
    """Raises Problem webhook_url_refused for an address that no delivery may go to: only https, to a host that may be
    on the internet, with no name or password in it. `loopback`: this machine, too, over plain http as well.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise Problem("webhook_url_refused") from None
    here = loopback and host in ("localhost", "127.0.0.1", "::1")
    printable = url.isascii() and url.isprintable() and " " not in url
    if not host or not printable or parts.username is not None or parts.fragment or len(url) > 2000:
        raise Problem("webhook_url_refused")
    if parts.scheme != "https" and not (here and parts.scheme == "http"):
        raise Problem("webhook_url_refused")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" and not here:
            raise Problem("webhook_url_refused") from None
        return url
    if not may_connect(str(literal), loopback=loopback):
        raise Problem("webhook_url_refused")
    return url


def may_connect(address: str, *, loopback: bool) -> bool:
    """Whether a delivery may go to an IP address: one of the public internet, where no way leads back inside: not
    private, loopback, link-local (where clouds keep credentials), shared, multicast, nor one that holds one of IPv4.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if loopback and ip.is_loopback:
        return True
    if isinstance(ip, ipaddress.IPv6Address) and (
        ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip.is_site_local or ip in _NAT64
    ):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a name that no one here knows any more mustn't stop the log
        return ZoneInfo("UTC")


def _thing(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((value for value in body.values() if isinstance(value, dict)), {})


def _grown(burst: Burst | None, happening: Happening, project_id: UUID) -> Burst:
    if burst is None:
        return Burst(
            project_id=project_id,
            topic=happening.topic,
            first_position=happening.position,
            last_position=happening.position,
            began_at=happening.occurred_at,
            ended_at=happening.occurred_at,
            due_at=happening.occurred_at + QUIET,
            count=1,
            facts=happening.facts,
            ids=happening.ids,
        )
    ended_at = max(burst.ended_at, happening.occurred_at)
    return msgspec.structs.replace(
        burst,
        last_position=happening.position,
        ended_at=ended_at,
        due_at=min(ended_at + QUIET, burst.began_at + LONGEST_BURST),
        count=burst.count + 1,
        ids=[*burst.ids, *happening.ids][:MOST_IDS],
    )


def _manages(member: Member) -> bool:
    return member.role in ("owner", "manager")


def _sees(member: Member, project_id: UUID | None, topic: Topic) -> bool:
    in_it = project_id is None or _manages(member) or project_id in member.projects
    unpublished = topic.tool == "files" and member.role == "inversionista"  # as row-level security has it
    return in_it and not unpublished and topic.tool in member.tools


def _ids(values: Any) -> list[UUID]:
    found: list[UUID] = []
    for value in values if isinstance(values, list) else ():
        try:
            found.append(UUID(str(value)))
        except ValueError:
            continue
    return found


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _short(value: Any) -> Any:
    return value[:_TEXT_KEPT] if isinstance(value, str) else value
