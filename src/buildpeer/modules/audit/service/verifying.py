"""Finding out whether the trail is what was sealed."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer.modules.audit import rules, store
from buildpeer.modules.audit.rules import Entry
from buildpeer.modules.audit.service.sealing import Seal
from buildpeer.modules.audit.store import Batch, Head
from buildpeer.platform.db import Database, Transaction

LATE = timedelta(minutes=15)  # by then every entry is in a batch, and its seal in the second place
_BATCHES_AT_ONCE = 20
_ENTRIES_AT_ONCE = 2000
_WAITING_TOLD = 1000


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it was sealed: which entry, batch or seal, what is wrong, and when it was made."""

    what: Literal["entry", "batch", "seal"]
    number: int
    problem: str
    at: datetime | None = None


async def verify(
    db: Database,
    seals: Sequence[Seal],
    *,
    tenant_id: UUID,
    now: datetime,
    progress: Callable[[int, int], None],
) -> AsyncIterator[Finding]:
    """Compute everything anew, as of one moment, and tell what is not as it was sealed.

    `db` is connected as the trail's owner. `seals` are those of the second place, read before, so that each must be
    in the database. Of a company that was erased, the chain is verified: its batches list nothing any more.
    `progress` hears how many entries have been looked at, of how many; each is looked at twice.
    """
    async with db.across_tenants() as tx:
        await store.snapshot(tx)
        entries, sealed = await store.counts(tx, tenant_id)
        steps = _Steps(progress, entries + sealed)
        chain = _Chain(seals, erased=await store.erased(tx, tenant_id) is not None)
        async for batch in _batches(tx, tenant_id):
            for finding in chain.follow(batch):
                yield finding
            for finding in _compare(batch, await store.listed(tx, batch)):
                yield finding
            steps.take(len(batch.entry_ids))
        for finding in chain.end(await store.head(tx, tenant_id), now):
            yield finding
        async for finding in _strays(tx, tenant_id, steps):
            yield finding
        for row in await store.waiting(tx, tenant_id, now - LATE, _WAITING_TOLD):
            problem = f"has not been sealed for {_minutes(now - row['occurred_at'])} minutes"
            yield Finding(
                "entry",
                row["entry_id"],
                problem if row["present"] else "was removed before it was sealed",
                row["occurred_at"],
            )


async def erased_since(db: Database, *, tenant_id: UUID) -> datetime | None:
    """When the erasing of a company began; None: it is there. `db` is connected as the trail's owner."""
    async with db.across_tenants() as tx:
        return await store.erased(tx, tenant_id)


class _Steps:
    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def take(self, count: int) -> None:
        self._done += count
        self._progress(self._done, max(self._total, self._done))


class _Chain:
    """The chain of batches as it is read, beside the seals of the second place."""

    def __init__(self, seals: Sequence[Seal], *, erased: bool) -> None:
        self._erased = erased
        self._seals: dict[int, set[bytes]] = {}
        for seal in seals:
            self._seals.setdefault(seal.number, set()).add(seal.hash)
        self._last: Batch | None = None

    def follow(self, batch: Batch) -> list[Finding]:
        """What is wrong with the next batch by itself and in its place."""
        number, previous = (self._last.number, self._last.hash) if self._last else (0, rules.GENESIS)
        found = [
            Finding("batch", missing, "is missing" + self._seen(missing), None)
            for missing in range(number + 1, batch.number)
        ]
        problems: list[str] = []
        if batch.number == number + 1 and batch.previous != previous:
            problems.append("does not follow on the batch before it")
        if rules.header_hash(batch) != batch.hash:
            problems.append("was changed: its hash is another")
        leaves = rules.split_leaves(batch.leaves)
        lists_nothing = not (leaves or batch.entry_ids or batch.entry_times)
        if rules.Tree(leaves).root() != batch.root and not (self._erased and lists_nothing):
            problems.append("was changed: its leaves do not give its root")
        if not batch.entries == len(leaves) == len(batch.entry_ids) == len(batch.entry_times) and not (
            self._erased and lists_nothing
        ):
            problems.append("was changed: it does not list as many entries as it sealed")
        if self._seals.get(batch.number, {batch.hash}) != {batch.hash}:
            problems.append("is not the one whose seal lies in the second place")
        self._last = batch
        return found + [Finding("batch", batch.number, problem, batch.sealed_at) for problem in problems]

    def end(self, head: Head | None, now: datetime) -> list[Finding]:
        """What is missing after the last batch."""
        last = self._last.number if self._last else 0
        promised = max([head.number if head else 0, *self._seals])
        found = [
            Finding("batch", missing, "is missing" + self._seen(missing), None)
            for missing in range(last + 1, promised + 1)
        ]
        if self._last and self._last.sealed_at < now - LATE and max(self._seals, default=0) < last:
            found.append(Finding("seal", last, "does not lie in the second place", self._last.sealed_at))
        if self._last and (head is None or (head.number == last and head.hash != self._last.hash)):
            found.append(Finding("batch", last, "is not the one that the sealer remembers", self._last.sealed_at))
        return found

    def _seen(self, number: int) -> str:
        return ", and its seal lies in the second place" if number in self._seals else ""


def _compare(batch: Batch, there: dict[int, Entry]) -> list[Finding]:
    """The entries that a batch lists, beside those in the table."""
    found: list[Finding] = []
    leaves = rules.split_leaves(batch.leaves)
    for entry_id, at, leaf in zip(batch.entry_ids, batch.entry_times, leaves, strict=False):
        entry = there.get(entry_id)
        if entry is None:
            gone = " before it was sealed" if leaf == rules.GONE else ""
            found.append(Finding("entry", entry_id, f"was removed{gone} (batch {batch.number})", at))
        elif rules.leaf_hash(rules.canonical(entry)) != leaf:
            told = f"{entry.action} {entry.object_type} {entry.object_id}"
            found.append(Finding("entry", entry_id, f"was changed (batch {batch.number}); it says: {told}", at))
    return found


async def _batches(tx: Transaction, tenant_id: UUID) -> AsyncIterator[Batch]:
    after = 0
    while batches := await store.batches(tx, tenant_id, after, _BATCHES_AT_ONCE):
        for batch in batches:
            yield batch
        after = batches[-1].number


async def _strays(tx: Transaction, tenant_id: UUID, steps: _Steps) -> AsyncIterator[Finding]:
    after: tuple[datetime, int] | None = None
    while rows := await store.stray(tx, tenant_id, after, _ENTRIES_AT_ONCE):
        for row in rows:
            if row["stray"]:
                told = f"{row['action']} {row['object_type']} {row['object_id']}"
                yield Finding("entry", row["entry_id"], f"was inserted; it says: {told}", row["occurred_at"])
        steps.take(len(rows))
        after = (rows[-1]["occurred_at"], rows[-1]["entry_id"])


def _minutes(time: timedelta) -> int:
    return int(time.total_seconds() // 60)
