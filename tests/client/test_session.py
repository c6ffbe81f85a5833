import os
import stat
from pathlib import Path

import pytest
from fake_server import Fake

from buildpeer.client.errors import ApiError
from buildpeer.client.session import Store, connect
from buildpeer.client.shapes import Person, Session, Tenant


def session(email: str = "ana@andes.co") -> Session:
    return Session("a", "r", 1.0, Person("me", "Ana", email), Tenant("t", "Andes", "engineer"))


def test_a_session_is_kept_per_address_for_its_owner_only(home: Path) -> None:
    Store("http://One:8000/").save(session())
    Store("http://two").save(session("b@b"))
    assert Store("http://one:8000").load() == session()
    file = home / "config/buildpeer/sessions.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert Store("http://one:8000").forget()
    assert not Store("http://one:8000").forget()
    assert Store("http://two").load() == session("b@b")


def test_a_crash_while_saving_leaves_the_old_sessions(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("http://one")
    store.save(session())
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.save(session("new@x"))
    assert store.load() == session()
    assert [p.name for p in (home / "config/buildpeer").iterdir()] == ["sessions.json"]


def test_an_unreadable_file_only_costs_the_sign_in(home: Path) -> None:
    store = Store("http://one")
    store.save(session())
    (home / "config/buildpeer/sessions.json").write_text("{")
    assert store.load() is None
    store.save(session())
    assert store.load() == session()


async def test_the_environment_signs_in_and_replaces_somebody_else(fake: Fake, home: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(home / "c"), "BUILDPEER_EMAIL": "ana@andes.co", "BUILDPEER_PASSWORD": "secreto"}
    Store(fake.url, home / "c/buildpeer").save(session("old@andes.co"))
    for _ in range(2):
        async with await connect(fake.url, lang="es", env=env) as api:
            assert api.session.person.email == "ana@andes.co"
    assert len(fake.calls("POST", "/v1/sessions")) == 1, "the second time the kept sign-in serves"


async def test_without_a_sign_in_the_first_call_says_so(fake: Fake, home: Path) -> None:
    async with await connect(fake.url, lang="es", env={"XDG_CONFIG_HOME": str(home)}) as api:
        with pytest.raises(ApiError) as caught:
            await api.projects()
    assert caught.value.code == "not_signed_in"


async def test_a_sign_in_kept_by_another_process_meanwhile_is_no_hindrance(
    fake: Fake, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands begin at once: the other one has signed in after this one looked."""
    env = {"XDG_CONFIG_HOME": str(home / "c"), "BUILDPEER_EMAIL": "ana@andes.co", "BUILDPEER_PASSWORD": "secreto"}
    real = Store.load

    def load_then_other(store: Store) -> Session | None:
        found = real(store)
        store.save(session())
        return found

    monkeypatch.setattr(Store, "load", load_then_other)
    async with await connect(fake.url, lang="es", env=env) as api:
        assert await api.projects()
