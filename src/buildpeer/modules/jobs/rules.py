"""Pure rules of jobs: their life, and how many somebody may have."""

from datetime import timedelta
from typing import Literal

State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]

LEASE = timedelta(seconds=30)  # a worker that says nothing for so long is taken for dead
BEAT_S = 5.0
MOST_TRIES = 5
AT_ONCE_PER_TENANT = 2
OPEN_PER_PERSON = 5
OPEN_PER_TENANT = 30
RESULT_LIFE = timedelta(days=7)
MEMORY = timedelta(days=90)  # of a job without a file


def is_open(state: State) -> bool:
    """Whether it waits or runs."""
    return state in ("queued", "running")


def permitted_actions(state: State) -> list[Literal["cancellation"]]:
    """What whoever ordered it may do now."""
    return ["cancellation"] if is_open(state) else []


def pause(tries: int) -> timedelta:
    """How long a job rests that broke at this try: 2, 4, 8, 16 … seconds."""
    return timedelta(seconds=2 ** min(tries, 8))
