"""What is killed and when, drawn from a seed.

A moment is a count, not a time: "once 17 files are scanned". So a seed means the same on a slow machine.
"""

import random
from typing import Literal

import msgspec

Target = Literal["client", "api", "worker", "functions", "ministack", "postgres", "valkey"]
Milestone = Literal["receiving", "arrived", "scanned", "ready"]

OFTEN: tuple[Target, ...] = ("client", "api", "worker", "functions", "ministack")
ONCE: tuple[Target, ...] = ("postgres", "valkey")
ON_THE_WAY: tuple[Milestone, ...] = ("arrived", "scanned", "ready")


class Kill(msgspec.Struct, frozen=True):
    """Kill `target` once `count` files have come as far as `milestone`."""

    target: Target
    milestone: Milestone
    count: int


def draw(seed: int, *, files: int, plans: int, rounds: int) -> list[Kill]:
    """`rounds` kills of each part of the pipeline, one of each store, and S3 while it has a plan's parts in memory."""
    dice = random.Random(seed)
    kills = [
        Kill(target, dice.choice(ON_THE_WAY), dice.randint(1, files * 9 // 10)) for target in (*OFTEN * rounds, *ONCE)
    ]
    return [Kill("ministack", "receiving", dice.randint(1, plans // 2)), *kills]
