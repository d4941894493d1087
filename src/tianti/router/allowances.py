"""Two allowances that run full again with time or success: of retries, and of money.

Not here: a clock; time comes in as an argument, in seconds of any monotonic clock.
Invariants: retries are at most a tenth of the requests and a burst; what is spent in any 24 hours is at most the
day's budget.
"""

_DAY_S = 86_400.0


class Retries:
    """A retry budget for one upstream (AWS's standard mode has the same form): successes earn what retries cost."""

    MOST = 10.0
    _EARNED = 0.1

    def __init__(self) -> None:
        self.tokens = self.MOST

    def succeeded(self) -> None:
        """A request was answered."""
        self.tokens = min(self.MOST, self.tokens + self._EARNED)

    def take(self) -> bool:
        """May a request be tried once more?"""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Budget:
    """Money for a day, as a token bucket: it starts with an hour's worth of it and fills at an even rate.

    Any 24 hours spend at most `per_day`: what the bucket holds at their beginning, and what flows in.
    """

    def __init__(self, per_day: float, now_s: float) -> None:
        self._most = per_day / 24.0
        self._per_s = (per_day - self._most) / _DAY_S
        self._has, self._at_s = self._most, now_s

    def pressure(self, now_s: float) -> float:
        """0 where the bucket is full, 1 where it is empty."""
        self._fill(now_s)
        return 1.0 - self._has / self._most

    def take(self, price: float, now_s: float) -> bool:
        """Spend a price; False, and nothing is spent, where it is not there."""
        self._fill(now_s)
        if self._has < price:
            return False
        self._has -= price
        return True

    def give_back(self, price: float, now_s: float) -> None:
        """Less was spent than was taken."""
        self._fill(now_s)
        self._has = min(self._most, self._has + price)

    def _fill(self, now_s: float) -> None:
        since_s = max(now_s - self._at_s, 0.0)  # a clock that is set back earns nothing, and costs nothing
        self._has, self._at_s = min(self._most, self._has + self._per_s * since_s), now_s
