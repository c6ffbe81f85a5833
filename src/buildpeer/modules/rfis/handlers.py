"""Doors for jobs: the log of RFIs, and their import."""

import msgspec

from buildpeer.modules.jobs.facade import Outcome, Work
from buildpeer.modules.rfis import service
from buildpeer.modules.rfis.service import LogWanted, NewRfiImport
from buildpeer.platform import clock
from buildpeer.platform.errors import Problem


async def on_log(work: Work) -> Outcome:
    """Write the log that somebody ordered."""
    if work.project_id is None:
        raise Problem("not_found")
    wanted = msgspec.convert(work.wanted, LogWanted)
    return await service.write_log(work, project_id=work.project_id, wanted=wanted, now=clock.now())


async def on_import(work: Work) -> Outcome:
    """Make the RFIs of a table."""
    if work.project_id is None:
        raise Problem("not_found")
    wanted = msgspec.convert(work.wanted, NewRfiImport)
    return await service.import_rfis(work, project_id=work.project_id, wanted=wanted, now=clock.now())
