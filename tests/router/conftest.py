import random

import pytest

from tests.router.simulation import with_points
from tests.tiny_release import make_release
from tianti.package import Release


@pytest.fixture(scope="session")
def pointed(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release with several certified points."""
    return with_points(make_release(tmp_path_factory.mktemp("pointed")))


@pytest.fixture
def _same_chances() -> None:
    random.seed(0)
