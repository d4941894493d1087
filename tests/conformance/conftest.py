from collections.abc import Iterator

import pytest

from tests.conformance.node import Served, run_node
from tests.device.conftest import newer, release
from tianti.package import Release

__all__ = ["newer", "release"]


@pytest.fixture(scope="session")
def node(release: Release, newer: Release) -> Iterator[Served]:
    """The cloud, N and N-1 side by side; N knows other words."""
    with run_node((newer, release)) as served:
        yield served
