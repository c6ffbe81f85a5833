"""Mails that gather notices: at once, by the hour, or at 8:00 where their reader is."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID, uuid5

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.notifications import rules, store
from buildpeer.modules.notifications.rules import Member
from buildpeer.modules.notifications.store import Notice
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.mail import Letter
from buildpeer.platform.messages import MORE_NOTICES, NO_PROJECT, notice_text

_MAILS_AT_ONCE = 50


async def send_digests(db: Database, *, web_url: str, now: datetime) -> int:
    """Write the mails that are due; returns for how many people.

    Notices leave the queue in the transaction that leaves the mail, so each is in one mail. What was read in the app
    meanwhile, or is of a project that its reader no longer sees, is in none.
    """
    due = await store.due_digests(db, now, _MAILS_AT_ONCE)
    for row in due:
        await _send(db, row["tenant_id"], row["person_id"], web_url=web_url, now=now)
    return len(due)


async def _send(db: Database, tenant_id: UUID, person_id: UUID, *, web_url: str, now: datetime) -> None:
    async with db.transaction(Scope(tenant_id, None)) as tx:
        reader = await store.reader(tx, person_id)
        taken = await store.take_mailed(tx, person_id, now)
        if reader is None:
            return
        member = Member(
            person_id=person_id,
            role=reader["role"],
            projects=frozenset(reader["projects"]),
            tools=identity.tools_seen_by(reader["role"]),
        )
        told = [n for n in taken if n.read_at is None and rules.still_sees(member, n.topic, n.project_id)]
        if not told:
            return
        letter = Letter(
            mail_id=uuid5(person_id, f"{tenant_id} {told[0].position} {told[-1].position}"),
            template="digest" if len(told) > 1 else "digest_of_one",
            recipient=reader["email"],
            locale=reader["locale"],
            facts={
                "count": len(told),
                "company": reader["company"],
                "first": _text(told[0], reader["locale"]),
                "lines": _lines(told, reader["locale"]),
                "link": web_url,
            },
            known_only=True,
        )
        await tx.mail(letter)


def _lines(told: Sequence[Notice], locale: str) -> str:
    shown = sorted(told[: rules.MOST_LINES], key=lambda notice: notice.project_name or "")
    lines: list[str] = []
    for project, notices in groupby(shown, lambda notice: notice.project_name):
        lines += [project or NO_PROJECT[locale], *(f"  • {_text(notice, locale)}" for notice in notices)]
    if len(told) > len(shown):
        lines.append(MORE_NOTICES[locale].format(count=len(told) - len(shown)))
    return "\n".join(lines)


def _text(notice: Notice, locale: str) -> str:
    return notice_text(notice.topic, locale, count=notice.count, facts=notice.facts)
