import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.conftest import eventually
from tests.modules.notifications.conftest import is_genuine, subscribe

from buildpeer.modules.notifications import rules, service, store
from buildpeer.platform import clock
from buildpeer.platform.db import Scope
from buildpeer.platform.ids import new_id
from buildpeer.platform.outbound import Outbound


def document(**more: object) -> tuple[str, dict[str, object]]:
    return "document.added", {"version": 1, "document": {"document_id": str(new_id()), "name": "foto.jpg"} | more}


def rfi(*people: object, **more: object) -> tuple[str, dict[str, object]]:
    thing = {"rfi_id": str(uuid4()), "number": 7, "status": "open", "people": [str(p) for p in people]} | more
    return "rfi.changed", {"version": 1, "rfi": thing}


async def test_what_happens_is_posted_signed_and_only_to_who_asked_for_it(
    http, company, found_company, desk, receive
) -> None:
    rival = await found_company()
    owner, other = await company.hire("owner"), await rival.hire("owner")
    everything, files, foreign = await receive(), await receive(), await receive()
    _, secret = await subscribe(http, company, owner, everything.url)
    await subscribe(http, company, owner, files.url, "documents.added")
    await subscribe(http, rival, other, foreign.url)
    confided = rfi(number=8)
    confided[1]["only_for"] = []
    await desk.announce(company, rfi(), document(), confided, ("nobody.knows", {"x": 1}))
    await desk.hear()
    await desk.deliver()
    assert everything.types() == ["rfi.changed"]
    desk.later(seconds=30)
    await desk.hear()
    await desk.deliver()
    assert (files.types(), foreign.got) == (["documents.added"], [])
    headers, body = everything.got[0]
    assert is_genuine(secret, headers, body)
    assert not is_genuine(secret, headers, body + b" ")
    told = json.loads(body)
    assert (told["type"], told["data"]["project_id"]) == ("rfi.changed", str(company.tower))
    assert told["data"]["first"]["number"] == 7


async def test_two_thousand_ready_files_are_one_event(http, company, desk, receive, admin) -> None:
    receiver = await receive()
    await subscribe(http, company, await company.hire("owner"), receiver.url)
    await desk.announce(company, *(document() for _ in range(2000)))
    await desk.hear()
    await desk.deliver()
    assert receiver.got == []
    desk.later(seconds=60)
    await desk.hear()
    await desk.deliver()
    [(_, body)] = receiver.got
    told = json.loads(body)["data"]
    assert (told["count"], len(told["ids"])) == (2000, rules.MOST_IDS)
    assert told["link"].endswith(f"/v1/documents?project_id={company.tower}")


async def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(
    http, company, desk, receive, admin, monkeypatch
) -> None:
    """It dies before each write in turn, and once more after the receiver has answered."""
    receiver = await receive()
    await subscribe(http, company, await company.hire("owner"), receiver.url)
    await desk.announce(company, *(rfi(number=n) for n in range(20)), *(document() for _ in range(5)))
    for name in ("unheard", "keep_bursts", "add_messages", "add_deliveries", "heard", "take_burst", "settle"):
        real = getattr(store, name)

        async def dies(*args: object, real=real, **kwargs: object) -> object:
            await real(*args, **kwargs)
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(store, name, dies)
            desk.later(seconds=61)
            try:
                await desk.hear()
                await desk.deliver()
            except asyncio.CancelledError:
                continue
    desk.later(seconds=120)

    async def delivered() -> bool:  # among those that other tests have left
        await desk.hear()
        await desk.deliver()
        rows = await admin.fetch("select state from webhook_deliveries where tenant_id = $1", company.tenant_id)
        return [row["state"] for row in rows] == ["delivered"] * 21

    await eventually(delivered)
    by_id = {headers["webhook-id"]: json.loads(body) for headers, body in receiver.got}
    assert sorted(told["data"]["first"]["number"] for told in by_id.values() if told["type"] == "rfi.changed") == list(
        range(20)
    )
    assert [told["data"]["count"] for told in by_id.values() if told["type"] == "documents.added"] == [5]


async def test_a_slow_endpoint_holds_nobody_else_up(http, company, desk, receive) -> None:
    owner = await company.hire("owner")
    slow, quick = await receive(), await receive()
    slow.hold.clear()
    await subscribe(http, company, owner, slow.url)
    await subscribe(http, company, owner, quick.url)
    await desk.announce(company, *(rfi() for _ in range(40)))
    await desk.hear()

    async def all_there() -> bool:
        await desk.deliveries.begin()
        return len(quick.got) == 40

    await eventually(all_there)
    assert (slow.got, slow.most_at_once) == ([], rules.AT_ONCE_PER_ENDPOINT)
    slow.hold.set()
    await desk.deliver()
    assert len(slow.got) == 40


async def test_a_company_with_many_slow_endpoints_holds_no_other_up(
    http, company, found_company, desk, receive
) -> None:
    other = await found_company()
    owner, neighbour = await company.hire("owner"), await other.hire("owner")
    slow, quick = await receive(), await receive()
    slow.hold.clear()
    for _ in range(6):
        await subscribe(http, company, owner, slow.url)
    await subscribe(http, other, neighbour, quick.url)
    await desk.announce(company, *(rfi() for _ in range(10)))
    await desk.announce(other, *(rfi() for _ in range(10)))
    await desk.hear()

    async def all_there() -> bool:
        await desk.deliveries.begin()
        return len(quick.got) == 10

    await eventually(all_there)
    assert slow.most_at_once == rules.AT_ONCE_PER_TENANT
    slow.hold.set()
    await desk.deliver()


async def test_what_does_not_get_through_is_tried_for_three_days_then_the_owners_hear_of_it(
    http, company, desk, receive, admin
) -> None:
    owner = await company.hire("owner")
    receiver = await receive()
    receiver.answer = lambda: "HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\nno \x01 está"
    endpoint_id, _ = await subscribe(http, company, owner, receiver.url)
    await desk.announce(company, rfi())
    await desk.hear()
    began = desk.now
    while desk.now - began < rules.GIVE_UP + timedelta(days=1):
        await desk.deliver()
        due = await admin.fetchval("select due_at from webhook_deliveries where tenant_id = $1", company.tenant_id)
        if due is None:
            break
        desk.now = due
    assert timedelta(days=2.5) < desk.now - began <= rules.GIVE_UP
    path, bearer = f"/v1/webhooks/{endpoint_id}", company.bearer(owner)
    endpoint = (await http.get(path, headers=bearer)).json()
    assert endpoint["disabled_reason"] == "failing"
    mails = await admin.fetch("select * from mails where recipient = $1", company.emails[owner.person_id])
    assert [mail["template"] for mail in mails] == ["webhook_failing"]
    [delivery] = (await http.get(f"{path}/deliveries?state=failed", headers=bearer)).json()["items"]
    shown = (await http.get(f"{path}/deliveries/{delivery['message_id']}", headers=bearer)).json()
    assert len(shown["attempts"]) == len(receiver.got) > 8
    assert (shown["attempts"][0]["status"], shown["attempts"][0]["answer"][:3]) == (500, "no ")
    refused = await http.post(f"{path}/deliveries/{delivery['message_id']}/replay", headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_disabled")

    receiver.answer = lambda: "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    await desk.announce(company, rfi(number=9))
    await desk.hear()
    receiver.got.clear()
    again = await http.patch(path, json={"enabled": True}, headers=bearer | {"if-match": "*"})
    assert again.json()["disabled_at"] is None
    since = {"since": began.isoformat(), "failed_only": True}
    assert (await http.post(f"{path}/replays", json=since, headers=bearer)).json() == {"count": 2}
    await desk.deliver()
    assert {headers["webhook-id"] for headers, _ in receiver.got} >= {f"msg_{delivery['message_id']}"}
    assert len(receiver.got) == 2


async def test_a_secret_is_shown_once_and_changed_without_a_gap(http, company, desk, receive, admin) -> None:
    owner = await company.hire("owner")
    receiver = await receive()
    endpoint_id, old = await subscribe(http, company, owner, receiver.url)
    path, bearer = f"/v1/webhooks/{endpoint_id}", company.bearer(owner)
    wanted = {"endpoint_id": str(endpoint_id), "url": receiver.url}
    repeated = (await http.post("/v1/webhooks", json=wanted, headers=bearer)).json()
    assert (repeated["endpoint"]["endpoint_id"], repeated["secret"]) == (str(endpoint_id), None)
    new = (await http.post(f"{path}/secrets", headers=bearer)).json()["secret"]
    kept = await admin.fetchval("select secret from webhook_endpoints where endpoint_id = $1", endpoint_id)
    assert new.encode() not in kept
    desk.now = clock.now()
    await http.post(f"{path}/tests", headers=bearer)
    desk.later(seconds=5)
    await desk.deliver()
    assert receiver.types() == ["test"]
    assert all(is_genuine(secret, *receiver.got[0]) for secret in (old, new))
    await http.post(f"{path}/tests", headers=bearer)
    desk.later(days=2)
    await desk.deliver()
    assert (is_genuine(old, *receiver.got[1]), is_genuine(new, *receiver.got[1])) == (False, True)
    assert old not in (await http.get(path, headers=bearer)).text


async def test_an_endpoint_that_is_gone_is_disabled_at_once(http, company, desk, receive) -> None:
    owner = await company.hire("owner")
    receiver = await receive()
    receiver.answer = lambda: "HTTP/1.1 410 Gone\r\n\r\n"
    endpoint_id, _ = await subscribe(http, company, owner, receiver.url)
    await desk.announce(company, rfi(), rfi())
    await desk.hear()
    await desk.deliver()
    endpoint = (await http.get(f"/v1/webhooks/{endpoint_id}", headers=company.bearer(owner))).json()
    assert endpoint["disabled_reason"] == "gone"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://user:secret@example.com/",
        "https://10.0.0.8/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.8]/",
        "https://[fe80::1%25eth0]/",
        "https://exa mple.com/",
        "https://",
    ],
)
async def test_an_address_that_may_lead_inside_is_refused(http, company, url: str) -> None:
    wanted = {"endpoint_id": str(new_id()), "url": url}
    answer = await http.post("/v1/webhooks", json=wanted, headers=company.bearer(await company.hire("owner")))
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused"), answer.text


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        *((inside, False) for inside in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1")),
        *((inside, False) for inside in ("0.0.0.0", "224.0.0.1", "::1", "fd00::1", "fe80::1%eth0", "::")),
        *((inside, False) for inside in ("::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1")),
    ],
)
def test_only_public_addresses_are_connected_to(address: str, may: bool) -> None:
    assert rules.may_connect(address, loopback=False) is may


async def test_a_name_that_leads_inside_is_not_connected_to(receive) -> None:
    receiver = await receive()
    outbound = Outbound(may_connect=lambda address: rules.may_connect(address, loopback=False), at_once=2)
    url = receiver.url.replace("127.0.0.1", "localhost")
    answer = await outbound.post(url, headers={}, body=b"{}")
    await outbound.close()
    assert (answer.status, answer.error, receiver.got) == (None, "address_refused", [])


async def test_a_redirect_is_not_followed_and_an_endless_answer_is_cut(receive, desk) -> None:
    receiver, inside = await receive(), await receive()
    receiver.answer = lambda: f"HTTP/1.1 302 Found\r\nlocation: {inside.url}\r\ncontent-length: 0\r\n\r\n"
    assert (await desk.outbound.post(receiver.url, headers={}, body=b"{}")).status == 302
    assert inside.got == []
    receiver.answer = lambda: "HTTP/1.1 200 OK\r\n\r\n" + "x" * 1_000_000
    answer = await desk.outbound.post(receiver.url, headers={}, body=b"{}")
    assert (answer.status, len(answer.text)) == (200, 1000)


async def test_nobody_but_owners_has_to_do_with_webhooks(http, db, company, desk, receive) -> None:
    receiver = await receive()
    endpoint_id, _ = await subscribe(http, company, await company.hire("owner"), receiver.url)
    for role, status in (("manager", 403), ("residente", 404)):
        someone = company.bearer(await company.hire(role))
        assert (await http.get(f"/v1/webhooks/{endpoint_id}", headers=someone)).status_code == status
    manager = await company.hire("manager")
    async with db.transaction(Scope(company.tenant_id, manager.person_id)) as tx:
        assert await store.endpoints(tx) == []
    assert service.Deliveries
