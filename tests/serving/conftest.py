from tests.device.conftest import free_port, newer, release

__all__ = ["free_port", "newer", "release"]
