"""Files that arrive as they do in the field: opened over HTTP, sent to S3, told of by facts."""

import hashlib
from typing import Any
from uuid import UUID

import httpx
import msgspec
from tests.conftest import Company, declare

from buildpeer import facts
from buildpeer.modules.documents.handlers import on_upload_ready
from buildpeer.modules.uploads import handlers
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database

BUCKET = "buildpeer-uploads"


def message(source: str, kind: str, detail: Any) -> str:
    """A fact as a status queue delivers it."""
    return msgspec.json.encode({"id": "x", "time": "now", **facts.event(source, kind, detail)}).decode()


def key_of(company: Company, upload: dict[str, Any]) -> str:
    return f"{upload['lane']}/{company.tenant_id}/{upload['upload_id']}"


async def open_files(
    http: httpx.AsyncClient, company: Company, caller: Caller, *items: Any, project: UUID | None = None
) -> list[dict[str, Any]]:
    answer = await http.post(
        f"/v1/projects/{project or company.tower}/uploads",
        json={"uploads": list(items)},
        headers=company.bearer(caller),
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def put(http: httpx.AsyncClient, result: dict[str, Any], content: bytes) -> str:
    """Send the bytes; gives the version that S3 made of them."""
    answer = await http.put(result["put"]["url"], content=content, headers=result["put"]["headers"])
    assert answer.status_code == 200, answer.text
    return answer.headers["x-amz-version-id"]


async def tell(worker_db: Database, company: Company, upload: dict[str, Any], version: str, *kinds: str) -> None:
    """What S3 and the functions say of one version, in this order."""
    place = facts.Object(key_of(company, upload), upload["size_bytes"], "e", version)
    bucket = facts.Bucket(BUCKET)
    picture = facts.Rendition("buildpeer-derived", f"{place.key}/{version}/thumbnail.webp", 4, 3, 9)
    said = {
        "created": (facts.SOURCE_S3, facts.OBJECT_CREATED, facts.ObjectCreated(bucket, place)),
        "scanned": (facts.SOURCE_SCAN, facts.FILE_SCANNED, facts.FileScanned(bucket, place, "clean", "yara")),
        "derived": (
            facts.SOURCE_DERIVE,
            facts.FILE_DERIVED,
            facts.FileDerived(bucket, place, upload["sha256"], "image/jpeg", thumbnail=picture),
        ),
    }
    storage: Any = None  # is asked only when a part was joined
    for kind in kinds:
        await handlers.on_facts(worker_db, storage, [message(*said[kind])], on_ready=on_upload_ready, now=clock.now())


async def arrive(
    http: httpx.AsyncClient,
    worker_db: Database,
    company: Company,
    caller: Caller,
    content: bytes,
    *,
    project: UUID | None = None,
) -> dict[str, Any]:
    """A file that nobody has yet, sent and processed; gives its upload as it was opened, and its `version`."""
    [result] = await open_files(http, company, caller, declare(content), project=project)
    assert result["verdict"] == "opened"
    version = await put(http, result, content)
    await tell(worker_db, company, result["upload"], version, "created", "scanned", "derived")
    return result["upload"] | {"version": version, "key": key_of(company, result["upload"])}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
