import asyncio
import importlib
import os
import time
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fake_server import Fake, Fault

from buildpeer.client import delivery
from buildpeer.client.api import Api
from buildpeer.client.errors import ApiError
from buildpeer.client.files import collect, content_type_of, kind_of
from buildpeer.client.items import Item, Outcome
from buildpeer.client.journal import new_id
from buildpeer.client.push import push

# the package exports the function of that name, so the module has to be asked for by name
pushing = importlib.import_module("buildpeer.client.push")


async def send(api: Api, *paths: Path, **options: Any) -> list[Outcome]:
    settings: dict[str, Any] = {"timeout_s": 5.0, "poll_s": 0.05} | options
    return await push(api, paths, "p-1", **settings)


def make(site: Path, *names: str, size: int = 1000) -> list[Path]:
    for name in names:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(os.urandom(size))
    return [site / name for name in names]


def results(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {outcome.path.name: outcome.result for outcome in outcomes}


async def test_every_byte_arrives_and_every_file_comes_to_its_end(fake: Fake, api: Api, site: Path) -> None:
    paths = make(site, "plano.pdf", "foto.jpg", "informe.docx", "nivel 1/otro.dwg", size=300_000)
    outcomes = await send(api, site)
    assert results(outcomes) == dict.fromkeys(("plano.pdf", "foto.jpg", "informe.docx", "otro.dwg"), "ready")
    for path in paths:
        (upload,) = fake.by_name(path.name)
        assert fake.objects[upload["upload_id"]] == path.read_bytes()
        assert UUID(upload["upload_id"]).version == 7
    assert {u["name"]: u["kind"] for u in fake.uploads.values()} == {
        "plano.pdf": "plan",
        "foto.jpg": "photo",
        "informe.docx": "report",
        "otro.dwg": "plan",
    }
    assert all(outcome.document_id for outcome in outcomes)


async def test_many_files_go_in_batches_and_ask_for_urls(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_GATHER_S", 1.0)
    make(site, *(f"f{n:04}.jpg" for n in range(450)), size=10)
    outcomes = await send(api, site, parallel=8)
    assert all(outcome.result == "ready" for outcome in outcomes)
    assert len(fake.puts()) == 450
    sizes = [len(r.json["uploads"]) for r in fake.calls("POST", "/uploads")]
    assert max(sizes) == 200
    assert sum(sizes) == 450
    assert fake.calls("POST", "/urls"), "only the first 50 of a call come with a URL"


async def test_no_more_files_at_a_time_than_asked(fake: Fake, api: Api, site: Path) -> None:
    make(site, *(f"f{n}.jpg" for n in range(12)), size=400_000)
    await send(api, site, parallel=2)
    assert fake.most_at_once == 2


async def test_the_kind_can_be_said(fake: Fake, api: Api, site: Path) -> None:
    await send(api, *make(site, "scan.jpg"), kind="report")
    assert fake.by_name("scan.jpg")[0]["kind"] == "report"


async def test_a_photo_goes_with_the_time_at_which_it_was_written_and_a_zone(fake: Fake, api: Api, site: Path) -> None:
    taken = datetime(2026, 3, 4, 10, 20, 30, tzinfo=UTC)
    times = {"a.jpg": taken.timestamp(), "old.jpg": 315_532_800, "late.jpg": time.time() + 86_400, "plan.pdf": 1e9}
    for path in make(site, *times):
        os.utime(path, (0, times[path.name]))
    await send(api, site)
    said = {name: fake.by_name(name)[0].get("captured_at") for name in times}
    assert datetime.fromisoformat(said.pop("a.jpg")) == taken
    assert said == {"old.jpg": None, "late.jpg": None, "plan.pdf": None}


async def test_a_lost_answer_costs_no_second_sending(fake: Fake, api: Api, site: Path) -> None:
    fake.silent = True
    fake.faults = [Fault("PUT", "/s3/", "lost")]
    outcomes = await send(api, *make(site, "a.jpg"))
    assert results(outcomes) == {"a.jpg": "ready"}
    assert len(fake.puts()) == 1, "the server was asked first, and has it"


async def test_412_means_that_it_is_there(fake: Fake, api: Api, site: Path) -> None:
    """The answer is lost, and when asked the server doesn't know of the bytes yet."""
    fake.stall = True
    original = fake._pipeline

    async def late(upload_id: str, steps: tuple[str, ...]) -> None:
        while len(fake.puts()) < 2:
            await asyncio.sleep(0.001)
        fake.stall = False
        await original(upload_id, steps)

    fake._pipeline = late  # type: ignore[method-assign]
    fake.faults = [Fault("PUT", "/s3/", "lost")]
    assert results(await send(api, *make(site, "a.jpg"))) == {"a.jpg": "ready"}
    assert len(fake.puts()) == 2


async def test_an_expired_url_is_replaced(fake: Fake, api: Api, site: Path) -> None:
    fake.expired_urls = {"s0"}
    assert results(await send(api, *make(site, "a.jpg"))) == {"a.jpg": "ready"}
    assert [r.query["sig"] for r in fake.puts()] == ["s0", "s1"]


@pytest.mark.parametrize("how", [500, 503, "cut", 200])
async def test_cuts_and_server_errors_midway_are_mended(fake: Fake, api: Api, site: Path, how: str | int) -> None:
    """200 without an ETag is a captive portal, which takes anything."""
    fake.faults = [Fault("PUT", "/s3/", how, times=3, after=200_000)]
    (path,) = make(site, "a.jpg", size=3_000_000)
    assert results(await send(api, path)) == {"a.jpg": "ready"}
    assert fake.faults[0].times == 0
    assert list(fake.objects.values()) == [path.read_bytes()]


async def test_s3_s_own_timeout_is_mended_too(fake: Fake, api: Api, site: Path) -> None:
    fake.faults = [Fault("PUT", "/s3/", 400, body=b"<Error><Code>RequestTimeout</Code></Error>")]
    assert results(await send(api, *make(site, "a.jpg"))) == {"a.jpg": "ready"}


async def test_other_refusals_of_s3_are_final(fake: Fake, api: Api, site: Path) -> None:
    fake.faults = [Fault("PUT", "/s3/", 400, times=9, body=b"<Error><Code>InvalidRequest</Code></Error>")]
    (outcome,) = await send(api, *make(site, "a.jpg"))
    assert outcome.result == "failed"
    assert "InvalidRequest" in outcome.reason
    assert fake.faults[0].times == 8


async def test_a_file_that_fails_for_ever_keeps_nobody_back(fake: Fake, api: Api, site: Path) -> None:
    make(site, *(f"f{n:02}.jpg" for n in range(20)))

    def bad(request: Any) -> bool:
        return fake.uploads[fake.signed[request.query["sig"]][0]]["name"] == "f00.jpg"

    fake.faults = [Fault("PUT", "/s3/", 500, times=10_000, when=bad)]
    outcomes = results(await send(api, site, parallel=1))
    assert outcomes.pop("f00.jpg") == "failed"
    assert set(outcomes.values()) == {"ready"}


async def test_a_dead_link_is_given_up_for_all_of_them_soon(fake: Fake, api: Api, site: Path) -> None:
    make(site, *(f"f{n:02}.jpg" for n in range(40)))
    fake.faults = [Fault("PUT", "/s3/", "cut", times=10_000)]
    began = time.monotonic()
    outcomes = await send(api, site)
    assert time.monotonic() - began < 10 * api.patience.away_s, "not a patience for each file"
    assert {outcome.result for outcome in outcomes} == {"failed"}
    assert "mismo comando" in outcomes[0].reason
    fake.faults = []
    assert set(results(await send(api, site)).values()) == {"ready"}
    assert len(fake.uploads) == 40, "the ids were the same"


async def test_failures_count_only_while_nothing_gets_through(fake: Fake, api: Api, site: Path) -> None:
    """Two of three tries are cut: far more failures than the patience allows in a row, and all arrive."""
    make(site, *(f"f{n:02}.jpg" for n in range(30)))
    count = iter(range(10_000))
    fake.faults = [Fault("PUT", "/s3/", "cut", times=10_000, when=lambda request: next(count) % 3 != 0)]
    assert set(results(await send(api, site)).values()) == {"ready"}
    assert 10_000 - fake.faults[0].times > api.patience.failures


async def test_a_file_that_changes_is_sent_as_what_it_is_now(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = make(site, "a.jpg")
    change_before_sending(monkeypatch, path, times=1)
    (outcome,) = await send(api, path)
    assert outcome.result == "ready"
    assert fake.objects[outcome.upload_id] == path.read_bytes()
    assert [u["state"] for u in fake.by_name("a.jpg")] == ["cancelled", "ready"]


async def test_a_file_that_keeps_changing_is_given_up(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = make(site, "a.jpg", "b.jpg")
    change_before_sending(monkeypatch, bad, times=99)
    first, second = await send(api, bad, good)
    assert first.result == "failed"
    assert "dos veces" in first.reason
    assert second.result == "ready"


def change_before_sending(monkeypatch: pytest.MonkeyPatch, path: Path, *, times: int) -> None:
    real, left = delivery.read_as, [times]

    def read(asked: Path, *rest: Any) -> bytes:
        if asked == path and left[0]:
            left[0] -= 1
            path.write_bytes(os.urandom(1500))
        return real(asked, *rest)

    monkeypatch.setattr(delivery, "read_as", read)


async def test_bad_digest_has_the_file_hashed_again(fake: Fake, api: Api, site: Path) -> None:
    """Same size and time, other bytes: only S3 can tell, by the hash."""
    (path,) = make(site, "a.jpg")
    info = path.stat()
    fake.faults = [Fault("PUT", "/s3/", "cut", times=99)]
    await send(api, path)  # leaves id and hash in the journal
    path.write_bytes(os.urandom(1000))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    fake.faults = []
    (outcome,) = await send(api, path)
    assert outcome.result == "ready"
    assert fake.objects[outcome.upload_id] == path.read_bytes()
    assert len(fake.puts()) == 2


async def test_pushing_again_sends_nothing_and_says_so(fake: Fake, api: Api, site: Path) -> None:
    make(site, "a.jpg", "b.pdf")
    await send(api, site)
    assert set(results(await send(api, site)).values()) == {"known"}
    assert len(fake.puts()) == len(fake.uploads) == 2


async def test_pushing_again_tries_anew_what_ended_badly(fake: Fake, api: Api, site: Path) -> None:
    (path,) = make(site, "a.jpg")
    fake.ends["a.jpg"] = ("expired", None)
    assert results(await send(api, path)) == {"a.jpg": "expired"}
    fake.ends.clear()
    assert results(await send(api, path)) == {"a.jpg": "ready"}
    assert len(fake.by_name("a.jpg")) == 2


async def test_an_id_that_the_server_knows_otherwise_is_replaced(fake: Fake, api: Api, site: Path) -> None:
    (path,) = make(site, "a.jpg")
    await send(api, path)
    fake.by_name("a.jpg")[0]["sha256"] = "0" * 64
    assert results(await send(api, path)) == {"a.jpg": "ready"}


async def test_outcomes_carry_the_server_s_reason(fake: Fake, api: Api, site: Path) -> None:
    make(site, "a.jpg", "malo.pdf", "igual.pdf", "raro.exe", "largo.pdf")
    fake.ends = {"malo.pdf": ("quarantined", "virus"), "igual.pdf": ("duplicate", None)}
    fake.rejects = {"raro.exe": ("type_not_allowed", "Este tipo no se admite.")}
    fake.poison = {"largo.pdf"}
    outcomes = {o.path.name: (o.result, o.reason) for o in await send(api, site)}
    assert outcomes == {
        "a.jpg": ("ready", ""),
        "malo.pdf": ("quarantined", "Contiene un virus."),
        "igual.pdf": ("duplicate", ""),
        "raro.exe": ("failed", "Este tipo no se admite."),
        "largo.pdf": ("failed", "A name is too long."),
    }


async def test_the_token_may_end_midway(fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "_GATHER_S", 0.5)  # one batch, so that most files have to ask for a URL
    make(site, *(f"f{n:03}.jpg" for n in range(120)))
    fake.faults = [Fault("POST", "/v1/tokens", "lost")]

    class Expiring:
        expired = False

        def began(self, items: Sequence[Item]) -> None:
            pass

        def moved(self, item: Item) -> None:
            if len(fake.objects) >= 30 and not self.expired:
                self.expired = True
                fake.expire_tokens()

    assert set(results(await send(api, site, view=Expiring())).values()) == {"ready"}
    assert len({r.json["refresh_token"] for r in fake.calls("POST", "/v1/tokens")}) == 1


async def test_a_session_that_ends_midway_ends_the_push(fake: Fake, api: Api, site: Path) -> None:
    make(site, *(f"f{n:03}.jpg" for n in range(120)))
    fake.refresh_now = "somebody else's"
    fake.expire_tokens()
    with pytest.raises(ApiError) as caught:
        await send(api, site)
    assert caught.value.code == "session_ended"


async def test_a_project_that_is_gone_ends_the_push(api: Api, site: Path) -> None:
    make(site, "a.jpg")
    with pytest.raises(ApiError) as caught:
        await push(api, [site], "p-9")
    assert caught.value.status == 404


async def test_events_missed_in_a_cut_are_replayed(fake: Fake, api: Api, site: Path) -> None:
    """Polling is off, so only the stream can tell."""
    make(site, *(f"f{n:02}.jpg" for n in range(20)))

    class Cutting:
        seen = 0

        def began(self, items: Sequence[Item]) -> None:
            pass

        def moved(self, item: Item) -> None:
            self.seen += 1
            if self.seen % 40 == 0:
                fake.cut_streams()

    outcomes = await send(api, site, view=Cutting(), poll_s=1000.0)
    assert set(results(outcomes).values()) == {"ready"}
    assert any("last-event-id" in r.headers for r in fake.calls("GET", "/v1/events"))


async def test_polling_is_the_net_below_the_stream(fake: Fake, api: Api, site: Path) -> None:
    fake.silent = True
    make(site, "a.jpg", "b.jpg")
    assert set(results(await send(api, site)).values()) == {"ready"}


@pytest.mark.parametrize("status", [403, 404])
async def test_a_server_without_a_stream_is_polled(fake: Fake, api: Api, site: Path, status: int) -> None:
    fake.faults = [Fault("GET", "/v1/events", status, times=99)]
    make(site, "a.jpg")
    assert results(await send(api, site)) == {"a.jpg": "ready"}


async def test_waiting_without_news_ends(fake: Fake, api: Api, site: Path) -> None:
    fake.stall = True
    (outcome,) = await send(api, *make(site, "a.jpg"), timeout_s=0.3)
    assert outcome.result == "pending"
    assert not outcome.fine


async def test_names_keep_every_character(fake: Fake, api: Api, site: Path) -> None:
    names = ["ñandú.jpg", "👷🏽‍♀️.jpg", "a b\nc.jpg", "[red]x.jpg", "x\u2028y\u0085z.jpg", "-dash.jpg", "%41.jpg"]
    names += [unicodedata.normalize(form, "Plano Construcción.pdf") for form in ("NFC", "NFD")]
    make(site, *names)
    await send(api, site)
    assert sorted(u["name"] for u in fake.uploads.values()) == sorted(names)
    assert len(fake.objects) == len(names)


async def test_a_name_that_is_no_text_is_explained(fake: Fake, api: Api, site: Path) -> None:
    make(site, os.fsdecode(b"foto\xff.jpg"), "b.jpg")
    broken, good = sorted(await send(api, site), key=lambda o: o.result)
    assert (broken.result, good.result) == ("failed", "ready")
    assert "caracteres dañados" in broken.reason


async def test_a_file_that_vanishes_or_may_not_be_read_is_explained(fake: Fake, api: Api, site: Path) -> None:
    gone, good = make(site, "a.jpg", "b.jpg")

    class Vanishing:
        def began(self, items: Sequence[Item]) -> None:
            gone.unlink()

        def moved(self, item: Item) -> None:
            pass

    first, second = await send(api, gone, good, view=Vanishing())
    assert (first.result, second.result) == ("failed", "ready")


def test_folders_are_searched_deep_sorted_and_once(site: Path) -> None:
    make(site, "b.jpg", "a.jpg", "z/c.jpg", ".oculto", ".git/x", "Thumbs.db", "~$plano.docx")
    (site / "vacio.pdf").touch()
    (site / "enlace.jpg").symlink_to(site / "nada.jpg")
    (site / "vuelta").symlink_to(site)
    os.mkfifo(site / "tubo")
    found = collect([site / "z" / "c.jpg", site, site / "no hay.jpg", site / "a.jpg"])
    good = [f.path.relative_to(site).as_posix() for f in found if not f.problem]
    assert good == ["z/c.jpg", "a.jpg", "b.jpg"]
    assert {f.path.name: (f.problem, f.skipped) for f in found if f.problem} == {
        ".oculto": ("problem.hidden", True),
        ".git": ("problem.hidden_folder", True),
        "Thumbs.db": ("problem.hidden", True),
        "~$plano.docx": ("problem.hidden", True),
        "vacio.pdf": ("problem.empty", True),
        "enlace.jpg": ("problem.missing", False),
        "vuelta": ("problem.linked_folder", True),
        "tubo": ("problem.not_a_file", True),
        "no hay.jpg": ("problem.missing", False),
    }
    (hidden,) = collect([site / ".oculto"])
    assert not hidden.problem, "who names it means it"


def test_kinds_and_types_by_name() -> None:
    names = ["A.PDF", "b.dwg", "c.HEIC", "d.jpeg", "e.xlsx", "f", "g.tiff"]
    assert [kind_of(Path(n)) for n in names] == ["plan", "plan", "photo", "photo", "report", "report", "plan"]
    assert [content_type_of(Path(n)) for n in names[:4]] == [
        "application/pdf",
        "image/vnd.dwg",
        "image/heic",
        "image/jpeg",
    ]
    assert content_type_of(Path("f")) == "application/octet-stream"


def test_ids_are_version_7_and_in_order() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all((UUID(i).version, UUID(i).variant) == (7, "specified in RFC 4122") for i in ids)
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)
