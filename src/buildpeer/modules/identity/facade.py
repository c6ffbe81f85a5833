"""What other modules may ask of identity."""

from collections.abc import Collection
from datetime import datetime

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.rules import Level, Role, Tool
from buildpeer.platform.db import Transaction

__all__ = ["Level", "Role", "Tool", "check_email", "known_addresses", "may_send", "permit", "tools_seen_by"]


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


def tools_seen_by(role: str | None) -> frozenset[Tool]:
    """The tools that somebody of this role may at least see."""
    return frozenset(tool for tool in rules.TOOLS if rules.level_of(role, tool) != "none")


def may(tx: Transaction, tool: Tool, level: Level) -> bool:
    """Whether the caller may use a tool at this level."""
    return rules.holds(tx.role, tool, level)


def check_email(email: str) -> str:
    """The one spelling of an address. Raises Problem invalid for what isn't one."""
    return rules.check_email(email)


async def known_addresses(tx: Transaction, emails: Collection[str], now: datetime) -> set[str]:
    """Those addresses whose owners belong to the company, or are invited to it; nobody else invites anybody by a list
    until the transaction ends.
    """
    return await store.known_addresses(tx, emails, now)
