import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer import facts
from buildpeer.modules.uploads import rules
from buildpeer.modules.uploads.rules import NewUpload, Place, Upload
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id

NOW = datetime(2026, 11, 23, tzinfo=UTC)
HASH = bytes(range(32))
SOME_ID = UUID(int=7)


def upload(**changes: Any) -> Upload:
    return msgspec.structs.replace(
        Upload(
            tenant_id=uuid4(),
            upload_id=new_id(),
            project_id=uuid4(),
            created_by=uuid4(),
            kind="photo",
            name="a.jpg",
            size_bytes=1,
            content_type="image/jpeg",
            sha256=HASH,
            lane="live",
            bucket="uploads",
            key="k",
            created_at=NOW,
            updated_at=NOW,
        ),
        **changes,
    )


def derived(sha256: str = HASH.hex(), reason: str = "") -> facts.FileDerived:
    return facts.FileDerived(facts.Bucket("b"), facts.Object("k", 1), sha256, "image/jpeg", reason=reason)


CREATED = {"version_id": "v1"}
CLEAN = {"version_id": "v1", "verdict": "clean", "scanner": "yara"}
INFECTED = {"version_id": "v1", "verdict": "infected", "scan_reason": "eicar", "scanner": "yara"}
UNSCANNABLE = {"version_id": "v1", "verdict": "unscannable", "scan_reason": "too_large", "scanner": "yara"}
DERIVED = {"version_id": "v1", "derived": derived()}
OTHER_BYTES = {"version_id": "v1", "derived": derived(sha256="ff" * 32)}

OUTCOMES = [
    ((CREATED,), "scanning"),
    ((CREATED, CLEAN), "deriving"),
    ((CREATED, CLEAN, DERIVED), "ready"),
    ((CREATED, DERIVED), "scanning"),  # nothing is ready without a verdict
    ((CREATED, INFECTED), "quarantined"),
    ((CREATED, UNSCANNABLE), "unscannable"),
    ((CREATED, CLEAN, OTHER_BYTES), "mismatched"),
]


def play(told: Any) -> list[str]:
    states, current = ["requested"], upload()
    for fact in told:
        current = rules.learn(current, **fact)
        states.append(current.state)
    return states


@pytest.mark.parametrize(("known", "outcome"), OUTCOMES)
def test_the_state_follows_from_the_facts_in_whatever_order_they_come(known: Any, outcome: str) -> None:
    for order in itertools.permutations(known):
        assert play(order)[-1] == outcome


@given(st.lists(st.sampled_from([CREATED, CLEAN, DERIVED]), max_size=12))
def test_repeated_and_reordered_facts_never_take_a_state_back_and_are_ready_once(told: Any) -> None:
    rank = {name: i for i, name in enumerate(("requested", "scanning", "deriving", "ready"))}
    states = play([*told, CREATED, CLEAN, DERIVED])
    ranks = [rank[state] for state in states]
    assert ranks == sorted(ranks)
    assert states[-1] == "ready"


@pytest.mark.parametrize("end", sorted(rules.ENDS - {"ready"}))
def test_what_has_ended_learns_nothing(end: Any) -> None:
    ended = upload(state=end)
    for fact in (CREATED, CLEAN, INFECTED, DERIVED):
        assert rules.learn(ended, **fact) is ended


def test_a_ready_file_is_locked_away_when_something_is_found_in_it_later() -> None:
    ready = rules.learn(rules.learn(upload(), **CLEAN), **DERIVED)
    assert ready.state == "ready"
    for fact in (CREATED, CLEAN, DERIVED, CLEAN | {"verdict": "unscannable"}):
        assert rules.learn(ready, **fact) is ready
    found = rules.learn(ready, **INFECTED)
    assert (found.state, found.reason, found.verdict) == ("quarantined", "infected", "infected")
    assert rules.learn(found, **CLEAN) is found


def test_what_is_derived_of_a_ready_file_is_renewed_if_that_was_asked_for_and_is_of_its_bytes() -> None:
    ready = rules.learn(rules.learn(upload(), **CLEAN), **DERIVED)
    better = derived(reason="image_damaged")
    assert rules.learn(ready, derived=better) is ready  # the first word, late
    renewed = rules.learn(ready, derived=better, renews="all", text="Losa")
    assert (renewed.state, renewed.reason, renewed.text) == ("ready", "image_damaged", "Losa")
    other = msgspec.structs.replace(better, sha256="00" * 32)
    assert rules.learn(ready, derived=other, renews="all") is ready
    again = rules.learn(rules.learn(upload(), **CLEAN), **DERIVED, renews="all")  # asked for before it was ready
    assert again.state == "ready"


def test_a_fact_that_is_known_already_gives_the_same_object_back() -> None:
    known = rules.learn(upload(), **CLEAN)
    assert rules.learn(known, **CLEAN) is known


def test_the_reason_of_a_ready_file_says_why_it_has_no_picture() -> None:
    current = rules.learn(upload(), **CLEAN, derived=derived(reason="image_damaged"))
    assert (current.state, current.reason) == ("ready", "image_damaged")


@given(st.sampled_from(["live", "bulk"]), st.uuids(), st.uuids())
def test_a_key_tells_whom_it_concerns(lane: str, tenant: Any, file: Any) -> None:
    place = Place(lane, tenant, file)
    assert rules.place_of(place.key) == place


@pytest.mark.parametrize(
    "key", ["", "a/b", "live/x/y", "live/../etc", f"live/{SOME_ID}/{SOME_ID}/more", f"live/{SOME_ID}/{SOME_ID.hex}"]
)
def test_a_key_that_is_not_ours_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        rules.place_of(key)


GOOD_NAMES = [
    "Plano Ñuñoa – São João 3ª fase.pdf",
    "n\u0303 NFD.pdf",
    "ñ NFC.pdf",
    "👷🏽‍♀️ obra.jpg",
    "a" * 255,
    "مخطط.pdf",
    ".hidden",
    "a..b",
]
BAD_NAMES = [
    "",
    "   ",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "nul\x00",
    "line\nbreak",
    "\ud800",
    "a" * 256,
    "tab\t",
    "\x7f",
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_names_keep_every_letter(name: str) -> None:
    rules.check_name(name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_mislead_a_file_system_are_refused(name: str) -> None:
    with pytest.raises(Problem) as caught:
        rules.check_name(name)
    assert caught.value.code == "name_invalid"


def new(**changes: Any) -> NewUpload:
    good = NewUpload(new_id(), "photo", "a.jpg", 10, "image/jpeg", "ab" * 32)
    return msgspec.structs.replace(good, **changes)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"upload_id": uuid4()}, "id_invalid"),
        ({"size_bytes": 0}, "file_empty"),
        ({"size_bytes": -1}, "file_empty"),
        ({"size_bytes": rules.SIZE_LIMITS["photo"] + 1}, "file_too_large"),
        ({"content_type": "image/jpeg\r\nx: y"}, "invalid"),
        ({"content_type": "jpeg"}, "invalid"),
        ({"sha256": "AB" * 32}, "invalid"),
        ({"sha256": "ab"}, "invalid"),
        ({"name": "../etc/passwd"}, "name_invalid"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_with_its_reason(changes: Any, code: str) -> None:
    rules.check_new(new())
    with pytest.raises(Problem) as caught:
        rules.check_new(new(**changes))
    assert caught.value.code == code


def test_the_sweeper_looks_ever_more_seldom_and_never_at_what_has_ended() -> None:
    pauses = [rules.next_check("scanning", redrives=n, now=NOW) for n in range(12)]
    gaps = [pause - NOW for pause in pauses if pause]
    assert gaps == sorted(gaps)
    assert gaps[0] == timedelta(seconds=10)
    assert gaps[-1] == timedelta(hours=1)
    assert sum(gaps[: rules.MAX_REDRIVES], timedelta()) > timedelta(hours=4)
    assert rules.next_check("ready", redrives=0, now=NOW) is None


def test_what_waits_in_line_is_looked_at_when_it_has_waited_twice_as_long_and_every_minute_at_last() -> None:
    now, looks = NOW, list[timedelta]()
    while now < NOW + timedelta(minutes=10):
        due = rules.next_check_in_line(since=NOW, now=now)
        looks.append(due - now)
        now = due
    assert [look.seconds for look in looks[:5]] == [10, 10, 20, 40, 60]
    assert set(looks[5:]) == {timedelta(minutes=1)}
