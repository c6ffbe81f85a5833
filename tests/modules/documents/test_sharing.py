"""Share links: what they open, to how many, and when they die."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.modules.documents.test_documents import CONTENT

from buildpeer.modules.documents import handlers, rules
from buildpeer.platform import clock
from buildpeer.platform.db import Scope
from buildpeer.platform.ids import new_id


async def share(who: Any, document: str, status: int = 201, **other: Any) -> Any:
    expires_at = (clock.now() + timedelta(days=1)).isoformat()
    body = {"link_id": str(new_id()), "expires_at": expires_at} | other
    return await who.ask("POST", f"/documents/{document}/share-links", status, json=body)


async def use(http: Any, url: str, what: str = "downloads") -> Any:
    return await http.post(f"/v1/shared/{what}", json={"token": url.partition("#")[2]})


async def test_a_link_gives_the_file_to_anybody_for_a_minute_and_is_in_the_trail(desk, http, admin) -> None:
    ana = await desk()
    document = await ana.file("plano ñ.pdf")
    made = await share(ana, document, most_views=2, note="Proveedor")
    seen = (await use(http, made["url"], "opening")).json()
    assert (seen["name"], seen["size_bytes"], seen["views_left"], seen["tenant"]) == ("plano ñ.pdf", 8, 2, "Obra")
    given = (await use(http, made["url"])).json()
    assert "X-Amz-Expires=60" in given["url"]
    got = await http.get(given["url"])
    assert got.content == CONTENT and got.headers["content-disposition"].startswith("attachment")
    [link] = (await ana.ask("GET", "/share-links", params={"document_id": document}))["items"]
    assert (link["views"], link["note"]) == (1, "Proveedor")
    token = made["url"].partition("#")[2]
    rows = await admin.fetch(
        "select action, changes::text from audit.entries where tenant_id = $1", ana.company.tenant_id
    )
    assert [row["action"] for row in rows if document in row["changes"] and row["action"] == "download"] == ["download"]
    assert not any(token in row["changes"] for row in rows)
    kept = await admin.fetch(
        "select share_links::text as row from share_links union all select tokens::text from tokens"
    )
    assert not any(token in row["row"] for row in kept)


async def test_however_many_come_at_once_no_more_get_it_than_may(desk, http) -> None:
    ana = await desk()
    made = await share(ana, await ana.file("p.pdf"), most_views=3)
    answers = await asyncio.gather(*(use(http, made["url"]) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [410] * 9
    [link] = (await ana.ask("GET", "/share-links"))["items"]
    assert link["views"] == 3


@pytest.mark.parametrize("end", ["revoked", "expired", "withdrawn", "erased", "archived", "suspended"])
async def test_a_link_dies_with(desk, http, admin, worker_db, end: str) -> None:
    ana, jefa = await desk(), await desk("owner")
    file = await ana._make(ana.caller, name="p.pdf", sha256=end.encode().ljust(32))
    made = await share(ana, str(file.upload_id))
    link_id = made["link"]["link_id"]
    match end:
        case "revoked":
            for _ in range(2):
                assert (await jefa.ask("POST", f"/share-links/{link_id}/revocation"))["revoked_at"]
        case "expired":
            await admin.execute("update share_links set expires_at = now() where link_id = $1", link_id)
        case "withdrawn":
            async with worker_db.transaction(Scope(ana.company.tenant_id, None)) as tx:
                await handlers.on_upload_ready(tx, msgspec.structs.replace(file, infected=True))
        case "erased":
            await ana.ask("DELETE", f"/documents/{file.upload_id}", 204)
        case "archived":
            await admin.execute("update projects set archived_at = now() where project_id = $1", ana.company.tower)
        case _:
            await admin.execute("update tenants set suspended_at = now() where tenant_id = $1", ana.company.tenant_id)
    for what in ("opening", "downloads"):
        answer = await use(http, made["url"], what)
        assert (answer.status_code, answer.json()["code"]) == (410, "link_expired")


async def test_who_may_share_and_for_how_long(desk, http) -> None:
    ana, beto, worker = await desk(), await desk(), await desk("empleado_obra")
    document = await ana.file("p.pdf")
    assert (await share(worker, document, 404))["code"] == "not_found"
    for days in (-1, 366):
        late = (clock.now() + timedelta(days=days)).isoformat()
        assert (await share(ana, document, 422, expires_at=late))["code"] == "invalid"
    made = await share(ana, document)
    again = await share(ana, document, 409, link_id=made["link"]["link_id"])
    assert again["code"] == "id_taken"
    assert (await beto.ask("GET", "/share-links"))["items"] == []
    await beto.ask("POST", f"/share-links/{made['link']['link_id']}/revocation", 404)


async def test_whoever_tries_links_too_often_has_to_wait(http, monkeypatch: pytest.MonkeyPatch) -> None:
    few = msgspec.structs.replace(rules.OPENINGS_BY_ADDRESS, name="shared-address-test", quota=2)
    monkeypatch.setattr(rules, "OPENINGS_BY_ADDRESS", few)
    answers = [(await use(http, "#nothing")).status_code for _ in range(3)]
    assert answers == [410, 410, 429]
