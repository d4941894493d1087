from tests.device.conftest import newer, release

__all__ = ["newer", "release"]
