"""Who calls: a person or a machine."""

from typing import Any

from litestar import Request

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service.keys import PREFIX as KEY_PREFIX
from buildpeer.platform.auth import Caller
from buildpeer.platform.http import DatabaseDep, NowDep, SettingsDep, TokensDep, admit_caller, check_address, request_id
from buildpeer.platform.http import caller as person_calling


async def caller(
    *, request: Request[Any, Any, Any], db: DatabaseDep, tokens: TokensDep, settings: SettingsDep, now: NowDep
) -> Caller:
    """Who calls: a person by an access token, or a machine by a key, where the door names a tool that the key has.

    Raises Problem not_signed_in, token_expired, not_allowed or too_many_requests.
    """
    _, _, secret = request.headers.get("authorization", "").partition(" ")
    if not secret.startswith(KEY_PREFIX):
        person = await person_calling(request, tokens, now)
        admit_caller(request, str(person.person_id), person.tenant_id, settings)
        return person
    check_address(request, settings)
    machine = await service.caller_of_key(
        db,
        secret=secret.strip(),
        tool=request.route_handler.opt.get("tool"),
        level="read" if request.method in ("GET", "HEAD") else request.route_handler.opt.get("write", "admin"),
        now=now,
        request_id=request_id(request),
    )
    admit_caller(request, str(machine.key_id), machine.tenant_id, settings)
    return machine
