"""A watch over a risk by audits: a test by betting (Waudby-Smith and Ramdas 2024), which may be looked at any time.

A bet that pays nothing on average where the risk is at its bound (or below) multiplies wealth; much wealth is therefore
evidence against the bound. Wealth is averaged over several stakes, since the best depends on the true risk.
Not here: which requests are audited (`router`).
Invariant: where the risk is at most its bound, expected wealth never exceeds 1, at whatever time one looks.
"""

import msgspec

_STAKES = (0.0125, 0.025, 0.05, 0.1, 0.2)  # of what one may stake without going into debt, about 1 / bound
_FIRST = 0.8  # of the wealth is staked from the first audit; the rest starts later, so that late drift is seen as fast
_LATER = 50.0  # audits within which half of that rest is staked


class Watch(msgspec.Struct, frozen=True):
    """An anytime-valid watch over "the risk is at most `bound`": each audit gives the next state.

    Wealth is a mixture over stakes and over times at which betting starts (weights that sum to 1), so that a stream
    which was good for long and then drifts is found about as soon as one that never was good; the promise stays that
    of the plain test: where the risk never exceeds the bound, it alarms with probability `delta` at most, ever (Ville).
    """

    bound: float
    delta: float = 0.05
    audits: int = 0
    wealth: tuple[float, ...] = (0.0,) * len(_STAKES)

    @property
    def alarmed(self) -> bool:
        """The bound is exceeded, at confidence 1 - delta."""
        return sum(self.wealth) * self.delta >= 1.0

    def after(self, harmful: bool) -> "Watch":
        """The state after one more audit; an alarm is for good."""
        if self.alarmed:
            return self
        fresh = _weight(self.audits) / len(_STAKES)
        miss = (1.0 if harmful else 0.0) - self.bound
        wealth = tuple(
            (had + fresh) * (1.0 + s / self.bound * miss) for had, s in zip(self.wealth, _STAKES, strict=True)
        )
        return msgspec.structs.replace(self, audits=self.audits + 1, wealth=wealth)


def _weight(audits: int) -> float:
    """The part of the wealth that starts betting after so many audits; all after the first sum to 1 - _FIRST."""
    if audits == 0:
        return _FIRST
    return (1.0 - _FIRST) * _LATER / ((audits + _LATER - 1.0) * (audits + _LATER))
