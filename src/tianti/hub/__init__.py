"""The one stateful process of a fleet: it serves the repository, enrolls devices, takes reports, guards rollouts."""

from tianti.hub.settings import HubSettings
from tianti.hub.site import run_hub

__all__ = ["HubSettings", "run_hub"]
