"""The ladder embedded in a program: load a release, ask it."""

from tianti.device.ladder import Ladder, load

__all__ = ["Ladder", "load"]
