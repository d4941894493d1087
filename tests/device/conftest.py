import socket

import pytest

from tests.tiny_release import make_release
from tianti.package import Release


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Another release of the same model, with other words."""
    words = {"lights": ("lamp", "candle", "luminaire"), "music": ("song", "air", "sonata")}
    return make_release(tmp_path_factory.mktemp("newer"), words=words)


@pytest.fixture(scope="session")
def uncertified(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("uncertified"), certified=False)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


@pytest.fixture
def nowhere(free_port: int) -> str:
    """A URL at which nobody listens."""
    return f"http://127.0.0.1:{free_port}"
