"""Doors for jobs: imports of places and people."""

import msgspec

from buildpeer.modules.jobs.facade import Mode, Outcome, Work
from buildpeer.modules.projects.service import importing
from buildpeer.modules.projects.service.importing import Invite, PeopleWanted
from buildpeer.platform import clock
from buildpeer.platform.errors import Problem


class _LocationsWanted(msgspec.Struct, frozen=True):
    csv: str
    mode: Mode


async def on_locations_import(work: Work) -> Outcome:
    """Make the places of a table."""
    if work.project_id is None:
        raise Problem("not_found")
    wanted = msgspec.convert(work.wanted, _LocationsWanted)
    return await importing.import_locations(work, project_id=work.project_id, csv=wanted.csv, mode=wanted.mode)


async def on_people_import(work: Work, *, invite: Invite) -> Outcome:
    """Invite the people of a table."""
    wanted = msgspec.convert(work.wanted, PeopleWanted)
    return await importing.import_people(
        work, csv=wanted.csv, mode=wanted.mode, web_url=wanted.web_url, invite=invite, now=clock.now()
    )
