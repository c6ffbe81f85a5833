"""What other modules may ask of identity."""

from buildpeer.modules.identity import rules
from buildpeer.modules.identity.rules import Level, Tool
from buildpeer.platform.db import Transaction


def permit(tx: Transaction, tool: Tool, level: Level) -> None:
    """Ask after what was looked up, so that what may not be seen stays unseen: the role is today's, not the token's.

    Raises Problem not_found where the caller may not see the tool at all, not_allowed where they may do less.
    """
    rules.permit(tx.role, tool, level)


def level(tx: Transaction, tool: Tool) -> Level:
    """What the caller may do with a tool, as things stand now."""
    return rules.level_of(tx.role, tool)


def may_send(role: str | None) -> bool:
    """Whether somebody of this role may send files."""
    return rules.level_of(role, "files") in ("standard", "admin")
