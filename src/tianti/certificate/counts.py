"""Probabilities of counts: exact tests of a share and of a difference, sample sizes, bounds, two shares compared.

Not here: what is counted (`answers`) and in which order it is tested (`certify`). scipy is the oracle in tests.
Invariant: everything is exact up to rounding, summed from logarithms; nothing is a normal approximation but Wilson's.
"""

import bisect
import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUISANCE = 0.001
_SHARES = 8  # of the nuisance, that the greatest p-value is looked for at
_STEADY = 5.0  # rows added to those that differ, so that a few of them are not taken for a small variance


def binomial_cdf(n: int, p: float) -> NDArray[np.float64]:
    """P(X <= k) for k = 0..n, X ~ Binomial(n, p), 0 < p < 1; float64 [n + 1].

    At k harmful rows of n this is the p-value of "the risk is at least p", exact and so super-uniform under it.
    """
    k = np.arange(n + 1)
    logs = _log_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p)
    cdf: NDArray[np.float64] = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return cdf


@functools.lru_cache(maxsize=65_536)  # a search asks for the same counts over and over
def net_p(harmful: int, helpful: int, n: int, alpha: float) -> float:
    """p-value of "harm less help is at least alpha", from both counts among n rows; alpha above 0.

    An exact unconditional test: of all pairs of counts, those whose studentised net harm is no greater than the seen
    one, at net harm alpha. How often the lower tier helps is a nuisance, limited by an upper bound at confidence
    1 - _NUISANCE; the p-value is the greatest below that bound, plus _NUISANCE (Berger and Boos 1994). Where nothing
    helped it accepts what the binomial test of harm accepts.
    """
    most = min(upper_bound(helpful, n, _NUISANCE), (1.0 - alpha) / 2.0)
    seen = _studentised(harmful, helpful, n, alpha)
    worst = 0.0
    for help_share in np.linspace(most / _SHARES, most, _SHARES):
        harm_share = alpha + help_share
        harms, helps = (np.arange(_plausible(n, share) + 1) for share in (harm_share, help_share))
        h, g = (part.ravel() for part in np.meshgrid(harms, helps, indexing="ij"))
        as_low = (_studentised(h, g, n, alpha) <= seen + 1e-12) & (h + g <= n)
        h, g = h[as_low], g[as_low]
        logs = _log_choose(n, h + g) + _log_choose_each(h + g, h)
        logs += h * math.log(harm_share) + g * math.log(help_share) + (n - h - g) * math.log1p(-harm_share - help_share)
        worst = max(worst, float(np.exp(logs).sum()))
    return min(1.0, worst + _NUISANCE)


def _studentised(harmful: Any, helpful: Any, n: int, alpha: float) -> Any:  # noqa: ANN401  (counts or arrays of them)
    return (harmful - helpful - n * alpha) / np.sqrt(harmful + helpful + _STEADY)


def _plausible(n: int, share: float) -> int:
    """The most of n rows that a share can bring, but for a chance below 1e-15."""
    return min(n, math.ceil(n * share + 9.0 * math.sqrt(n * share) + 12.0))


def smallest_net_n(alpha: float, delta: float) -> int:
    """Rows, none of them harmful or helpful, that are needed to say "net loss <= alpha" at confidence 1 - delta."""
    return bisect.bisect_left(range(200_000), True, lo=1, key=lambda n: net_p(0, 0, n, alpha) <= delta)


def upper_bound(k: int, n: int, delta: float) -> float:
    """The share that k of n speaks for at most, at confidence 1 - delta (Clopper and Pearson 1934); 1.0 when k is n."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if middle > 0.0 and binomial_cdf(n, middle)[k] > delta else (low, middle)
    return high


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
    log_factorial = _log_factorials(n)
    chosen: NDArray[np.float64] = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    return chosen


def _log_choose_each(m: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
    log_factorial = _log_factorials(int(m.max(initial=0)))
    chosen: NDArray[np.float64] = log_factorial[m] - log_factorial[k] - log_factorial[m - k]
    return chosen


@functools.lru_cache(maxsize=64)
def _log_factorials(n: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
