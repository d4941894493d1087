"""How many requests may be under way to one upstream: more while its answers stay quick, fewer when they slow down.

The gradient rule of adaptive concurrency (Envoy's filter of that name, Netflix's concurrency-limits): the limit is
multiplied by the best time seen over the time seen now, and grows by a small headroom while it is used.
Not here: a clock or sockets; time comes in as an argument, in seconds of any monotonic clock.
Invariants: what is past the limit is refused at once and never queued, since a queue only adds to everybody's wait;
the limit stays within LEAST and MOST; the best time is measured anew now and then, since a network changes.
"""

import random
from collections.abc import Callable

LEAST, FIRST, MOST = 4.0, 16.0, 64.0
_TOLERANCE = 2.0  # answers up to this much slower than the best are as good
_SLACK_S = 0.01  # and this much more: on a fast network small differences are noise
_SAMPLES = 10  # answers that a step is taken on
_WINDOW_S = 0.1  # and how long they are collected at least
_FORGET_S = 30.0  # after which the best time is measured anew, at LEAST, by as many answers as for a step
_JITTER = 0.2  # of that, so that a fleet does not do it together


class Limit:
    """Counts what is under way; `enter` before asking, `left` after."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self.limit = FIRST
        self.in_flight = 0
        self._jitter = jitter
        self._best_s = float("inf")
        self._forget_at_s: float | None = None
        self._kept: float | None = None  # the limit to go back to while the best time is measured anew
        self._took_s: list[float] = []
        self._busiest = 0
        self._window_from_s: float | None = None
        self._left_s = float("-inf")

    @property
    def use(self) -> float:
        """Share of the limit that is under way."""
        return self.in_flight / self.limit

    def enter(self) -> bool:
        """True: go on, and call `left` when it is over. False: there is no room."""
        if self.in_flight >= int(self.limit):
            return False
        self.in_flight += 1
        self._busiest = max(self._busiest, self.in_flight)
        return True

    def left(self, took_s: float | None, now_s: float) -> None:
        """A request is over: answered after `took_s`, or None where it failed."""
        self.in_flight -= 1
        if now_s < self._left_s:  # the clock was set back: times of before tell nothing of when to do what
            self._took_s, self._window_from_s, self._forget_at_s = [], None, None
        self._left_s = now_s
        if took_s is None:
            self.limit = max(LEAST, 0.9 * self.limit)
            return
        if took_s < 0.0:
            return
        if self._window_from_s is None:
            self._window_from_s = now_s
        self._took_s.append(took_s)
        if len(self._took_s) >= _SAMPLES and now_s - self._window_from_s >= _WINDOW_S:
            self._step(now_s)

    def _step(self, now_s: float) -> None:
        best_s, took_s, busiest = min(self._took_s), sorted(self._took_s)[len(self._took_s) // 2], self._busiest
        self._took_s, self._window_from_s, self._busiest = [], None, self.in_flight
        if self._kept is not None:  # measured at LEAST: this is the best that the upstream can do now
            self._best_s, self.limit, self._kept = best_s, self._kept, None
            self._forget_at_s = now_s + _FORGET_S * (1 + _JITTER * (2 * self._jitter() - 1))
            return
        self._best_s = min(self._best_s, best_s)
        if self._forget_at_s is None:
            self._forget_at_s = now_s + _FORGET_S * (1 + _JITTER * (2 * self._jitter() - 1))
        if now_s >= self._forget_at_s:
            self._kept, self.limit = self.limit, LEAST
            return
        gradient = min(1.0, max(0.5, (_TOLERANCE * self._best_s + _SLACK_S) / max(took_s, 1e-9)))
        used = 2 * busiest >= self.limit  # a limit that nobody needs has shown nothing
        if gradient < 1.0 or used:
            self.limit = min(MOST, max(LEAST, gradient * self.limit + (self.limit**0.5 if used else 0.0)))
