"""Is a difference between two samples more than chance? Exact tests of shares, a test of two distributions, Holm.

Not here: what is compared (`diff`). scipy is the oracle in tests.
Invariant: where both samples are of one source, a p-value is below any rate at most that share of the times.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TERMS = 100


def same_share_p(first: int, first_n: int, second: int, second_n: int) -> float:
    """p-value of "both samples have one share" (Fisher's exact test; the smaller tail, doubled)."""
    total = first + second
    seen = np.arange(max(0, total - second_n), min(first_n, total) + 1)
    logs = _log_choose(first_n, seen) + _log_choose(second_n, total - seen)
    mass = np.exp(logs - logs.max())
    mass /= mass.sum()
    return min(1.0, 2.0 * float(min(mass[seen <= first].sum(), mass[seen >= first].sum())))


def never_before_p(rows: int, old_n: int, new_n: int) -> float:
    """p-value of what no old row has, and `rows` of the new: the chance that all of those fall among the new."""
    return math.exp(sum(math.log((new_n - i) / (old_n + new_n - i)) for i in range(rows)))


def same_distribution_p(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[float, float]:
    """(distance, p-value) of two samples of one distribution.

    The distance is the greatest between the two shares of values up to any one (Kolmogorov and Smirnov). Its p-value is
    by the limiting law, which is too large for few values and for values that are alike: it claims too little, if
    anything.
    """
    values = np.union1d(first, second)
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (first, second)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    scaled = distance * math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    if scaled < 0.3:  # the series converges slowly here, and the law is 1 - 1e-5 and more
        return distance, 1.0
    terms = ((-1.0) ** (k - 1) * math.exp(-2.0 * (k * scaled) ** 2) for k in range(1, _TERMS))
    return distance, min(1.0, max(0.0, 2.0 * sum(terms)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, each raised so that a rate holds for the chance of any false claim among all (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    raised, least = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        raised[index] = least
    return raised


def _log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    logs = _log_factorials(n)
    chosen: NDArray[np.float64] = logs[n] - logs[k] - logs[n - k]
    return chosen


@functools.lru_cache(maxsize=8)
def _log_factorials(n: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
