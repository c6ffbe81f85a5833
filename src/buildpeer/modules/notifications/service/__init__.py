"""Who is told what, and how: one verb, one function."""

from buildpeer.modules.notifications.service.delivering import Deliveries
from buildpeer.modules.notifications.service.digesting import send_digests
from buildpeer.modules.notifications.service.feed import (
    LOG_LIFE,
    STREAMS_PER_COMPANY,
    STREAMS_PER_PERSON,
    Feed,
    News,
    Reset,
    prune,
    relay_log,
    relay_mails,
    relay_messages,
)
from buildpeer.modules.notifications.service.hearing import end_bursts, hear

__all__ = [
    "LOG_LIFE",
    "STREAMS_PER_COMPANY",
    "STREAMS_PER_PERSON",
    "Deliveries",
    "Feed",
    "News",
    "Reset",
    "end_bursts",
    "hear",
    "prune",
    "relay_log",
    "relay_mails",
    "relay_messages",
    "send_digests",
]
