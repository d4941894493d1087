"""What a device knows about itself, and whether a release is for it.

Not here: what a rollout makes of it (`package.rollout`).
"""

import platform
import sys
from importlib import import_module

from tianti.errors import UpdateError
from tianti.package import Facts, Shipment
from tianti.package.rollout import version_numbers
from tianti.update.home import Home


def facts_of(home: Home) -> Facts:
    """What rings may ask about the device of this folder."""
    return Facts(device_id=home.device, runtime=runtime(), abi=abi(), tags=frozenset(home.tags), region=home.region)


def runtime() -> str:
    """The version of Tianti."""
    return str(import_module("tianti").__version__)  # which imports what imports this


def abi() -> str:
    """The machine, such as linux-x86_64, linux-aarch64, darwin-arm64 or win32-amd64."""
    return f"{sys.platform}-{platform.machine().lower()}"


def check_runs_here(shipment: Shipment) -> None:
    """Make sure that a release is for this machine and this version.

    Raises:
        UpdateError: it is not.
    """
    if version_numbers(runtime()) < version_numbers(shipment.min_runtime):
        raise UpdateError(f"release {shipment.release[:12]} needs tianti {shipment.min_runtime}; update tianti")
    if shipment.abi not in (None, abi()):
        raise UpdateError(f"release {shipment.release[:12]} is for {shipment.abi}, this is {abi()}; roll out another")
