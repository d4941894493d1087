"""Which certified point the entry node answers under: one that was chosen, laxer under pressure, stricter on an alarm.

Not here: measuring pressure (`limit`, `allowances`, the program's own battery and heat), a clock.
Invariants: only certified points are ever used, and none laxer than allowed; pressure has to last before anything
moves, and to be gone for longer before it moves back, so that the points do not flap.
"""

from collections.abc import Sequence

HIGH, LOW = 0.8, 0.5
RISE_S, FALL_S = 1.0, 5.0
"""Pressure at HIGH for RISE_S moves to the next laxer point; at LOW or below for FALL_S, one back."""


class PointKeeper:
    """Keeps the point in use; all of its changes go through `update` and `alarm`."""

    def __init__(self, certified: Sequence[float], point: float, laxest: float, now_s: float) -> None:
        self._points = [alpha for alpha in sorted(certified) if alpha <= max(point, laxest)]
        self._home = self._at = self._points.index(point)
        self.broken = False
        self._toward = 0  # 1: laxer, -1: stricter, once that has lasted
        self._since_s = now_s
        self._last_s = now_s
        self._weighted = self._seconds = 0.0

    @property
    def point(self) -> float:
        """The alpha in use."""
        return self._points[self._at]

    @property
    def mean_bound(self) -> float:
        """The time-weighted mean of the alphas used so far, up to the last update."""
        return self._weighted / self._seconds if self._seconds > 1e-6 else self.point

    def update(self, pressure: float, now_s: float) -> float:
        """The point to use now, under this pressure (0 = none, 1 = all that there is)."""
        elapsed_s = max(now_s - self._last_s, 0.0)
        self._weighted, self._seconds = self._weighted + elapsed_s * self.point, self._seconds + elapsed_s
        self._last_s = now_s
        up = pressure >= HIGH and self._at + 1 < len(self._points)
        down = pressure <= LOW and self._at > self._home
        toward = up - down
        if toward != self._toward or now_s < self._since_s:  # or the clock was set back
            self._toward, self._since_s = toward, now_s
        elif toward and now_s - self._since_s >= (RISE_S if up else FALL_S):
            self._at += toward
            self._since_s = now_s
        return self.point

    def alarm(self, alpha: float) -> None:
        """Traffic breaks the promise of this point: neither it nor a laxer one is used again, for good.

        Where none is left the strictest stays in use, and is `broken`.
        """
        left = [point for point in self._points if point < alpha]
        self.broken = self.broken or not left
        self._points = left or self._points[:1]
        last = len(self._points) - 1
        self._home, self._at = min(self._home, last), min(self._at, last)
