"""Pure rules of people: who may do what, and how long a sign-in lasts."""

import re
from datetime import datetime, timedelta
from typing import Literal, get_args
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from buildpeer.platform.errors import Problem
from buildpeer.platform.limits import Limit

Role = Literal["owner", "manager", "residente", "inversionista", "empleado_obra"]
Level = Literal["none", "read", "standard", "admin"]
Tool = Literal[
    "company",
    "people",
    "audit",
    "projects",
    "files",
    "drawings",
    "shares",
    "daily_logs",
    "rfis",
    "reports",
    "budgets",
]
InvitationKind = Literal["email", "crew", "device"]
Locale = Literal["es", "pt", "en"]
ROLES: tuple[Role, ...] = get_args(Role)
LEVELS: tuple[Level, ...] = get_args(Level)  # each holds those before it
TOOLS: tuple[Tool, ...] = get_args(Tool)

# Who may do what, within the projects that row-level security shows them: docs/permissions.md is made of this.
# none: it isn't there; read: see it; standard: work with it; admin: decide over others' work too.
PERMISSIONS: dict[Tool, tuple[Level, Level, Level, Level, Level]] = {
    # tool         owner    manager     residente   inversionista  empleado_obra
    "company": ("admin", "read", "none", "none", "none"),
    "people": ("admin", "standard", "read", "none", "none"),
    "audit": ("read", "read", "none", "none", "none"),
    "projects": ("admin", "admin", "read", "read", "read"),
    "files": ("admin", "admin", "standard", "read", "standard"),
    "drawings": ("admin", "admin", "standard", "none", "read"),
    "shares": ("admin", "admin", "standard", "none", "none"),
    "daily_logs": ("admin", "admin", "admin", "none", "standard"),
    "rfis": ("admin", "admin", "standard", "none", "standard"),
    "reports": ("admin", "admin", "standard", "read", "none"),
    "budgets": ("admin", "standard", "read", "none", "none"),
}

# Tries that failed, by the name tried and by where they come from: crews share an address behind their carrier's.
TRIES_BY_ACCOUNT = Limit("account", quota=10, window_s=900)
TRIES_BY_ADDRESS = Limit("address", quota=100, window_s=900)
TRIES_BY_CODE = Limit("code", quota=5, window_s=900)  # of the second step, by person: few, for it has 6 digits
MAILS_BY_ACCOUNT = Limit("mails-account", quota=3, window_s=3600)
MAILS_BY_ADDRESS = Limit("mails-address", quota=30, window_s=3600)
RESETS_BY_ADDRESS = Limit("resets-address", quota=100, window_s=900)  # each costs a slow hash, also a made-up one
INVITATIONS_BY_COMPANY = Limit("invitations-company", quota=500, window_s=3600)  # by e-mail
INVITATIONS_BY_RECIPIENT = Limit("invitations-recipient", quota=3, window_s=3600)  # of one company
LEAST_PASSWORD = 10  # characters; length is what counts (NIST SP 800-63B)
MAILED_LIFE = timedelta(days=7)
QR_LIFE = timedelta(hours=24)
MOST_USES = 200  # of one QR code
PIN_TRIES = 5
ENROLMENT_LIFE = timedelta(hours=1)
RECOVERY_CODES = 10
RECOVERY_BYTES = 10  # random ones in each: 16 letters and digits
RESET_LIFE = timedelta(minutes=30)
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f.]+")
_CODE = re.compile(r"[0-9]{6}")
_STEP_S = 30
GRACE = timedelta(seconds=60)  # a reply lost on a bad network must not sign anybody out


class Session(msgspec.Struct, frozen=True):
    """A sign-in on one device; `generation` counts its refresh tokens. `device_id` is the device whose key began it, in
    whose tenant it stays.
    """

    person_id: UUID
    session_id: UUID
    tenant_id: UUID
    generation: int
    rotated_at: datetime
    ended_at: datetime | None
    device_id: UUID | None


def level_of(role: str | None, tool: Tool) -> Level:
    """What a role may do with a tool; nothing for who is no member."""
    column: dict[str | None, Level] = dict(zip(ROLES, PERMISSIONS[tool], strict=True))
    return column.get(role, "none")


def permissions_of(role: str) -> dict[Tool, Level]:
    """A role's column of the table."""
    return {tool: level_of(role, tool) for tool in TOOLS}


def holds(role: str | None, tool: Tool, level: Level) -> bool:
    """Whether a role may use a tool at this level."""
    return LEVELS.index(level_of(role, tool)) >= LEVELS.index(level)


def permit(role: str | None, tool: Tool, level: Level) -> None:
    """Raises Problem not_found where the role may not even see the tool, not_allowed where it may, but not do this."""
    held = level_of(role, tool)
    if held == "none":
        raise Problem("not_found")
    if not holds(role, tool, level):
        raise Problem("not_allowed")


def permissions_page() -> str:
    """The table for people, in Markdown."""
    lines = [
        "# Who may do what",
        "",
        "Written by `make openapi` from the table in `src/buildpeer/modules/identity/rules.py`.",
        "",
        "* `none`: it isn't there for them, and asking for it answers 404",
        "* `read`: see it; doing more answers 403",
        "* `standard`: work with it",
        "* `admin`: decide over others' work too",
        "",
        "All within the projects that somebody belongs to: owners and managers belong to every project of their",
        "company. An `inversionista` reads only what is published to investors.",
        "",
        f"| tool | {' | '.join(ROLES)} |",
        f"|---|{'---|' * len(ROLES)}",
        *(f"| {tool} | {' | '.join(PERMISSIONS[tool])} |" for tool in TOOLS),
    ]
    return "\n".join(lines) + "\n"


def check_password(password: str) -> None:
    """Raises Problem password_weak for one that is too short."""
    if len(password) < LEAST_PASSWORD:
        raise Problem("password_weak", least=LEAST_PASSWORD)


def check_email(email: str) -> str:
    """The one spelling of an address, by which accounts are known. Raises Problem invalid for what isn't one."""
    spelled = email.strip().lower()
    if not _EMAIL.fullmatch(spelled) or len(spelled) > 254:
        raise Problem("invalid", "email must look like ana@example.com")
    return spelled


def check_pin(pin: str) -> str:
    """Raises Problem invalid for what isn't 6 digits."""
    if not re.fullmatch(r"[0-9]{6}", pin):
        raise Problem("invalid", "pin must be 6 digits")
    return pin


def totp_uri(secret: bytes, *, account: str) -> str:
    """What authenticator apps read from a QR code (Google's Key URI format)."""
    return _totp(secret).get_provisioning_uri(account, "BuildPeer")


def looks_like_totp(code: str) -> bool:
    """Whether it is a code of an app: recovery codes are longer."""
    return _CODE.fullmatch(spelled(code)) is not None


def totp_step(secret: bytes, code: str, now: datetime) -> int | None:
    """The time step (RFC 6238 §4.2) whose code this is: this one, the one before or the one after, since clocks differ
    and people type slowly (§5.2, §6). None for a wrong code.
    """
    this = int(now.timestamp()) // _STEP_S
    given = spelled(code).encode()
    steps = (step for step in (this - 1, this, this + 1) if bytes_eq(_totp(secret).generate(step * _STEP_S), given))
    return next(steps, None)


def spelled(code: str) -> str:
    """The one spelling of a code, which people type with blanks, dashes and small letters."""
    return re.sub(r"[\s-]", "", code).upper()


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, 6, SHA1(), _STEP_S)  # noqa: S303 - what every app does (RFC 6238 §1.2)


def check_invitation(kind: InvitationKind, *, role: Role, uses: int) -> None:
    """Raises Problem invalid for more uses than a QR code has, or a crew that would be more than a crew.

    A QR code hangs on a wall, so whoever finds it must not get to manage anything by it.
    """
    if not 1 <= uses <= MOST_USES:
        raise Problem("invalid", f"uses must be 1 to {MOST_USES}")
    if kind == "crew" and role != "empleado_obra":
        raise Problem("invalid", "a crew joins as empleado_obra")


def judge_refresh(session: Session, generation: int, now: datetime) -> Literal["rotate", "repeat", "end", "ended"]:
    """What a genuine refresh token of `generation` may do.

    The newest rotates; the one before gets the same successor again for GRACE; any older use means that somebody
    else has the token, and ends the session for both.
    """
    if session.ended_at is not None:
        return "ended"
    if generation == session.generation:
        return "rotate"
    if generation == session.generation - 1 and now - session.rotated_at < GRACE:
        return "repeat"
    return "end"
