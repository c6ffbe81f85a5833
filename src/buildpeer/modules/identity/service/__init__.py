"""What people can do about themselves and about each other: one verb, one function."""

from buildpeer.modules.identity.service.hashing import hash_password
from buildpeer.modules.identity.service.members import Me, Member, change_role, list_members, me, remove_member
from buildpeer.modules.identity.service.passwords import ask_reset, change_password, prune, redeem_reset
from buildpeer.modules.identity.service.sessions import (
    Device,
    Entered,
    Membership,
    Person,
    SignedIn,
    enter_tenant,
    list_sessions,
    refresh,
    revoke_session,
    sign_in,
    sign_out,
)

__all__ = [
    "Device",
    "Entered",
    "Me",
    "Member",
    "Membership",
    "Person",
    "SignedIn",
    "ask_reset",
    "change_password",
    "change_role",
    "enter_tenant",
    "hash_password",
    "list_members",
    "list_sessions",
    "me",
    "prune",
    "redeem_reset",
    "refresh",
    "remove_member",
    "revoke_session",
    "sign_in",
    "sign_out",
]
