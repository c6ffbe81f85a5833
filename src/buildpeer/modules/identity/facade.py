"""What other modules may ask of identity."""

from buildpeer.modules.identity import rules
from buildpeer.modules.identity.rules import Level, Tool
from buildpeer.platform.db import Transaction


def permit(tx: Transaction, tool: Tool, level: Level) -> None:
    """Ask after what was looked up, so that what may not be seen stays unseen: the role is today's, not the token's.

    Raises Problem not_found where the caller may not see the tool at all, not_allowed where they may do less.
    """
    rules.permit(tx.role, tool, level)


def may_send(role: str | None) -> bool:
    """Whether somebody of this role may send files."""
    return rules.level_of(role, "files") in ("standard", "admin")


def may(tx: Transaction, tool: Tool, level: Level) -> bool:
    """Whether the caller may use a tool at this level."""
    return rules.holds(tx.role, tool, level)
