from collections.abc import Iterator

import pytest

from buildpeer.processing.derive import Derived, Deriver
from buildpeer.processing.identify import content_type_of


@pytest.fixture(scope="module")
def deriver() -> Iterator[Deriver]:
    deriver = Deriver()
    yield deriver
    deriver.stop()


@pytest.fixture
def derive(deriver, tmp_path):
    def run(data: bytes) -> Derived:
        path = tmp_path / "file"
        path.write_bytes(data)
        return deriver.derive(path, content_type=content_type_of(path), folder=tmp_path)

    return run
