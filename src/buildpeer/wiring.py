"""The event topology in one table: which events go to which queue, and who works on it.

The local stack and the AWS stacks are both built from `topology()`, so they can't disagree. A key begins with
its lane (`live/` or `bulk/`), and every step has a queue per lane, so one tenant's kickoff never stands in
front of another's photo.
"""

from typing import Any, Literal

import msgspec

from buildpeer import facts

Lane = Literal["live", "bulk"]
LANES: tuple[Lane, ...] = ("live", "bulk")
MAX_RECEIVES = 5


class Step(msgspec.Struct, frozen=True):
    """One kind of work on a queue.

    `function` is the module under `entrypoints/functions` that does it, or None for the worker. `timeout_s` is
    how long one message may take; a queue hides a message six times as long, as AWS advises
    (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
    """

    name: str
    function: str | None
    timeout_s: int
    batch: int


SCAN = Step("scan", "scan", timeout_s=60, batch=5)
DERIVE = Step("derive", "derive", timeout_s=60, batch=2)
ASSEMBLE = Step("assemble", "assemble", timeout_s=60, batch=2)
STATUS = Step("status", None, timeout_s=10, batch=10)
STEPS = (SCAN, DERIVE, ASSEMBLE, STATUS)


class Queue(msgspec.Struct, frozen=True):
    """A queue of one step and lane, and the dead-letter queue beneath it; times in seconds."""

    name: str
    step: Step
    lane: Lane
    visibility_s: int
    max_receives: int = MAX_RECEIVES

    @property
    def dead_letters(self) -> str:
        """The name of its dead-letter queue."""
        return f"{self.name}-dlq"


class Rule(msgspec.Struct, frozen=True):
    """An EventBridge rule: events that match `pattern` go to the queue named `queue`."""

    name: str
    pattern: dict[str, Any]
    queue: str


class Topology(msgspec.Struct, frozen=True):
    """Everything between S3 and the worker."""

    queues: tuple[Queue, ...]
    rules: tuple[Rule, ...]


def queue_name(step: Step, lane: Lane) -> str:
    """The name of the queue that holds a step's work in a lane."""
    return f"buildpeer-{step.name}-{lane}"


def topology(*, uploads_bucket: str, verdicts: Literal["scan", "guardduty"]) -> Topology:
    """The whole topology for one data region.

    `verdicts` chooses the one source of scan verdicts; the other's rules don't exist.
    """
    queues = tuple(
        Queue(queue_name(step, lane), step, lane, visibility_s=6 * step.timeout_s)
        for step in STEPS
        if not (step is SCAN and verdicts == "guardduty")
        for lane in LANES
    )
    rules = tuple(rule for lane in LANES for rule in _rules(uploads_bucket, verdicts, lane))
    return Topology(queues=queues, rules=rules)


def _rules(bucket: str, verdicts: str, lane: Lane) -> list[Rule]:
    created = _pattern(facts.SOURCE_S3, facts.OBJECT_CREATED, _ours(bucket, lane))
    derived = _pattern(facts.SOURCE_DERIVE, facts.FILE_DERIVED, _ours(bucket, lane))
    assembled = _pattern(facts.SOURCE_ASSEMBLE, facts.PART_ASSEMBLED, _ours(bucket, lane))
    if verdicts == "guardduty":
        scanned, clean = _guardduty(bucket, lane)
    else:
        scanned = _pattern(facts.SOURCE_SCAN, facts.FILE_SCANNED, _ours(bucket, lane))
        clean = _pattern(facts.SOURCE_SCAN, facts.FILE_SCANNED, _ours(bucket, lane) | {"verdict": ["clean"]})
    routes = [
        ("created-to-status", created, STATUS),
        ("scanned-to-status", scanned, STATUS),
        ("derived-to-status", derived, STATUS),
        ("assembled-to-status", assembled, STATUS),
        ("clean-to-derive", clean, DERIVE),
    ]
    if verdicts == "scan":
        routes.append(("created-to-scan", created, SCAN))
    return [Rule(f"buildpeer-{name}-{lane}", pattern, queue_name(step, lane)) for name, pattern, step in routes]


def _pattern(source: str, detail_type: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {"source": [source], "detail-type": [detail_type], "detail": detail}


def _ours(bucket: str, lane: Lane) -> dict[str, Any]:
    return {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": f"{lane}/"}]}}


def _guardduty(bucket: str, lane: Lane) -> tuple[dict[str, Any], dict[str, Any]]:
    place = {"s3ObjectDetails": {"bucketName": [bucket], "objectKey": [{"prefix": f"{lane}/"}]}}
    clean = place | {"scanResultDetails": {"scanResultStatus": ["NO_THREATS_FOUND"]}}
    return (
        _pattern(facts.SOURCE_GUARDDUTY, facts.GUARDDUTY_RESULT, place),
        _pattern(facts.SOURCE_GUARDDUTY, facts.GUARDDUTY_RESULT, clean),
    )
