"""A circuit breaker for one upstream, as a state machine: closed -> open -> closed.

Not here: a clock or a probe (`upstream`); time comes in as an argument, in seconds of any monotonic clock.
Invariants: only a background probe closes it, so no user's request pays for finding out; a node that is back is
probed within MAX_WAIT_S. It holds for a single upstream too: skipping the cooldown there is a known way to pay every
request's patience for a whole outage.
"""

import math
import random
from collections.abc import Callable

FAILURES = 3  # in a row, until it opens
MAX_WAIT_S = 3.0  # between two probes, jitter included
_FIRST_WAIT_S = 0.5
_JITTER = 0.2


class Breaker:
    """Knows whether an upstream may be asked, and when it is to be probed.

    The first probe is due at once: three short deadlines may have met a healthy node. One that answers probes and still
    fails requests (too slow, broken model) reopens at its first failure, and waits longer each time until one succeeds.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self.probe_at_s: float | None = None
        """When the next probe is due; None while closed."""
        self._jitter = jitter
        self._failures = 0
        self._waits = 0  # since the last request that succeeded

    @property
    def is_open(self) -> bool:
        """True: do not ask."""
        return self.probe_at_s is not None

    def succeeded(self) -> None:
        """A request was answered. One that was under way when the breaker opened changes nothing."""
        if not self.is_open:
            self._failures = self._waits = 0

    def failed(self, now_s: float) -> None:
        """A request was not answered."""
        if self.is_open:
            return
        self._failures += 1
        on_probation = self._waits > 0
        if self._failures >= FAILURES or on_probation:
            self.probe_at_s = now_s + self._next_wait_s()

    def probed(self, answered: bool, now_s: float) -> None:
        """A background probe came back."""
        self._failures = 0
        self.probe_at_s = None if answered else now_s + self._next_wait_s()

    def _next_wait_s(self) -> float:
        waits, self._waits = self._waits, self._waits + 1
        if waits == 0:
            return 0.0
        spread = 1 + _JITTER * (2 * self._jitter() - 1)
        return min(math.ldexp(_FIRST_WAIT_S, min(waits - 1, 10)), MAX_WAIT_S / (1 + _JITTER)) * spread
