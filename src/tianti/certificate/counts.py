"""Probabilities of counts: the exact binomial test, the smallest sample, two shares compared, Wilson's interval.

Not here: what is counted (`answers`) and in which order it is tested (`certify`). scipy is the oracle in tests.
Invariant: everything is exact up to rounding, summed from logarithms; nothing is a normal approximation but Wilson's.
"""

import math

import numpy as np
from numpy.typing import NDArray


def binomial_cdf(n: int, p: float) -> NDArray[np.float64]:
    """P(X <= k) for k = 0..n, X ~ Binomial(n, p), 0 < p < 1; float64 [n + 1].

    At k harmful rows of n this is the p-value of "the risk is at least p", exact and so super-uniform under it.
    """
    k = np.arange(n + 1)
    logs = _log_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p)
    cdf: NDArray[np.float64] = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return cdf


def smallest_n(alpha: float, delta: float) -> int:
    """Rows, all of them harmless, that are needed to say "risk <= alpha" at confidence 1 - delta."""
    n = math.ceil(math.log(delta) / math.log1p(-alpha))
    return n if (1.0 - alpha) ** n <= delta else n + 1  # the logarithms may round across an integer


def same_share_p(first: int, first_n: int, second: int, second_n: int) -> float:
    """p-value of "both samples have one share" (Fisher's exact test; the smaller tail, doubled)."""
    total = first + second
    seen = np.arange(max(0, total - second_n), min(first_n, total) + 1)
    logs = _log_choose(first_n, seen) + _log_choose(second_n, total - seen)
    mass = np.exp(logs - logs.max())
    mass /= mass.sum()
    return min(1.0, 2.0 * float(min(mass[seen <= first].sum(), mass[seen >= first].sum())))


def wilson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval for a share of which k of n were seen (Wilson 1927); (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    from statistics import NormalDist  # loads fractions and decimal, which a device never needs

    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    middle = (k + z * z / 2.0) / (n + z * z)
    half = z * math.sqrt(k * (n - k) / n + z * z / 4.0) / (n + z * z)
    return max(0.0, middle - half), min(1.0, middle + half)


def _log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    chosen: NDArray[np.float64] = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    return chosen
