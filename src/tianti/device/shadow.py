"""A release that scores the texts which another one answers, before it may answer itself: a shadow ring.

Not here: what follows from the counts (`fleet`). Invariants: no answer changes and none waits: what there is no room
for is left out; it takes at most half of one core; no text is kept once it is scored.
"""

import threading
import time
from contextlib import suppress
from queue import Full, Queue

from tianti.package import Beside
from tianti.router import Node

_WAITING = 64
_CLOSING_S = 5.0
_DEADLINE_MS = 500.0  # nobody waits, but terms have one


class Shadow:
    """Runs a node of its own, which leads nowhere, in one thread until it is closed."""

    def __init__(self, node: Node) -> None:
        self.release, self.scored = node.release, 0
        self._node = node
        self._texts: Queue[tuple[str, str, bool] | None] = Queue(_WAITING)
        self._lock, self._counts, self._ending = threading.Lock(), Beside(), False
        self._thread = threading.Thread(target=self._run, name="tianti-shadow", daemon=True)
        self._thread.start()

    def answered(self, text: str, label: str) -> None:
        """The serving release's answer to a text, whoever gave it."""
        self._offer((text, label, False))

    def audited(self, text: str, label: str) -> None:
        """What the cloud says of a text."""
        self._offer((text, label, True))

    def take(self) -> Beside:
        """What was counted since the last time."""
        with self._lock:
            counts, self._counts = self._counts, Beside()
            return counts

    def close(self) -> None:
        """End the thread; what is waiting is left out."""
        self._ending = True
        self._offer(None)
        self._thread.join(_CLOSING_S)

    def _offer(self, text: tuple[str, str, bool] | None) -> None:
        with suppress(Full):
            self._texts.put_nowait(text)

    def _run(self) -> None:
        while (given := self._texts.get()) is not None and not self._ending:
            began_s = time.perf_counter()
            self._score(*given)
            time.sleep(min(time.perf_counter() - began_s, 1.0))

    def _score(self, text: str, label: str, of_cloud: bool) -> None:
        node, began_s = self._node, self._node.clock()
        terms = node.entry_terms(_DEADLINE_MS, began_s)
        kept = node.keep(node.answer(text), terms, began_s, enters=False)
        self.scored += 1
        same = kept is not None and kept.label == label
        with self._lock:
            had = self._counts
            self._counts = Beside(
                texts=had.texts + (not of_cloud),
                kept=had.kept + (kept is not None and not of_cloud),
                agreeing=had.agreeing + (same and not of_cloud),
                audited=had.audited + of_cloud,
                differing=had.differing + (of_cloud and kept is not None and not same),
            )
