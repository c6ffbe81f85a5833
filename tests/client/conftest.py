import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from buildpeer.client.api import Api, Memory
from buildpeer.client.errors import Patience

# The tests are imported without packages; the fake server is shared by all of them.
sys.path.insert(0, str(Path(__file__).parent))

from fake_server import Fake

SWIFT = Patience(failures=4, first_s=0.001, longest_s=0.01, away_s=0.5, probe_s=0.01)


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake().running() as fake:
        yield fake


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the person who runs the tests is read or written."""
    for name in ("BUILDPEER_API", "BUILDPEER_EMAIL", "BUILDPEER_PASSWORD", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
async def api(fake: Fake) -> AsyncIterator[Api]:
    async with Api(fake.url, keeper=Memory(), patience=SWIFT) as api:
        await api.sign_in("ana@andes.co", "secreto")
        yield api


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An empty folder for sample files."""
    folder = tmp_path / "obra"
    folder.mkdir()
    return folder
