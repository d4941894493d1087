from collections.abc import Iterator

import pytest

from tests.device.conftest import free_port, nowhere, release
from tianti.telemetry.context import REQUEST_ID

__all__ = ["free_port", "nowhere", "release"]


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    """Tests run in one context: what one of them sets, the next would see."""
    yield
    REQUEST_ID.set(None)
