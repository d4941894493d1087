"""Order the joint points (device threshold, edge threshold) that will be tested, from strict to lax.

Only tuning rows come in here. Not here: the test itself (`certify`), which uses other rows.
Invariant: along the path no threshold rises, so (nearly) no point is safer than the one before it and testing in
this order loses nothing; no threshold admits a score of 0.0.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.certificate.answers import NEVER, Answers, LadderAnswers, harm_of
from tianti.spec import Tier

POINTS = 80
"""Most points on a path: enough that two neighbours differ by little, few enough to read."""
_GRID = 150  # thresholds tried per tier
_COUNTED = 0.3  # weight of counted harm against expected harm; anything from 0.3 to 0.6 serves as well
_SAFE, _LAX = 0.02, 2.0  # the path runs from this much of the smallest alpha to this much of the largest


def order_points(
    tuning: LadderAnswers, alphas: Sequence[float], edge_price: float, cloud_price: float
) -> tuple[tuple[float, float], ...]:
    """At each of a growing series of harms the cheapest pair of thresholds that is no stricter than the last.

    A request costs `edge_price` if it goes past the device, and `cloud_price` more if it goes past the edge too (of
    equal costs, the one with fewer escalations). The harm of a pair is partly counted and partly expected from the
    scores: counts alone would start the path at a lucky zero, expectations alone would trust the score heads too far.
    Compared with a budget per tier in benchmarks/certificate_known_population.py.
    """
    device, edge = tuning[Tier.DEVICE], tuning[Tier.EDGE]
    device_from, edge_from = _thresholds(device.score), _thresholds(edge.score)
    passes = (~(device.score >= device_from[:, None])).astype(np.float32)
    stays = (edge.score >= edge_from[:, None]).astype(np.float32)
    harm = ((1 - passes) @ _blend(device, harm_of(tuning, Tier.DEVICE)))[:, None] + passes @ (
        stays * _blend(edge, harm_of(tuning, Tier.EDGE))
    ).T
    harm[0, 0] = np.inf  # NEVER, NEVER: all to the cloud is no operating point
    past_device = passes.sum(axis=1, keepdims=True)
    past_edge = past_device - passes @ stays.T
    cost = edge_price * past_device + cloud_price * past_edge + 1e-6 * (past_device + past_edge)

    path: list[tuple[float, float]] = []
    i = j = 0
    for limit in np.geomspace(_SAFE * min(alphas), _LAX * max(alphas), POINTS) * len(device.score):
        allowed = np.where(harm[i:, j:] <= limit, cost[i:, j:], np.inf)
        step_i, step_j = divmod(int(allowed.argmin()), allowed.shape[1])
        if np.isfinite(allowed[step_i, step_j]):
            i, j = i + step_i, j + step_j
            path.append((float(device_from[i]), float(edge_from[j])))
    return tuple(point for point, _ in itertools.groupby(path))


def _thresholds(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """NEVER, then descending thresholds between the quantiles of the scores above 0."""
    usable = score[score > 0.0]
    if not len(usable):
        return np.array([NEVER])
    levels = np.unique(np.quantile(usable, np.linspace(0.0, 1.0, _GRID), method="lower"))[::-1]
    return np.append(NEVER, (levels + np.append(levels[1:], 0.0)) / 2)


def _blend(tier: Answers, harmful: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Per row the counted harm blended with the expected: 1 - score, scaled to sum to one more than was counted.

    The one more keeps a path strict at its start even where no tuning row was harmed.
    """
    doubt = 1.0 - np.where(tier.score > 0.0, tier.score, 0.0) + 1e-9
    expected = (harmful.sum() + 1) * doubt / doubt.sum()
    blend: NDArray[np.float32] = (_COUNTED * harmful + (1.0 - _COUNTED) * expected).astype(np.float32)
    return blend
