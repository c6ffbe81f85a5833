"""The worker: takes facts from the status queues, relays the outbox, sweeps what was lost."""

import asyncio
import contextlib
import functools
import itertools
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

import msgspec
import structlog

from buildpeer import wiring
from buildpeer.facts import PART_ASSEMBLED
from buildpeer.modules.audit import service as audit
from buildpeer.modules.documents import service as documents
from buildpeer.modules.documents.handlers import on_upload_ready
from buildpeer.modules.identity import service as identity
from buildpeer.modules.jobs import service as jobs
from buildpeer.modules.jobs.facade import Handlers
from buildpeer.modules.notifications import rules as notices
from buildpeer.modules.notifications import service as notifications
from buildpeer.modules.operations import service as operations
from buildpeer.modules.projects import handlers as projects
from buildpeer.modules.projects.service import importing
from buildpeer.modules.reports.service import exporting as reports
from buildpeer.modules.reports.service import exporting_progress as progress
from buildpeer.modules.rfis import service as rfis
from buildpeer.modules.rfis.handlers import on_import, on_log
from buildpeer.modules.uploads import handlers
from buildpeer.modules.uploads import service as uploads
from buildpeer.platform import clock, telemetry
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.mail import Mailer
from buildpeer.platform.messaging import SQS_BATCH, Message, Queues
from buildpeer.platform.outbound import Outbound
from buildpeer.platform.realtime import Wakeups
from buildpeer.platform.signing import Signer
from buildpeer.platform.storage import Storage

RELAY_PAUSE_S = 0.05  # people wait for the log; for a message that is driven again nobody does
MESSAGES_PAUSE_S = 0.25
MAILS_PAUSE_S = 1.0
HEAR_PAUSE_S = 0.5
BURSTS_PAUSE_S = 2.0
DIGESTS_PAUSE_S = 10.0
DELIVERIES_PAUSE_S = 0.5
BULK_PAUSE_S = 1.0  # after a batch that wasn't full: in a kickoff the next one will be
SWEEP_PAUSE_S = 5.0
TRAIL_PAUSE_S = 1.0
COLLECT_PAUSE_S = 30.0
REMIND_PAUSE_S = 20.0
ORDERS_PAUSE_S = 2.0
JOBS_PAUSE_S = 0.5  # somebody waits for it
EXPIRY_PAUSE_S = 300.0
SEAL_PAUSE_S = 20.0  # the trail is sealed at most a minute behind
HOUR_S = 3600.0
_WAIT_S = 10
_CONSUMERS = 2  # per status queue
_JOBS_AT_ONCE = 2

# Who does which kind of job; `_handlers` adds those that need a key.
JOBS: Handlers = {
    documents.ARCHIVE: documents.write_archive,
    rfis.LOG: on_log,
    rfis.IMPORT: on_import,
    importing.LOCATIONS: projects.on_locations_import,
    importing.PEOPLE: functools.partial(projects.on_people_import, invite=identity.invite_by_mail),
    reports.DAILY_LOG: reports.print_log,
    progress.PROGRESS_REPORT: progress.print_report,
    progress.PHOTO_REPORT: progress.print_photos,
}

_log = structlog.get_logger()


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; a message under way that is cut off comes again."""
    settings.require("database_url", "people_database_url", "valkey_url", "audit_key", "webhook_key")
    telemetry.configure_logging(settings, process="worker")
    db = await Database.connect(settings.database_url)
    people_db = await Database.connect(settings.people_database_url, size=2 * _JOBS_AT_ONCE)
    queues = Queues(settings, threads=2 * _CONSUMERS + 4)
    storage = Storage(settings, now=clock.now)
    wakeups = Wakeups(settings.valkey_url)
    loopback = settings.webhooks_to_loopback
    outbound = Outbound(may_connect=functools.partial(notices.may_connect, loopback=loopback), at_once=notices.AT_ONCE)
    mailer = Mailer(settings.smtp_url, sender=settings.mail_from) if settings.smtp_url else None
    try:
        async with asyncio.TaskGroup() as group:
            loops = itertools.chain(
                _loops(settings, db, queues, storage, wakeups),
                _jobs(settings, db, people_db, storage),
                _notices(settings, db, outbound),
            )
            tasks = [group.create_task(coroutine) for coroutine in loops]
            if mailer is not None:

                async def relay_mails() -> int:
                    return await notifications.relay_mails(db, mailer, now=clock.now())

                tasks.append(group.create_task(_forever("relay_mails", relay_mails, pause_s=MAILS_PAUSE_S)))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])
            _log.info("worker_ready")
    finally:
        if mailer is not None:
            mailer.close()
        await outbound.close()
        queues.close()
        storage.close()
        await wakeups.close()
        await people_db.close()
        await db.close()


def _loops(
    settings: Settings, db: Database, queues: Queues, storage: Storage, wakeups: Wakeups
) -> Iterator[Coroutine[None, None, None]]:
    topology = wiring.topology(uploads_bucket=settings.uploads_bucket, verdicts=settings.verdicts)
    names = frozenset(queue.name for queue in topology.queues)
    for queue in topology.queues:
        if queue.step.function is None:
            for _ in range(_CONSUMERS):
                yield _forever("consume", lambda queue=queue: consume(db, storage, queues, queue), pause_s=0)

    async def relay_log() -> int:
        await notifications.relay_log(db, wakeups)
        return 0  # what comes in a rush is relayed together

    yield _forever("relay_log", relay_log, pause_s=RELAY_PAUSE_S)
    yield _forever("relay_messages", lambda: notifications.relay_messages(db, queues), pause_s=MESSAGES_PAUSE_S)
    yield _forever(
        "sweep",
        lambda: uploads.sweep(
            db, storage, queues=names, backlog=queues.backlog, on_ready=on_upload_ready, now=clock.now()
        ),
        pause_s=SWEEP_PAUSE_S,
    )
    dead = {queue.name: queue.dead_letters for queue in topology.queues}
    yield _forever("collect", lambda: operations.collect(db, queues, dead), pause_s=COLLECT_PAUSE_S)
    yield _forever("carry_out", lambda: operations.carry_out(db, queues), pause_s=ORDERS_PAUSE_S)
    if settings.verdicts == "scan":
        yield _forever("release", lambda: uploads.ask_scanner(db, queues), pause_s=ORDERS_PAUSE_S)
    yield _forever("erase", lambda: uploads.delete_erased(db, storage), pause_s=SWEEP_PAUSE_S)
    yield _forever("trail", lambda: identity.trail_failed_sign_ins(db), pause_s=TRAIL_PAUSE_S)
    yield _forever("seal", lambda: audit.seal(db, storage, bucket=settings.audit_bucket), pause_s=SEAL_PAUSE_S)
    yield _forever("remind", lambda: rfis.remind(db, now=clock.now()), pause_s=REMIND_PAUSE_S)
    yield _forever("housekeeping", lambda: _keep_house(db), pause_s=HOUR_S)


def _handlers(settings: Settings) -> Handlers:
    return {**JOBS, reports.BITACORA: reports.print_bitacora(Signer(settings.audit_key))}


def _jobs(
    settings: Settings, db: Database, people_db: Database, storage: Storage
) -> Iterator[Coroutine[None, None, None]]:
    handlers = _handlers(settings)
    for _ in range(_JOBS_AT_ONCE):
        yield _forever(
            "jobs",
            lambda: jobs.work(db, people_db, storage, handlers, bucket=settings.derived_bucket, now=clock.now),
            pause_s=JOBS_PAUSE_S,
        )
    yield _forever("expire_jobs", lambda: jobs.expire(db, storage, now=clock.now()), pause_s=EXPIRY_PAUSE_S)


def _notices(settings: Settings, db: Database, outbound: Outbound) -> Iterator[Coroutine[None, None, None]]:
    web_url = settings.web_url
    deliveries = notifications.Deliveries(db, outbound, Cipher(settings.webhook_key), now=clock.now)
    yield _forever("hear", lambda: notifications.hear(db, web_url=web_url, now=clock.now()), pause_s=HEAR_PAUSE_S)
    yield _forever(
        "end_bursts", lambda: notifications.end_bursts(db, web_url=web_url, now=clock.now()), pause_s=BURSTS_PAUSE_S
    )
    yield _forever(
        "send_digests",
        lambda: notifications.send_digests(db, web_url=web_url, now=clock.now()),
        pause_s=DIGESTS_PAUSE_S,
    )
    yield _forever("deliver", deliveries.begin, pause_s=DELIVERIES_PAUSE_S)


async def consume(db: Database, storage: Storage, queues: Queues, queue: wiring.Queue) -> int:
    """Take one batch of a status queue: together, or, when that fails, each by itself, so that one bad one fails alone.

    While it takes long, what waits for its turn is kept hidden from others.
    Raises what the database does while it is away: a message taken then would be counted as failed, and after five
    times as dead.
    """
    await db.call("select")
    messages = await queues.receive(queue.name, wait_s=_WAIT_S)
    hidden_at = time.monotonic()
    quick = [message for message in messages if PART_ASSEMBLED not in message.body]  # for a part, S3 is asked
    done = quick if await _handled_together(db, storage, quick) else []
    left = [message for message in messages if message not in done]
    for place, message in enumerate(left):
        if time.monotonic() - hidden_at > queue.visibility_s / 2:
            await queues.delete(queue.name, done)
            done = []
            await asyncio.gather(*(queues.hide(queue.name, m, seconds=queue.visibility_s) for m in left[place:]))
            hidden_at = time.monotonic()
        if await _handled(db, storage, queues, queue.name, message):
            done.append(message)
    await queues.delete(queue.name, done)
    if queue.lane == "bulk" and 0 < len(messages) < SQS_BATCH:
        await asyncio.sleep(BULK_PAUSE_S)
    return len(messages)


async def _handled_together(db: Database, storage: Storage, messages: Sequence[Message]) -> bool:
    if len(messages) < 2:
        return False
    try:
        bodies = [message.body for message in messages]
        await handlers.on_facts(db, storage, bodies, on_ready=on_upload_ready, now=clock.now())
    except Exception as exc:  # whichever it was, it is told of when it is taken by itself
        _log.info("batch_taken_apart", messages=len(messages), error=type(exc).__name__)
        return False
    return True


async def _handled(db: Database, storage: Storage, queues: Queues, queue: str, message: Message) -> bool:
    try:
        await handlers.on_facts(db, storage, [message.body], on_ready=on_upload_ready, now=clock.now())
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError, KeyError) as exc:
        _log.error("fact_refused", queue=queue, message=message.id, error=str(exc))
    except Exception:
        _log.exception("fact_failed", queue=queue, message=message.id, receives=message.receives)
    else:
        return True
    with contextlib.suppress(Exception):  # it comes again by itself, only later
        await queues.hide(queue, message, seconds=min(2**message.receives, 60))
    return False


async def _keep_house(db: Database) -> int:
    await notifications.prune(db, now=clock.now())
    await identity.prune(db)
    await operations.prune(db)
    await audit.keep_partitions(db)
    return 0


async def _forever(name: str, work: Callable[[], Awaitable[int]], *, pause_s: float) -> None:
    """Repeat `work`, at once while there is some, after a pause when there is none; a fault costs one pause."""
    while True:
        try:
            found = await work()
        except Exception:
            _log.exception("loop_failed", loop=name)
            await asyncio.sleep(1)
            continue
        if not found:
            await asyncio.sleep(pause_s)
