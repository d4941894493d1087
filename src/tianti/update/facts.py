"""What this machine is, as rollouts and releases ask about it.

Not here: what follows from it (`package.decide`, `machine`).
"""

import platform
import sys
from importlib import import_module

from tianti.errors import UpdateError
from tianti.package import Facts, Shipment
from tianti.package.rollout import version_numbers
from tianti.update.home import Home


def facts_of(home: Home) -> Facts:
    """What a device or a node knows about itself."""
    return Facts(
        device_id=home.device, runtime=own_runtime(), abi=own_abi(), tags=frozenset(home.tags), region=home.region
    )


def own_runtime() -> str:
    """The version of Tianti that runs here."""
    return str(import_module("tianti").__version__)  # which imports what imports this


def own_abi() -> str:
    """The system and its processor."""
    return f"{sys.platform}-{platform.machine().lower()}"


def check_runs(shipment: Shipment) -> None:
    """Make sure that a release is for this machine and this version.

    Raises:
        UpdateError: it is not.
    """
    if version_numbers(own_runtime()) < version_numbers(shipment.min_runtime):
        raise UpdateError(f"release {shipment.release[:12]} needs tianti {shipment.min_runtime}; update tianti")
    if shipment.abi not in (None, own_abi()):
        raise UpdateError(f"release {shipment.release[:12]} is for {shipment.abi}, this is {own_abi()}; offer another")
