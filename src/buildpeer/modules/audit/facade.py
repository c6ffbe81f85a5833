"""What other modules may ask of the trail."""

from datetime import datetime, timedelta

from buildpeer.modules.audit import store
from buildpeer.platform.db import Database

SEALED_WITHIN = timedelta(minutes=5)  # five times what sealing ever takes


async def behind(db: Database, *, now: datetime) -> int:
    """How many tenants have entries that should have been sealed and are not."""
    return await store.behind(db, now - SEALED_WITHIN)
