"""The ladder embedded in a program: load a release, ask it."""

from tianti.device.ladder import Ladder, load
from tianti.runtimes.trust import Trust

__all__ = ["Ladder", "Trust", "load"]
