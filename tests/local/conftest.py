from collections.abc import Iterator

import pytest
from tests.local.services import running_services

from buildpeer.local.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Services of their own: these tests count messages and change the set-up."""
    with running_services(tmp_path_factory.mktemp("local-stack")) as stack:
        yield stack
