"""What a release does on this device, counted answer by answer, for its trial and for reports. No text is kept.

Not here: what follows (`update.trial`), sending (`update.reports`). Invariant: safe to use from several threads, and no
answer waits for more than a count.
"""

import time
from collections import deque
from threading import Lock

from tianti.errors import RunError
from tianti.router import Answer, Node
from tianti.spec import Prediction, Reason
from tianti.update.trial import Counts

_RECENT = 512  # answers that times are taken of
_HERE = (Reason.SCORE, Reason.TOP)


class Counting:
    """Counts into `counts`, which may hold what earlier processes counted, for the release of this id."""

    def __init__(self, release: str, counts: Counts) -> None:
        self.release, self._counts = release, counts
        self._own_ms: deque[float] = deque(maxlen=_RECENT)
        self._lock, self._since_s = Lock(), time.monotonic()

    def answered(self, prediction: Prediction) -> int:
        """Count an answer; returns how many there are."""
        decision, counts = prediction.decision, self._counts
        above = decision.seen
        with self._lock:
            counts.answers += 1
            counts.escalated += bool(above)
            counts.degraded += decision.degraded
            counts.unsure += decision.reason not in _HERE or bool(above)
            if above or not decision.degraded:  # one that waited in vain says nothing of the model's time
                self._own_ms.append(above[0].ms if above else decision.ms)
            return counts.answers

    def failed(self) -> None:
        """The model failed on a text."""
        with self._lock:
            self._counts.failed += 1

    def audited(self, differs: bool) -> None:
        """An answer was compared with the cloud's."""
        with self._lock:
            self._counts.audited += 1
            self._counts.disagreeing += differs

    def now(self) -> Counts:
        """The counts, times among them."""
        with self._lock:
            counts, now_s = self._counts, time.monotonic()
            counts.served_s, self._since_s = counts.served_s + (now_s - self._since_s), now_s
            if ordered := sorted(self._own_ms):
                counts.p50_ms, counts.p95_ms = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100]
            return counts


class CountedNode(Node):
    """A node whose model's failures are counted, once somebody does."""

    counting: Counting | None = None

    def answer(self, text: str) -> Answer | RunError:
        """As `Node.answer`."""
        here = super().answer(text)
        if self.counting is not None and isinstance(here, RunError):
            self.counting.failed()
        return here
