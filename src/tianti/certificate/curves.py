"""Numbers for pictures: risk against coverage, reliability, and how much out-of-scope text is rejected.

Not here: drawing. Invariant: nothing decides on these; rows with equal scores always count together.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Reliability(NamedTuple):
    """Per non-empty bin of the score: its mean, the share that is right, rows; and the expected calibration error."""

    score: NDArray[np.float64]
    right: NDArray[np.float64]
    rows: NDArray[np.int64]
    error: float


def risk_coverage(
    score: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(coverage, risk), both ascending, one pair a distinct score: the share of rows kept, and kept and wrong.

    Both are shares of all rows, as the risk in a certificate is.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0.0, True)[: len(score)])
    rows = max(len(score), 1)
    return (last + 1) / rows, np.cumsum(~right[order])[last] / rows


def reliability(score: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> Reliability:
    """How well scores in [0, 1] match the share of right answers, in bins of equal width."""
    where = np.minimum((score * bins).astype(np.int64), bins - 1)
    rows = np.bincount(where, minlength=bins)
    kept = rows > 0
    rows = rows[kept]
    mean = np.bincount(where, weights=score, minlength=bins)[kept] / rows
    share = np.bincount(where, weights=right.astype(np.float64), minlength=bins)[kept] / rows
    return Reliability(mean, share, rows, float((rows * np.abs(mean - share)).sum() / max(rows.sum(), 1)))


def rejected_share(energy: NDArray[np.float64], outside: NDArray[np.bool_], in_scope_rejected: float = 0.05) -> float:
    """Share of out-of-scope rows below the energy that this share of in-scope rows lies below.

    NaN unless there are rows of both kinds.
    """
    if not outside.any() or outside.all():
        return float("nan")
    return float((energy[outside] < np.quantile(energy[~outside], in_scope_rejected)).mean())
