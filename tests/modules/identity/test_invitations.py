"""Joining: by e-mail, by a QR code on site, and with another device."""

import asyncio
import base64
import io
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pyvips
import zxingcpp
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from PIL import Image
from tests.conftest import PASSWORD, Company
from tests.modules.identity.test_members import bearer
from tests.modules.identity.test_passwords import Post, post  # noqa: F401

PIN = "482913"


def read_qr(svg: str) -> str:
    """What a camera would read."""
    pyvips.operation_block_set("VipsForeignLoadSvg", False)  # shut where untrusted files are read
    picture = pyvips.Image.svgload_buffer(svg.encode(), scale=8)
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture.write_to_buffer(".png"))))
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return found.text


class Phone:
    """A device with a key of its own."""

    def __init__(self, kind: str = "ed25519") -> None:
        self.kind = kind
        self.key: Any = (
            ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
        )
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.joining = {"name": "Moto G", "public_key": base64.b64encode(der).decode(), "pin": PIN}
        self.device_id = ""

    def sign(self, text: str) -> str:
        if self.kind == "ed25519":
            return base64.b64encode(self.key.sign(text.encode())).decode()
        signature = self.key.sign(text.encode(), ec.ECDSA(SHA256()))
        if self.kind == "p1363":
            r, s = decode_dss_signature(signature)
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return base64.b64encode(signature).decode()

    async def join(self, http: httpx.AsyncClient, token: str, name: str = "João Conceição") -> httpx.Response:
        wanted = {"token": token, "name": name, "locale": "pt", "device": self.joining}
        answer = await http.post("/v1/invitations/acceptance", json=wanted)
        if answer.status_code == 201:
            self.device_id = answer.json()["device_id"]
        return answer

    async def sign_in(self, http: httpx.AsyncClient, pin: str = PIN) -> httpx.Response:
        challenge = (await http.post("/v1/device-challenges", json={"device_id": self.device_id})).json()["challenge"]
        return await self.answer(http, challenge, pin)

    async def answer(self, http: httpx.AsyncClient, challenge: str, pin: str = PIN) -> httpx.Response:
        signed = {"challenge": challenge, "signature": self.sign(challenge), "pin": pin}
        return await http.post("/v1/device-sessions", json=signed)


async def invite(http: httpx.AsyncClient, headers: dict[str, str], **wanted: Any) -> httpx.Response:
    return await http.post("/v1/invitations", json=wanted, headers=headers)


async def crew_token(http: httpx.AsyncClient, company: Company, uses: int = 1) -> str:
    headers = company.bearer(await company.hire("manager"))
    made = await invite(http, headers, kind="crew", projects=[str(company.tower)], uses=uses)
    assert made.status_code == 201, made.text
    return made.json()["link"].partition("#")[2]


async def test_who_is_invited_by_mail_joins_with_a_new_account(http, company: Company, post: Post, admin) -> None:  # noqa: F811
    owner = await company.hire("owner")
    email = f"{uuid4()}@x.test"
    made = await invite(
        http, company.bearer(owner), kind="email", email=email.upper(), role="residente", projects=[str(company.tower)]
    )
    assert (made.status_code, made.json()["link"]) == (201, None)
    token = await post.token(email)
    assert token not in made.text
    weak = await http.post("/v1/invitations/acceptance", json={"token": token, "name": "Ana", "password": "corta"})
    assert weak.json()["code"] == "password_weak"
    wanted = {"token": token, "name": "Ana Ñuñez", "password": PASSWORD}
    joined = await http.post("/v1/invitations/acceptance", json=wanted)
    assert joined.status_code == 201
    signed_in = joined.json()["signed_in"]
    assert (signed_in["person"]["email"], signed_in["tenant"]["role"]) == (email, "residente")
    projects = (await http.get("/v1/projects", headers=bearer(signed_in))).json()["items"]
    assert [p["project_id"] for p in projects] == [str(company.tower)]
    again = await http.post("/v1/invitations/acceptance", json=wanted)
    assert (again.status_code, again.json()["code"]) == (410, "link_expired")
    entries = await admin.fetch("select changes from audit.entries where tenant_id = $1", company.tenant_id)
    assert not any(token in row["changes"] or "argon2" in row["changes"] for row in entries)


async def test_who_has_an_account_joins_with_its_password(http, company: Company, found_company, post: Post) -> None:  # noqa: F811
    other = await found_company()
    caller = await other.hire("owner")
    email = other.emails[caller.person_id]
    await invite(http, company.bearer(await company.hire("owner")), kind="email", email=email, role="inversionista")
    token = await post.token(email)
    wrong = await http.post("/v1/invitations/acceptance", json={"token": token, "password": "not the password"})
    assert wrong.json()["code"] == "bad_credentials"
    joined = await http.post("/v1/invitations/acceptance", json={"token": token, "password": PASSWORD})
    signed_in = joined.json()["signed_in"]
    assert signed_in["person"]["person_id"] == str(caller.person_id)
    assert {t["role"] for t in signed_in["tenants"]} == {"owner", "inversionista"}
    assert signed_in["tenant"]["tenant_id"] == str(company.tenant_id)


@pytest.mark.parametrize(
    ("who", "wanted", "expected"),
    [
        ("manager", {"kind": "email", "email": "a@b.test", "role": "owner"}, 403),
        ("residente", {"kind": "email", "email": "a@b.test", "role": "residente"}, 403),
        ("empleado_obra", {"kind": "crew"}, 404),
        ("inversionista", {"kind": "crew"}, 404),
        ("owner", {"kind": "crew", "role": "manager"}, 422),
        ("owner", {"kind": "crew", "uses": 1000}, 422),
        ("owner", {"kind": "email", "email": "no address"}, 422),
        ("owner", {"kind": "device"}, 404),
    ],
)
async def test_who_may_invite_whom(http, company: Company, who: str, wanted: dict[str, Any], expected: int) -> None:
    assert (await invite(http, company.bearer(await company.hire(who)), **wanted)).status_code == expected


async def test_the_link_also_comes_as_a_qr_code_but_not_where_it_is_mailed(http, company: Company) -> None:
    headers = company.bearer(await company.hire("manager"))
    made = (await invite(http, headers, kind="crew", projects=[str(company.tower)])).json()
    assert read_qr(made["qr_svg"]) == made["link"]
    phone = Phone()
    assert (await phone.join(http, read_qr(made["qr_svg"]).partition("#")[2])).status_code == 201
    mailed = (await invite(http, headers, kind="email", email=f"{uuid4()}@x.test", role="residente")).json()
    assert (mailed["link"], mailed["qr_svg"]) == (None, None)
    listed = (await http.get("/v1/invitations", headers=headers)).text
    assert "qr_svg" not in listed


@pytest.mark.parametrize("kind", ["email", "crew", "device"])
async def test_projects_that_are_anothers_or_nobodys_are_refused_alike(
    http, company: Company, found_company: Any, admin: Any, kind: str
) -> None:
    headers, other = company.bearer(await company.hire("manager")), await found_company()
    member = str((await company.hire()).person_id)
    refused = []
    for foreign in (str(other.tower), str(uuid4())):
        answer = await invite(
            http,
            headers,
            kind=kind,
            email=f"{uuid4()}@x.test",
            person_id=member,
            projects=[str(company.tower), foreign, foreign],
        )
        assert (answer.status_code, answer.json()["projects"]) == (404, [foreign])
        refused.append({k: v for k, v in answer.json().items() if k not in ("request_id", "projects")})
    assert refused[0] == refused[1]
    assert await admin.fetchval("select count(*) from invitations where tenant_id = $1", company.tenant_id) == 0
    good = await invite(http, headers, kind="crew", projects=[str(company.tower), str(company.tower)])
    assert good.status_code == 201


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p1363"])
async def test_a_crew_joins_by_qr_and_its_phone_signs_in_with_key_and_pin(http, company: Company, kind: str) -> None:
    phone = Phone(kind)
    joined = await phone.join(http, await crew_token(http, company))
    assert joined.status_code == 201, joined.text
    assert joined.json()["signed_in"]["person"]["email"] is None
    signed_in = await phone.sign_in(http)
    assert signed_in.status_code == 201
    assert signed_in.json()["tenant"]["role"] == "empleado_obra"
    projects = (await http.get("/v1/projects", headers=bearer(signed_in.json()))).json()["items"]
    assert [p["project_id"] for p in projects] == [str(company.tower)]


async def test_a_qr_code_is_good_for_its_uses_only_even_at_once(http, company: Company) -> None:
    token = await crew_token(http, company, uses=2)
    answers = await asyncio.gather(*(Phone().join(http, token, f"Obrero {n}") for n in range(4)))
    assert sorted(a.status_code for a in answers) == [201, 201, 410, 410]


async def test_a_revoked_or_expired_invitation_lets_nobody_in(http, company: Company, admin) -> None:
    headers = company.bearer(await company.hire("manager"))
    for end in ("revoke", "expire"):
        made = (await invite(http, headers, kind="crew")).json()
        invitation_id = made["invitation"]["invitation_id"]
        listed = (await http.get("/v1/invitations", headers=headers)).json()["items"]
        assert invitation_id in {i["invitation_id"] for i in listed}
        if end == "revoke":
            assert (await http.delete(f"/v1/invitations/{invitation_id}", headers=headers)).status_code == 204
        else:
            await admin.execute("update invitations set expires_at = now() where invitation_id = $1", invitation_id)
        answer = await Phone().join(http, made["link"].partition("#")[2])
        assert (answer.status_code, answer.json()["code"]) == (410, "link_expired")
        listed = (await http.get("/v1/invitations", headers=headers)).json()["items"]
        assert invitation_id not in {i["invitation_id"] for i in listed}


async def test_who_joins_two_companies_at_once_is_one_person(http, company: Company, found_company, post: Post) -> None:  # noqa: F811
    email, tokens = f"{uuid4()}@x.test", list[str]()
    for each in (company, await found_company()):
        await invite(http, each.bearer(await each.hire("owner")), kind="email", email=email)
        tokens.append(await post.token(email))

    async def join(token: str) -> httpx.Response:
        wanted = {"token": token, "name": "Ana", "password": PASSWORD}
        return await http.post("/v1/invitations/acceptance", json=wanted)

    answers = await asyncio.gather(*map(join, tokens))
    assert sorted(answer.status_code for answer in answers) in ([201, 201], [201, 503])
    again = [await join(token) for token, answer in zip(tokens, answers, strict=True) if answer.status_code == 503]
    joined = [answer.json()["signed_in"] for answer in (*answers, *again) if answer.status_code == 201]
    assert len(joined) == 2
    assert len({signed_in["person"]["person_id"] for signed_in in joined}) == 1


@pytest.mark.parametrize(
    ("inviter", "wanted", "becomes"),
    [
        ("manager", {"kind": "crew"}, None),
        ("manager", {"kind": "crew"}, "residente"),
        ("owner", {"kind": "email", "role": "owner"}, "manager"),
    ],
)
async def test_an_invitation_ends_with_the_right_to_invite(
    http,
    company: Company,
    admin,
    post: Post,  # noqa: F811
    inviter: str,
    wanted: dict[str, Any],
    becomes: str | None,
) -> None:
    caller, email = await company.hire(inviter), f"{uuid4()}@x.test"
    made = await invite(http, company.bearer(caller), **wanted, email=email)
    token = (made.json()["link"] or f"#{await post.token(email)}").partition("#")[2]
    if becomes:
        sql = "update memberships set role = $2 where person_id = $1"
        await admin.execute(sql, caller.person_id, becomes)
    else:
        await company.dismiss(caller)
    joining = {"token": token, "name": "Ana", "password": PASSWORD, "device": Phone().joining}
    answer = await http.post("/v1/invitations/acceptance", json=joining)
    assert (answer.status_code, answer.json()["code"]) == (410, "link_expired")
    headers = company.bearer(await company.hire("owner"))
    assert (await http.get("/v1/invitations", headers=headers)).json()["items"] == []


async def test_five_wrong_pins_lock_the_phone_until_a_manager_approves_it(http, company: Company) -> None:
    phone = Phone()
    person_id = (await phone.join(http, await crew_token(http, company))).json()["signed_in"]["person"]["person_id"]
    assert [(await phone.sign_in(http, "000000")).json()["code"] for _ in range(5)] == ["pin_wrong"] * 5
    locked = await phone.sign_in(http)  # even with the right one
    assert (locked.status_code, locked.json()["code"]) == (403, "device_locked")
    headers = company.bearer(await company.hire("manager"))
    path = f"/v1/members/{person_id}/devices"
    assert [d["locked"] for d in (await http.get(path, headers=headers)).json()["items"]] == [True]
    assert (await http.post(f"{path}/{phone.device_id}/approval", headers=headers)).status_code == 204
    assert (await phone.sign_in(http)).status_code == 201
    assert [(await phone.sign_in(http, "000000")).json()["code"] for _ in range(2)] == ["pin_wrong"] * 2


async def test_a_challenge_works_once_and_for_its_own_key_only(http, company: Company) -> None:
    phone, thief = Phone(), Phone()
    await phone.join(http, await crew_token(http, company))
    asked = await http.post("/v1/device-challenges", json={"device_id": phone.device_id})
    challenge = asked.json()["challenge"]
    stolen = await thief.answer(http, challenge)
    assert (stolen.status_code, stolen.json()["code"]) == (401, "bad_credentials")
    assert (await phone.answer(http, challenge)).status_code == 201
    assert (await phone.answer(http, challenge)).json()["code"] == "device_locked"
    unknown = (await http.post("/v1/device-challenges", json={"device_id": str(uuid4())})).json()["challenge"]
    assert (await phone.answer(http, unknown)).json()["code"] == "bad_credentials"


async def test_another_device_waits_for_a_manager_and_a_lost_one_is_out_at_once(http, company: Company) -> None:
    first, second = Phone(), Phone()
    joined = (await first.join(http, await crew_token(http, company))).json()["signed_in"]
    person_id = joined["person"]["person_id"]
    headers = company.bearer(await company.hire("manager"))
    made = await invite(http, headers, kind="device", person_id=person_id)
    pending = await second.join(http, made.json()["link"].partition("#")[2])
    assert (pending.status_code, pending.json()["signed_in"]) == (201, None)
    assert (await second.sign_in(http)).json()["code"] == "bad_credentials"
    path = f"/v1/members/{person_id}/devices"
    waiting = (await http.get(path, headers=headers)).json()["items"]
    assert {d["device_id"]: d["approved_at"] is None for d in waiting} == {
        first.device_id: False,
        second.device_id: True,
    }
    mine = await http.post(f"{path}/{second.device_id}/approval", headers=bearer(joined))
    assert mine.status_code == 404
    assert (await http.post(f"{path}/{second.device_id}/approval", headers=headers)).status_code == 204
    signed_in = await second.sign_in(http)
    assert signed_in.json()["person"]["person_id"] == person_id
    assert (await http.delete(f"{path}/{first.device_id}", headers=headers)).status_code == 204
    assert (await http.get("/v1/me", headers=bearer(joined))).json()["code"] == "session_ended"
    assert (await first.sign_in(http)).json()["code"] == "bad_credentials"
    assert (await http.get("/v1/me", headers=bearer(signed_in.json()))).status_code == 200


async def further_device(http: httpx.AsyncClient, company: Company, person_id: Any) -> Phone:
    """A device of somebody, who may know nothing of it: one manager can do all of this."""
    headers, phone = company.bearer(await company.hire("manager")), Phone()
    made = await invite(http, headers, kind="device", person_id=str(person_id))
    await phone.join(http, made.json()["link"].partition("#")[2])
    path = f"/v1/members/{person_id}/devices/{phone.device_id}/approval"
    assert (await http.post(path, headers=headers)).status_code == 204
    return phone


async def test_no_manager_becomes_an_owner_by_a_device(http, company: Company) -> None:
    owner, manager = await company.hire("owner"), await company.hire("manager")
    wanted = {"kind": "device", "person_id": str(owner.person_id)}
    assert (await invite(http, company.bearer(manager), **wanted)).status_code == 403
    made = await invite(http, company.bearer(owner), **wanted)
    phone = Phone()
    await phone.join(http, made.json()["link"].partition("#")[2])
    path = f"/v1/members/{owner.person_id}/devices/{phone.device_id}/approval"
    assert (await http.post(path, headers=company.bearer(manager))).status_code == 403
    assert (await phone.sign_in(http)).json()["code"] == "bad_credentials"
    assert (await http.post(path, headers=company.bearer(owner))).status_code == 204
    assert (await phone.sign_in(http)).status_code == 201


async def test_a_device_opens_the_company_that_approved_it_and_no_other(
    http, company: Company, found_company, admin
) -> None:
    other = await found_company()
    worker = await company.hire()
    join = "insert into memberships (tenant_id, person_id, role) values ($1, $2, 'owner')"
    await admin.execute(join, other.tenant_id, worker.person_id)
    phone = await further_device(http, company, worker.person_id)
    signed_in = (await phone.sign_in(http)).json()
    assert [t["tenant_id"] for t in signed_in["tenants"]] == [str(company.tenant_id)]
    there = {"tenant_id": str(other.tenant_id)}
    entered = await http.post("/v1/sessions/current/tenant", json=there, headers=bearer(signed_in))
    assert (entered.status_code, entered.json()["code"]) == (404, "not_found")
    await admin.execute(
        "delete from memberships where tenant_id = $1 and person_id = $2", company.tenant_id, worker.person_id
    )
    refreshed = await http.post("/v1/tokens", json={"refresh_token": signed_in["refresh_token"]})
    assert refreshed.json()["code"] == "session_ended"
    assert (await phone.sign_in(http)).json()["code"] == "bad_credentials"


@pytest.mark.parametrize("changes", [{"public_key": "AAAA"}, {"public_key": "?"}, {"pin": "12345"}, {"pin": "٣٣٣٣٣٣"}])
async def test_a_device_without_a_proper_key_or_pin_does_not_join(http, company: Company, changes: Any) -> None:
    phone = Phone()
    phone.joining |= changes
    answer = await phone.join(http, await crew_token(http, company))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
