"""A node's decision log: one JSON line for every request that entered the ladder here, appended to a file.

Not here: what a line says (`spec.logged`), writing it (`lines`), reading it again (`pipeline.decisions`).
Invariant: no text unless the program asked for texts.
"""

import time
from pathlib import Path

from tianti.router.lines import Lines
from tianti.spec import Prediction, Tier
from tianti.spec.logged import logged


class Journal(Lines):
    """Safe to use from several threads; several processes may append to one file.

    Args:
        path: the file; it is made where there is none, and its folder is not.
        texts: keep the raw texts too.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path, texts: bool = False) -> None:
        super().__init__(path, "log", "the decision log lacks decisions")
        self._texts = texts

    def write(self, prediction: Prediction, release: str, entry: Tier, deadline_ms: float, text: str) -> None:
        """Have a line written soon. Never raises and never waits."""
        if self.has_room:
            self.put(logged(prediction, time.time(), release, entry, deadline_ms, text if self._texts else None))
