"""Doors for sign-in, one's own account, and people: a file for each controller."""

from buildpeer.modules.identity.http.account import AccountController
from buildpeer.modules.identity.http.callers import caller
from buildpeer.modules.identity.http.invitations import InvitationsController
from buildpeer.modules.identity.http.keys import ApiKeysController
from buildpeer.modules.identity.http.members import MembersController
from buildpeer.modules.identity.http.sessions import SessionsController

__all__ = [
    "AccountController",
    "ApiKeysController",
    "InvitationsController",
    "MembersController",
    "SessionsController",
    "caller",
]
