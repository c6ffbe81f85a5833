"""What a network does to people: each scenario has a sentence, the files to send, and what befalls the requests."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol

from buildpeer.conformance.proxy import Answer, Cut, Fault, Link, Lost, Silence
from buildpeer.conformance.traffic import Exchange, Grant, Piece, Traffic, overlap

KIB = 1024
MIB = 1024 * KIB
MIXED = (300 * KIB, 2 * MIB, 9 * MIB)  # two files of one part, one of two
_TOLERANCE_S = 0.1
_PAGE = b"<html><body>Bem-vindo ao Wi-Fi do canteiro. Aceite os termos.</body></html>"
_HTML = {"Content-Type": "text/html"}


class Stage(Protocol):
    """What a scenario can do while it plays."""

    traffic: Traffic

    async def start(self) -> None:
        """Start the client."""
        ...

    async def finish(self) -> None:
        """Wait for the client to end."""
        ...

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the traffic has made this true, or the client has ended."""
        ...

    async def kill(self) -> None:
        """kill -9 the client and all that it started."""
        ...

    async def close_api(self, seconds: float) -> None:
        """Refuse connections to the API for so long."""
        ...

    def change_a_file(self) -> None:
        """Make the last file longer."""
        ...


class Scenario:
    """One evening on a building site.

    `optional`: a client may keep the protocol and never meet the fault. `excused`: it may say that it
    could not bring a file. `faultless`: no request is disturbed.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    files: ClassVar[tuple[int, ...]] = MIXED
    optional: ClassVar[bool] = False
    excused: ClassVar[bool] = False
    faultless: ClassVar[bool] = False

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def fault(self, x: Exchange) -> Fault | None:
        """What befalls this request."""
        return None

    async def play(self, stage: Stage) -> None:
        """Start the client and wait for its end."""
        await stage.start()
        await stage.finish()

    def judge(self, traffic: Traffic) -> Iterator[str]:
        """What the client did wrong here, beyond the rules that hold everywhere."""
        yield from ()

    def nth(self, x: Exchange) -> int:
        """Which of an upload's PUTs this is, or which of the API's calls to this path; 0 for anything else."""
        if x.is_put and x.grant:
            key = x.grant.upload_id
        elif x.door == "api" and x.method == "POST":
            key = x.path
        else:
            return 0
        self._times[key] += 1
        return self._times[key]


class Clean(Scenario):
    """Nothing goes wrong."""

    name = "clean"
    sentence = "A good network: every byte goes once"
    faultless = True


class CutBody(Scenario):
    """Connections are reset mid-body."""

    name = "cut"
    sentence = "The first two PUTs of each file are reset in the middle of their bodies"

    def fault(self, x: Exchange) -> Fault | None:
        return Cut(0.4) if x.is_put and self.nth(x) <= 2 else None


class AnswerLost(Scenario):
    """S3 takes the bytes and its answer is lost."""

    name = "answer-lost"
    sentence = "S3 takes the first PUT of each file, its answer is lost: 412 or `received` say that it is there"

    def fault(self, x: Exchange) -> Fault | None:
        return Lost() if x.is_put and self.nth(x) == 1 else None


class Silent(Scenario):
    """Nothing moves for some seconds."""

    name = "silence"
    sentence = "In the middle of the first PUT of each file nothing moves for 5 s, then it goes on"

    def fault(self, x: Exchange) -> Fault | None:
        return Silence(0.5, 5) if x.is_put and self.nth(x) == 1 else None


class _Busy(Scenario):
    def judge(self, traffic: Traffic) -> Iterator[str]:
        for told in (x for x in traffic.exchanges if x.retry_after_s):
            again = [x for x in traffic.exchanges if x.began > told.ended and _same_call(x, told)]
            waited_s = min((x.began for x in again), default=float("inf")) - told.ended
            if waited_s < told.retry_after_s - _TOLERANCE_S:
                asked_s = told.retry_after_s
                yield f"{told.method} {told.path}: came again after {waited_s:.1f} s, not {asked_s:.0f} s"


class BusyS3(_Busy):
    """S3 asks to be left alone."""

    name = "busy-s3"
    sentence = "S3 answers the first PUT of each file with 503 and Retry-After: 3; that call waits as long"

    def fault(self, x: Exchange) -> Fault | None:
        return _s3(503, "SlowDown", {"Retry-After": "3"}) if x.is_put and self.nth(x) == 1 else None


class BusyApi(_Busy):
    """The API asks to be left alone."""

    name = "busy-api"
    sentence = "The API answers opening and completion with 503 and Retry-After: 2; that call waits as long"

    def fault(self, x: Exchange) -> Fault | None:
        if x.door == "api" and x.path.endswith(("/uploads", "/completion")) and self.nth(x) == 1:
            problem = b'{"code": "unavailable", "status": 503, "title": "A part of the service is away; try again"}'
            return Answer(503, {"Retry-After": "2", "Content-Type": "application/problem+json"}, problem)
        return None


class Errors(Scenario):
    """S3 and the API fail inside."""

    name = "errors"
    sentence = "S3 answers three PUTs of each file with 500, the API two openings; pauses grow, nobody gives up"

    def fault(self, x: Exchange) -> Fault | None:
        if x.is_put and self.nth(x) <= 3:
            return _s3(500, "InternalError")
        return Answer(500, _HTML, b"oops") if _opens(x) and self.nth(x) <= 2 else None

    def judge(self, traffic: Traffic) -> Iterator[str]:
        for told in (x for x in traffic.exchanges if x.status == 500):
            for x in traffic.exchanges:
                if _same_call(x, told) and 0 < x.began - told.ended < 0.2:
                    yield f"{x.method} {x.path}: came again {x.began - told.ended:.2f} s after a 500"


class Expired(Scenario):
    """Signed URLs are no longer good."""

    name = "expired"
    sentence = "The first two URLs used of each file have expired (403): fresh ones are asked for, those not used again"

    def __init__(self) -> None:
        super().__init__()
        self._dead: dict[int, Grant] = {}  # by identity: what is signed in the same second has the same URL

    def fault(self, x: Exchange) -> Fault | None:
        if x.is_put and x.grant and (id(x.grant) in self._dead or self.nth(x) <= 2):
            self._dead[id(x.grant)] = x.grant
            return _s3(403, "AccessDenied")
        return None

    def judge(self, traffic: Traffic) -> Iterator[str]:
        refused: dict[int, float] = {}
        for x in traffic.puts:
            if x.began > refused.get(id(x.grant), float("inf")):
                yield f"PUT {x.path}: the same URL again after 403"
            if x.status == 403:
                refused.setdefault(id(x.grant), x.ended)


class Portal(Scenario):
    """A captive portal answers in everybody's place."""

    name = "portal"
    sentence = "A captive portal answers for S3 (200 with a page, then a 302) and for the API (200 with a page)"

    def fault(self, x: Exchange) -> Fault | None:
        if x.is_put:
            turn = self.nth(x)
            redirect = _HTML | {"Location": f"http://{x.headers.get('host', '')}/portal"}
            return Answer(200, _HTML, _PAGE) if turn == 1 else Answer(302, redirect, _PAGE) if turn == 2 else None
        return Answer(200, _HTML, _PAGE) if _opens(x) and self.nth(x) == 1 else None


class ApiAway(Scenario):
    """The API is deployed, badly, while files travel."""

    name = "api-away"
    sentence = "The API refuses connections for 4 s while files travel"
    files = (300 * KIB, 17 * MIB)
    faultless = True

    async def play(self, stage: Stage) -> None:
        await stage.start()
        await stage.until(lambda: any(x.received for x in stage.traffic.puts))
        await stage.close_api(4)
        await stage.finish()


class OpenLost(Scenario):
    """The API opens uploads and nobody hears of it."""

    name = "open-lost"
    sentence = "The API opens the uploads, its answer is lost twice: the same ids again, no second document"

    def fault(self, x: Exchange) -> Fault | None:
        return Lost() if _opens(x) and self.nth(x) <= 2 else None


class Killed(Scenario):
    """The system kills the app half-way."""

    name = "killed"
    sentence = "kill -9 half-way, and started again: nothing that was acknowledged is sent again"
    files = (*[512 * KIB] * 6, 26 * MIB)

    def __init__(self) -> None:
        super().__init__()
        self._link = Link(5 * MIB)
        self._before: list[Piece] = []

    def fault(self, x: Exchange) -> Fault | None:
        return self._link

    async def play(self, stage: Stage) -> None:
        traffic = stage.traffic
        await stage.start()
        await stage.until(lambda: _half_way(traffic, sum(self.files)))
        await stage.kill()
        self._before = _acknowledged(traffic)
        for x in traffic.puts:
            if not x.acknowledged:
                x.fault = "killed"
        traffic.run += 1
        await stage.start()
        await stage.finish()

    def judge(self, traffic: Traffic) -> Iterator[str]:
        for x in traffic.puts:
            if x.run > 1 and x.grant and (again := overlap(self._before, x.grant.piece)):
                yield f"PUT {x.path}: {again} bytes again that had been acknowledged before the kill"


class NoSuchUpload(Scenario):
    """S3 has lost a multipart upload."""

    name = "no-such-upload"
    sentence = (
        "S3 answers one part with 404 NoSuchUpload: what completion or `received` miss is sent, under the same id"
    )
    optional = True

    def fault(self, x: Exchange) -> Fault | None:
        if x.is_put and x.grant and x.grant.kind == "part" and self.nth(x) == 1:
            return _s3(404, "NoSuchUpload")
        return None

    def judge(self, traffic: Traffic) -> Iterator[str]:
        if len(_opened(traffic)) > len(self.files):
            yield f"{len(_opened(traffic))} ids for {len(self.files)} files"


class Incomplete(Scenario):
    """S3 said yes and lost it."""

    name = "incomplete"
    sentence = "S3 acknowledges a piece and loses it: completion says 409 with what is missing, and only that is sent"
    files = (17 * MIB,)

    def fault(self, x: Exchange) -> Fault | None:
        return Answer(200, {"ETag": '"lost"'}) if x.is_put and self.nth(x) == 1 else None

    def judge(self, traffic: Traffic) -> Iterator[str]:
        if not any(x.status == 409 for x in traffic.calls("POST", "/completion")):
            yield "completion was never asked for, or not before everything was there"


class Changed(Scenario):
    """Somebody saves the file while it travels."""

    name = "changed"
    sentence = "A file grows while it is sent: no body of a wrong length, and no mixture of old and new arrives"
    files = (300 * KIB, 6 * MIB)
    excused = True

    def fault(self, x: Exchange) -> Fault | None:
        of_the_last = x.is_put and x.grant and x.grant.offset + x.grant.length > self.files[0]
        return self._growing.pop() if of_the_last and self._growing else None

    async def play(self, stage: Stage) -> None:
        self._growing = [Silence(0.3, 0.3, stage.change_a_file)]
        await super().play(stage)


class Slow(Scenario):
    """The whole site shares 300 KiB/s."""

    name = "slow"
    sentence = "A link of 300 KiB/s for all: slow is no reason to give up, nor to send twice"
    files = (300 * KIB, 300 * KIB, 2 * MIB)
    faultless = True

    def __init__(self) -> None:
        super().__init__()
        self._link = Link(300 * KIB)

    def fault(self, x: Exchange) -> Fault | None:
        return self._link if x.is_put else None


SCENARIOS: tuple[type[Scenario], ...] = (
    Clean,
    CutBody,
    AnswerLost,
    Silent,
    BusyS3,
    BusyApi,
    Errors,
    Expired,
    Portal,
    ApiAway,
    OpenLost,
    Killed,
    NoSuchUpload,
    Incomplete,
    Changed,
    Slow,
)


def _s3(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message/></Error>'
    return Answer(status, {"Content-Type": "application/xml"} | (headers or {}), body.encode())


def _opens(x: Exchange) -> bool:
    return x.door == "api" and x.method == "POST" and x.path.endswith("/uploads")


def _opened(traffic: Traffic) -> set[str]:
    return {grant.upload_id for grant in traffic.grants.values()}


def _acknowledged(traffic: Traffic) -> list[Piece]:
    return [x.grant.piece for x in traffic.puts if x.grant and x.acknowledged and x.ended]


def _half_way(traffic: Traffic, size: int) -> bool:
    done = sum(length for _, _, length in set(_acknowledged(traffic)))
    return done >= 0.35 * size and any(x.received and not x.ended for x in traffic.puts)


def _same_call(one: Exchange, other: Exchange) -> bool:
    if one.is_put and other.is_put and one.grant and other.grant:
        return one.grant.piece == other.grant.piece
    return (one.door, one.method, one.path, one.body) == (other.door, other.method, other.path, other.body)
