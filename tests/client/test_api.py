import asyncio
import contextlib
import itertools
import json
import time

import pytest
from fake_server import Fake, Fault, problem

from buildpeer.client import sse
from buildpeer.client.api import Api, Memory
from buildpeer.client.errors import ApiError, NetworkError, Patience
from buildpeer.client.session import Store
from buildpeer.client.shapes import NewUpload, Upload, event_of

SWIFT = Patience(failures=4, first_s=0.001, longest_s=0.01, away_s=0.5, probe_s=0.01)


async def test_projects_of_all_pages_arrive(api: Api) -> None:
    assert [p.code for p in await api.projects()] == ["TRM", "ESJ"]


async def test_wrong_password_is_told_by_its_code(fake: Fake) -> None:
    async with Api(fake.url, patience=SWIFT) as api:
        with pytest.raises(ApiError) as caught:
            await api.sign_in("ana@andes.co", "nope")
    assert (caught.value.code, caught.value.status) == ("bad_credentials", 401)
    assert len(fake.calls("POST", "/v1/sessions")) == 1, "a wrong password must not be tried again"


async def test_an_expired_token_is_renewed_once_for_many_calls(fake: Fake, api: Api) -> None:
    fake.expire_tokens()
    await asyncio.gather(*(api.projects() for _ in range(10)))
    assert len(fake.calls("POST", "/v1/tokens")) == 1


async def test_a_token_is_renewed_before_it_ends(fake: Fake) -> None:
    keeper = Memory()
    async with Api(fake.url, keeper=keeper, patience=SWIFT) as api:
        session = await api.sign_in("ana@andes.co", "secreto")
    keeper.save(type(session)("old", session.refresh_token, time.time() + 5, session.person, session.tenant))
    async with Api(fake.url, keeper=keeper, patience=SWIFT) as api:
        await api.projects()
    assert [r.path for r in fake.requests][1:3] == ["/v1/tokens", "/v1/projects"]


async def test_a_lost_renewal_is_repeated_with_the_same_token(fake: Fake, api: Api) -> None:
    fake.expire_tokens()
    fake.faults = [Fault("POST", "/v1/tokens", "lost")]
    await api.projects()
    first, second = fake.calls("POST", "/v1/tokens")
    assert first.json == second.json
    fake.expire_tokens()
    await api.projects()  # the successor is the one in use now


async def test_an_ended_session_is_told_or_opened_anew_with_credentials(fake: Fake) -> None:
    for credentials in (None, ("ana@andes.co", "secreto")):
        async with Api(fake.url, keeper=Memory(), credentials=credentials, patience=SWIFT) as api:
            await api.sign_in("ana@andes.co", "secreto")
            fake.expire_tokens()
            fake.refresh_now = "another"
            if credentials:
                assert await api.projects()
                continue
            with pytest.raises(ApiError, match="ended") as caught:
                await api.projects()
            assert caught.value.code == "session_ended"


async def test_too_many_wrong_passwords_are_told_at_once_instead_of_waited_out(fake: Fake) -> None:
    refusal = problem(429, "too_many_tries", "Too many tries; wait", "Espere 900 segundos.")
    fake.faults = [Fault("POST", "/v1/sessions", 429, 9, headers={"Retry-After": "900"}, body=refusal.body)]
    fake.faults[0].content_type = "application/problem+json"
    async with Api(fake.url, patience=SWIFT) as api:
        with pytest.raises(ApiError, match="900") as caught:
            await api.sign_in("ana@andes.co", "otra vez")
    assert (caught.value.code, len(fake.calls("POST", "/v1/sessions"))) == ("too_many_tries", 1)


async def test_two_processes_share_one_renewal(fake: Fake) -> None:
    """Each has its own Store, as two processes would: the second must take over what the first was given."""
    async with (
        Api(fake.url, keeper=Store(fake.url), patience=SWIFT) as one,
        Api(fake.url, keeper=Store(fake.url), patience=SWIFT) as other,
    ):
        await one.sign_in("ana@andes.co", "secreto")
        other._session = one.session  # as it was read when both began
        fake.expire_tokens()
        await asyncio.gather(one.projects(), other.projects())
        assert len(fake.calls("POST", "/v1/tokens")) == 1
        fake.expire_tokens()
        await one.projects()
        fake.successors.clear()  # the minute of grace is over
        fake.expire_tokens()
        await other.projects()


@pytest.mark.parametrize("how", [500, 502, 503, 429, "cut", "lost", 200])
async def test_what_passes_is_tried_again(fake: Fake, api: Api, how: str | int) -> None:
    """200 is a captive portal's page: an answer, but not BuildPeer's."""
    fake.faults = [Fault("GET", "/v1/projects", how, times=3)]
    assert len(await api.projects()) == 2


async def test_patience_ends(fake: Fake, api: Api) -> None:
    fake.faults = [Fault("GET", "/v1/projects", 500, times=99)]
    with pytest.raises(ApiError):
        await api.projects()
    assert fake.faults[0].times == 99 - 4


async def test_a_network_that_is_away_is_waited_for_by_the_clock(fake: Fake, api: Api) -> None:
    fake.faults = [Fault("GET", "/v1/projects", "cut", times=10_000)]
    began = time.monotonic()
    with pytest.raises(NetworkError):
        await api.projects()
    assert time.monotonic() - began >= api.patience.away_s
    assert 10_000 - fake.faults[0].times > api.patience.failures


@pytest.mark.parametrize("status", [302, 403, 404])
async def test_a_portal_s_page_is_no_refusal(fake: Fake, api: Api, status: int) -> None:
    fake.faults = [Fault("GET", "/v1/projects", status, times=3)]
    assert len(await api.projects()) == 2


async def test_refusals_are_not_repeated(fake: Fake, api: Api) -> None:
    body = json.dumps({"title": "Bad", "status": 400, "code": "invalid_request", "detail": "Why"}).encode()
    fake.faults = [Fault("GET", "/v1/projects", 400, times=2, body=body)]
    with pytest.raises(ApiError) as caught:
        await api.projects()
    error = caught.value
    assert (error.code, error.title, error.detail) == ("invalid_request", "Bad", "Why")
    assert fake.faults[0].times == 1


@pytest.mark.parametrize("value", ["1", "date"])
async def test_retry_after_is_honoured(fake: Fake, api: Api, value: str) -> None:
    if value == "date":
        value = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
    fake.faults = [Fault("GET", "/v1/projects", 429, headers={"Retry-After": value})]
    began = time.monotonic()
    await api.projects()
    assert 0.9 < time.monotonic() - began < 5


def test_pauses_grow_and_vary() -> None:
    patience = Patience(first_s=1, longest_s=60)
    pauses = [patience.pause_s(n) for n in range(1, 12)]
    assert all(0.5 * min(60, 2 ** (n - 1)) <= p <= min(60, 2 ** (n - 1)) for n, p in enumerate(pauses, 1))
    assert len({patience.pause_s(1) for _ in range(20)}) > 1


def test_no_secret_shows_in_a_repr(fake: Fake) -> None:
    async def sign_in() -> str:
        async with Api(fake.url, patience=SWIFT) as api:
            session = await api.sign_in("ana@andes.co", "secreto")
            new = NewUpload("u", "photo", "a.jpg", 1, "image/jpeg", "0" * 64)
            (opened,) = await api.open_uploads("p-1", [new])
            return repr(session) + repr(opened)

    shown = asyncio.run(sign_in())
    assert "access-" not in shown
    assert "refresh-" not in shown
    assert "sig=" not in shown


def test_states_only_go_forward() -> None:
    def at(state: str) -> Upload:
        return Upload("u", "p", "n", 1, state)

    assert at("scanning").newer_than(at("stored"))
    assert at("ready").newer_than(at("deriving"))
    assert not at("scanning").newer_than(at("ready"))
    assert not at("stored").newer_than(at("stored"))
    assert at("a state of next year").newer_than(at("requested"))


async def test_events_are_replayed_after_a_cut(fake: Fake, api: Api) -> None:
    links: list[bool] = []
    opened = asyncio.Event()

    def on_link(up: bool) -> None:
        links.append(up)
        opened.set()

    async def announce(name: str) -> None:
        await api.open_uploads("p-1", [NewUpload(name, "photo", name, 1, "image/jpeg", "0" * 64)])

    names: list[str] = []
    async with contextlib.aclosing(api.events(on_link=on_link)) as frames:
        first = asyncio.ensure_future(anext(frames))
        await opened.wait()
        await announce("a\u2028\u0085b.jpg")  # line ends to str.splitlines, not to an event stream
        names.append(event_of(await first).upload.name)  # type: ignore[union-attr]
        fake.silent = True
        await announce("while cut 1")
        await announce("while cut 2")
        fake.cut_streams()
        second = asyncio.ensure_future(anext(frames))
        while len(fake.calls("GET", "/v1/events")) < 1 or links[-1]:
            await asyncio.sleep(0.001)
        fake.silent = False
        await announce("after")
        names.append(event_of(await second).upload.name)  # type: ignore[union-attr]
        for _ in range(2):
            names.append(event_of(await anext(frames)).upload.name)  # type: ignore[union-attr]
    assert names == ["a\u2028\u0085b.jpg", "while cut 1", "while cut 2", "after"]
    assert links[0] is True
    assert False in links


async def test_the_stream_renews_its_token(fake: Fake, api: Api) -> None:
    fake.expire_tokens()
    opened = asyncio.Event()
    async with contextlib.aclosing(api.events(on_link=lambda up: opened.set())) as frames:
        waiting = asyncio.ensure_future(anext(frames))
        await asyncio.wait_for(opened.wait(), 5)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    assert len(fake.calls("POST", "/v1/tokens")) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_stream_is_read_however_it_is_cut(size: int) -> None:
    wire = (
        ': ping\n\nid: 1\nevent: upload.changed\ndata: {"ñ":\n'
        "data: 1}\n\nretry: 250\n\r\nid:2\r\ndata:x\u2028y\r\n\r\ndata: never finished"
    ).encode()
    parser = sse.Parser()
    pieces = (wire[n : n + size] for n in range(0, len(wire), size))
    frames = list(itertools.chain.from_iterable(parser.feed(piece) for piece in pieces))
    assert frames == [
        sse.Frame("1", "upload.changed", '{"ñ":\n1}'.encode()),
        sse.Frame(retry_ms=250),
        sse.Frame("2", "message", "x\u2028y".encode()),
    ]
