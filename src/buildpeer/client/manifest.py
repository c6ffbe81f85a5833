"""Asks the server whether what this machine sent on a day is safe there."""

import asyncio
from datetime import date, datetime, time, timedelta
from pathlib import Path

import msgspec

from buildpeer.client.api import Api
from buildpeer.client.journal import Journal, Noted
from buildpeer.client.push import scope_of
from buildpeer.client.session import state_dir
from buildpeer.client.shapes import Claim

_AT_ONCE = 2000


class Checked(msgspec.Struct, frozen=True):
    """A file that was sent, and the server's verdict on it."""

    file: Noted
    verdict: str

    @property
    def safe(self) -> bool:
        """Whether the server has hashed what S3 holds, and it is this file."""
        return self.verdict == "safe"


async def check(api: Api, day: date, *, project_id: str = "", folder: Path | None = None) -> list[Checked]:
    """The files announced on that day, by this machine's clock and zone; of one project, or of all.

    What the server says nothing about is `missing`. Raises ApiError and NetworkError.
    """
    since = datetime.combine(day, time.min).timestamp()
    until = datetime.combine(day + timedelta(days=1), time.min).timestamp()

    def noted() -> list[Noted]:
        with Journal(folder or state_dir(), scope_of(api, project_id)) as journal:
            return journal.announced(since, until)

    files = await asyncio.to_thread(noted)
    verdicts: dict[str, str] = {}
    for start in range(0, len(files), _AT_ONCE):
        claims = [Claim(file.upload_id, file.sha256) for file in files[start : start + _AT_ONCE]]
        verdicts |= {answer.upload_id: answer.verdict for answer in (await api.manifest(claims)).files}
    return [Checked(file, verdicts.get(file.upload_id, "missing")) for file in files]
