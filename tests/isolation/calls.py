"""What a call to each route needs in order to be understood; a route that is missing here fails the tests."""

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import httpx
from tests.conftest import declare

from buildpeer.entrypoints.api import create_app
from buildpeer.platform import clock
from buildpeer.platform.config import Settings
from buildpeer.platform.ids import new_id

Ids = Mapping[str, str]
CHUNK = 128 * 1024
STREAM = "GET /v1/events"
LONG_AGO = "2026-01-01T10:00:00Z"


def routes() -> dict[str, dict[str, Any]]:
    """Every operation that the api describes, as "GET /v1/…"."""
    paths = create_app(Settings()).openapi_schema.to_schema()["paths"]
    return {f"{method.upper()} {path}": operation for path, item in paths.items() for method, operation in item.items()}


def _invitation(ids: Ids, rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(["device", "crew", "email"])
    wanted = {"device": {"person_id": ids["person_id"]}, "crew": {}, "email": {"email": ids["email"]}}[kind]
    return {"kind": kind, "projects": [ids["project_id"]], **wanted}


def _uploads(ids: Ids, rng: random.Random) -> dict[str, Any]:
    known = {"upload_id": ids["upload_id"], "sha256": ids["sha256"], "size_bytes": 3, "name": ids["text"]}
    return {"uploads": [declare(b"abc") | known]} | ({"chunk_length": CHUNK} if rng.random() < 0.3 else {})


def _report(ids: Ids) -> dict[str, Any]:
    return {"title": ids["text"], "first": "2026-10-01", "last": "2026-10-31"}


BODIES: dict[str, Callable[[Ids, random.Random], Any]] = {
    "POST /v1/sessions": lambda ids, _: {"email": ids["email"], "password": "not this one"},
    "POST /v1/sessions/completion": lambda _ids, _: {"challenge": "none of ours", "code": "123456"},
    "POST /v1/me/totp": lambda _ids, _: {"password": "not this one"},
    "POST /v1/me/totp/confirmation": lambda _ids, _: {"code": "123456"},
    "POST /v1/me/totp/removal": lambda _ids, _: {"password": "not this one", "code": "123456"},
    "POST /v1/me/totp/recovery-codes": lambda _ids, _: {"password": "not this one", "code": "123456"},
    "POST /v1/tokens": lambda _ids, _: {"refresh_token": "none of ours"},
    "POST /v1/sessions/current/tenant": lambda ids, _: {"tenant_id": ids["tenant_id"]},
    "POST /v1/device-challenges": lambda ids, _: {"device_id": ids["device_id"]},
    "POST /v1/device-sessions": lambda ids, _: {"challenge": ids["challenge"], "signature": "AA==", "pin": "123456"},
    "POST /v1/password-resets": lambda ids, _: {"email": ids["email"]},
    "POST /v1/password-resets/completion": lambda _ids, _: {"token": "none of ours", "password": "long enough it is"},
    "PUT /v1/me/password": lambda _ids, _: {"current": "not this one", "password": "long enough it is"},
    "POST /v1/invitations": _invitation,
    "POST /v1/invitations/acceptance": lambda _ids, _: {"token": "none of ours"},
    "POST /v1/api-keys": lambda ids, rng: {"name": ids["text"], "tools": {"files": rng.choice(["read", "standard"])}},
    "PATCH /v1/members/{person_id}": lambda _ids, rng: {
        "role": rng.choice(["residente", "empleado_obra", "inversionista", "manager"])
    },
    "POST /v1/projects": lambda ids, _: {"code": ids["text"], "name": ids["text"], "timezone": "America/Lima"},
    "PATCH /v1/projects/{project_id}": lambda ids, _: {"name": ids["text"]},
    "PUT /v1/projects/{project_id}/budget": lambda _ids, rng: {"amount": str(rng.randint(1, 999))},
    "PUT /v1/projects/{project_id}/cover": lambda ids, _: {"document_id": ids["document_id"]},
    "PATCH /v1/projects/{project_id}/members/{person_id}": lambda _ids, _rng: {"company_id": None},
    "POST /v1/people/imports": lambda _ids, _: {"job_id": str(new_id()), "csv": "Correo\n"},
    "POST /v1/projects/{project_id}/locations": lambda ids, _: {"location_id": str(new_id()), "name": ids["text"]},
    "PATCH /v1/projects/{project_id}/locations/{location_id}": lambda ids, _: {"name": ids["text"]},
    "POST /v1/projects/{project_id}/locations/imports": lambda ids, _: {"job_id": str(new_id()), "csv": ids["text"]},
    "POST /v1/trades": lambda ids, _: {"trade_id": str(new_id()), "name": ids["text"]},
    "PATCH /v1/trades/{trade_id}": lambda ids, _: {"name": ids["text"]},
    "POST /v1/companies": lambda ids, _: {"company_id": str(new_id()), "name": ids["text"]},
    "PATCH /v1/companies/{company_id}": lambda ids, _: {"name": ids["text"]},
    "PUT /v1/projects/{project_id}/companies/{company_id}": lambda _ids, _rng: {"duty": "contractor"},
    "PUT /v1/projects/{project_id}/calendar/{day}": lambda ids, _: {"works": True, "name": ids["text"]},
    "POST /v1/projects/{project_id}/uploads": _uploads,
    "POST /v1/uploads/{upload_id}/urls": lambda _ids, rng: (
        {"chunks": [{"offset": 0, "length": 3}]} if rng.random() < 0.3 else {}
    ),
    "POST /v1/manifests": lambda ids, _: {"files": [{"upload_id": ids["upload_id"], "sha256": ids["sha256"]}]},
    "POST /v1/progress": lambda ids, rng: {
        "uploads": [{"upload_id": ids["upload_id"], "sent_bytes": rng.randint(1, 3)}]
    },
    "POST /v1/projects/{project_id}/daily-logs/{log_date}/distribution": lambda ids, _: {"people": [ids["person_id"]]},
    "POST /v1/projects/{project_id}/daily-logs/{log_date}/reopening": lambda ids, _: {"reason": ids["text"]},
    "POST /v1/projects/{project_id}/daily-logs/{log_date}/entries": lambda ids, _: {
        "entries": [
            {"entry_id": str(new_id()), "content": {"kind": "note", "text": ids["text"]}, "noted_at": LONG_AGO}
        ],
        "sent_at": LONG_AGO,
    },
    "POST /v1/projects/{project_id}/daily-logs/{log_date}/copies": lambda _ids, _: {"kinds": ["photo"]},
    "POST /v1/projects/{project_id}/daily-logs/{log_date}/exports": lambda _ids, _: {"job_id": str(new_id())},
    "POST /v1/daily-log-entries/{entry_id}/edits": lambda ids, _: {
        "installation_id": str(new_id()),
        "sequence": int.from_bytes(ids["text"].encode()[:6]),
        "base_version": 1,
        "noted_at": LONG_AGO,
        "sent_at": LONG_AGO,
        "set": {"text": ids["text"]},
    },
    "POST /v1/daily-log-conflicts/{conflict_id}/resolution": lambda _ids, _: {"resolution": "kept"},
    "POST /v1/projects/{project_id}/bitacoras": lambda ids, _: {
        "bitacora_id": str(new_id()),
        "title": ids["text"],
        "contract": {"number": "1", "works": ids["text"], "client": ids["text"], "contractor": ids["text"]},
    },
    "PUT /v1/bitacoras/{bitacora_id}/parties/{role}": lambda ids, _: {"person_id": ids["person_id"]},
    "POST /v1/bitacoras/{bitacora_id}/notes": lambda ids, _: {
        "note_id": str(new_id()),
        "class": "order",
        "subject": ids["text"],
        "text": ids["text"],
    },
    "POST /v1/bitacoras/{bitacora_id}/notes/{folio}/signature": lambda ids, _: {"hash": ids["sha256"]},
    "POST /v1/bitacoras/{bitacora_id}/exports": lambda _ids, _: {"job_id": str(new_id())},
    "PUT /v1/projects/{project_id}/baseline": lambda _ids, _: {"csv": "on,physical\n2026-01-31,0\n2026-12-31,100\n"},
    "PUT /v1/projects/{project_id}/progress/{measured_on}": lambda ids, _: {"physical": 5, "comments": ids["text"]},
    "POST /v1/projects/{project_id}/progress-reports": lambda ids, _: {
        "report_id": str(new_id()),
        "content": _report(ids),
    },
    "PUT /v1/progress-reports/{report_id}": lambda ids, _: _report(ids),
    "POST /v1/progress-reports/{report_id}/exports": lambda _ids, _: {"job_id": str(new_id())},
    "POST /v1/projects/{project_id}/photo-reports": lambda ids, _: {
        "job_id": str(new_id()),
        "title": ids["text"],
        "photos": [{"document_id": ids["document_id"]}],
    },
    "POST /v1/webhooks": lambda ids, _: {
        "endpoint_id": str(new_id()),
        "url": "https://example.com/",
        "description": ids["text"],
    },
    "PATCH /v1/webhooks/{endpoint_id}": lambda ids, _: {"description": ids["text"]},
    "POST /v1/webhooks/{endpoint_id}/replays": lambda _ids, _rng: {"since": "2026-01-01T00:00:00Z"},
    "PATCH /v1/notices/{position}": lambda _ids, rng: {"read": rng.random() < 0.5},
    "POST /v1/notices/readings": lambda _ids, _rng: {"up_to": 1},
    "PUT /v1/me/notice-preferences": lambda _ids, rng: {"muted": rng.random() < 0.2},
    "PUT /v1/projects/{project_id}/notice-preferences": lambda _ids, rng: {"muted": rng.random() < 0.2},
    # a name of its own for each: the first of two calls that are compared takes it
    "PUT /v1/projects/{project_id}/drawing-areas/{area_id}": lambda ids, _: {"name": f"{ids['text']} {new_id()}"},
    "PUT /v1/projects/{project_id}/drawing-sets/{set_id}": lambda ids, _: {
        "kind": "ifc",
        "name": f"{ids['text']} {new_id()}",
        "set_date": "2026-03-01",
    },
    "POST /v1/projects/{project_id}/drawing-filings": lambda ids, _: {
        "filing_id": str(new_id()),
        "document_id": ids["document_id"],
    },
    "PATCH /v1/drawings/{drawing_id}": lambda ids, _: {"title": ids["text"]},
    "PATCH /v1/drawing-filings/{filing_id}/sheets": lambda ids, _: {
        "sheets": [{"page": 1, "number": ids["text"], "title": ids["text"]}]
    },
    "POST /v1/drawing-filings/{filing_id}/publication": lambda _ids, _: {},
    "POST /v1/drawing-revisions/{revision_id}/pins": lambda ids, _: {
        "pin_id": str(new_id()),
        "pos_x": 0.5,
        "pos_y": 0.5,
        "kind": "document",
        "target_id": ids["document_id"],
        "label": ids["text"],
    },
    "POST /v1/ops/redrives": lambda _ids, _: {"queue": "buildpeer-scan-live"},
    "POST /v1/projects/{project_id}/rfis": lambda ids, rng: {
        "rfi_id": str(new_id()),
        "subject": ids["text"],
        "question": "?",
        "private": rng.random() < 0.5,
    },
    "PATCH /v1/rfis/{rfi_id}": lambda ids, _: {"subject": ids["text"]},
    "POST /v1/rfis/{rfi_id}/replies": lambda ids, _: {"reply_id": str(new_id()), "body": ids["text"]},
    "POST /v1/rfis/{rfi_id}/transitions": lambda _ids, rng: {"action": "void" if rng.random() > 0.5 else "reopen"},
    "POST /v1/rfi-changes": lambda ids, _: {"rfi_ids": [ids["rfi_id"]], "distribute": [ids["person_id"]]},
    "POST /v1/projects/{project_id}/rfi-imports": lambda ids, _: {
        "job_id": str(new_id()),
        "csv": f"asunto\n{ids['text']}\n",
    },
    "POST /v1/projects/{project_id}/rfi-logs": lambda _ids, rng: {
        "job_id": str(new_id()),
        "format": rng.choice(["pdf", "csv"]),
    },
    "PUT /v1/projects/{project_id}/rfi-settings": lambda ids, _: {"manager_id": ids["person_id"], "due_days": 5},
    "PATCH /v1/documents/{document_id}": lambda ids, _: {"description": ids["text"], "starred": True},
    "POST /v1/documents/changes": lambda ids, rng: {
        "document_ids": [ids["document_id"]],
        "changes": {"add_tags": [ids["text"]]} | ({"folder_id": ids["folder_id"]} if rng.random() < 0.3 else {}),
    },
    "POST /v1/documents/placements": lambda ids, rng: {
        "placements": [
            {"upload_id": ids["upload_id"], "tags": [ids["text"]]}
            | rng.choice([{}, {}, {"folder_id": ids["folder_id"]}, {"version_of": ids["document_id"]}])
        ]
    },
    "POST /v1/documents/{document_id}/versions": lambda ids, _: {
        "version_id": str(new_id()),
        "document_id": ids["document_id"],
    },
    "POST /v1/projects/{project_id}/archives": lambda ids, rng: (
        {"job_id": str(new_id())}
        | ({"folder_id": ids["folder_id"]} if rng.random() < 0.3 else {"document_ids": [ids["document_id"]]})
    ),
    "POST /v1/projects/{project_id}/folders": lambda ids, rng: (
        {"folder_id": str(new_id()), "name": ids["text"]}
        | ({"parent_id": ids["folder_id"]} if rng.random() < 0.3 else {})
    ),
    "PATCH /v1/folders/{folder_id}": lambda ids, _: {"name": ids["text"]},
    "POST /v1/projects/{project_id}/albums": lambda ids, _: {"album_id": str(new_id()), "name": ids["text"]},
    "PATCH /v1/albums/{album_id}": lambda ids, rng: (
        {"name": ids["text"]} | ({"cover_id": ids["document_id"]} if rng.random() < 0.3 else {})
    ),
    "POST /v1/projects/{project_id}/photo-pairs": lambda ids, _: {
        "pair_id": str(new_id()),
        "before_id": ids["document_id"],
        "after_id": ids["after_id"],
    },
    "POST /v1/documents/{document_id}/share-links": lambda ids, _: {
        "link_id": str(new_id()),
        "expires_at": (clock.now() + timedelta(days=1)).isoformat(),
        "note": ids["text"],
    },
    "POST /v1/shared/opening": lambda _ids, _: {"token": "none of ours"},
    "POST /v1/shared/downloads": lambda _ids, _: {"token": "none of ours"},
    "POST /v1/documents/{document_id}/downloads": lambda _ids, rng: {
        "rendition": rng.choice(["original", "original", "preview"])
    },
}


def path_of(route: str, ids: Ids) -> str:
    """The route's path with ids in it. Raises KeyError for a parameter that nobody knows how to fill."""
    return route.split(" ")[1].format_map(ids)


def body_of(route: str, operation: Mapping[str, Any], ids: Ids, rng: random.Random) -> Any:
    """The body that the route takes, None if it takes none. Raises KeyError for one that nobody knows how to make."""
    return BODIES[route](ids, rng) if "requestBody" in operation else None


async def send(
    http: httpx.AsyncClient, route: str, path: str, *, headers: Mapping[str, str], **request: Any
) -> httpx.Response:
    """Make a call; of a stream, read what the log has and stop. `feed_pings_soon` must be on for that."""
    if route != STREAM:
        body = request.pop("json", None)
        content = {} if body is None else {"content": json.dumps(body)}
        kind = {} if body is None else {"content-type": "application/json"}
        method = route.split(" ", maxsplit=1)[0]
        headers = {"if-match": "*", **headers, **kind}
        return await http.request(method, path, headers=headers, **content, **request)
    async with http.stream("GET", path, headers={**headers}) as answer:
        text = await answer.aread() if answer.status_code != 200 else await _until_second_ping(answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=text)


async def _until_second_ping(answer: httpx.Response) -> bytes:
    """The first ping says where the stream begins; by the second one, all that is in the log has been told."""
    lines: list[str] = []
    async for line in answer.aiter_lines():
        lines.append(line)
        if lines.count(": ping") == 2:
            break
    return "\n".join(lines).encode()


# What differs between two answers that say the same: their own ids, times, signatures and secrets.
_OWN = re.compile(
    r"""[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}  # ids: what they tell is looked at elsewhere
    | "request_id":"[0-9a-f]{32}" | "instance":"[^"]*"
    | \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d) | \d{8}T\d{6}Z
    | X-Amz-\w+=[^&"]+ | "(challenge|qr_svg|secret|statement|x-amz-checksum-sha256)":"(\\.|[^"\\])*"
    | "lane":"\w+" | (?<=/)(live|bulk)(?=/)  # what a company has open by now
    | (join|shared)\#[\w-]+ | eyJ[\w-]+\.[\w-]+\.[\w-]+""",
    re.VERBOSE,
)


def face(answer: httpx.Response, asked: Iterable[str]) -> tuple[Any, ...]:
    """All that an answer tells but for what was asked and what no two answers have in common."""
    text = unquote(answer.text)
    for word in asked:
        text = text.replace(word, "·") if len(word) > 1 else text  # but for numbers
    headers = {name: _OWN.sub("·", value) for name, value in answer.headers.items()}
    headers = {name: value for name, value in headers.items() if name not in ("date", "x-request-id", "ratelimit")}
    if answer.is_success:  # the fractions of its times vary in length
        headers.pop("content-length", None)
    return answer.status_code, headers, _OWN.sub("·", text)
