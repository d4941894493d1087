"""What can be said of the risk within groups of requests: a marginal certificate says nothing of a small one.

For each group and each of a few limits fixed beforehand, the points of the path are tested in their order (Learn then
Test, as in `certify`) for "at most this share of the group's requests is harmful". All these sequences share delta, so
whatever they accept holds together, at whichever point the levels end.
Not here: which rows are in a group. Invariant: a bound follows from the counts that are kept; `recheck` shows it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.certificate.answers import LadderAnswers, harmful_rows
from tianti.certificate.counts import binomial_cdf
from tianti.spec import GroupRisk, Tier

LIMITS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
"""The shares that a bound can be."""

Groups = Mapping[tuple[str, str], NDArray[np.bool_]]
"""Of each (column, value) the certify rows that are in it, bool [rows]."""


def certify_groups(
    path: Sequence[tuple[float, float]],
    points: Sequence[int | None],
    answers: LadderAnswers,
    groups: Groups,
    confidence: float,
) -> tuple[GroupRisk, ...]:
    """Bounds within groups at the points of the levels, all holding together.

    Args:
        path: (device, edge) thresholds, in the order in which they are tested.
        points: of each level its index into the path, or None.
        answers: of the certify rows.
        groups: which of them are in which group.
        confidence: with which all bounds hold together.
    """
    shape = (len(path), len(answers[Tier.CLOUD].right))
    harmful = np.array([harmful_rows(answers, thresholds) for thresholds in path], dtype=np.bool_).reshape(shape)
    counted = {name: tuple(harmful[:, rows].sum(axis=1).tolist()) for name, rows in groups.items()}
    return tuple(
        GroupRisk(
            column=name[0],
            value=name[1],
            n=int(rows.sum()),
            harmful=counted[name],
            bounds=find_bounds(counted[name], int(rows.sum()), points, confidence, len(groups)),
        )
        for name, rows in groups.items()
    )


def find_bounds(
    harmful: Sequence[int], n: int, points: Sequence[int | None], confidence: float, groups: int
) -> tuple[float | None, ...]:
    """The smallest limit that one group's counts allow at each level's point; None where none does, or no point is."""
    delta = round(1.0 - confidence, 12) / (len(LIMITS) * groups)
    accepted = {}
    for limit in LIMITS:
        cdf = binomial_cdf(n, limit)
        accepted[limit] = next((i for i, count in enumerate(harmful) if cdf[count] > delta), len(harmful))
    return tuple(
        None if point is None else next((limit for limit in LIMITS if point < accepted[limit]), None)
        for point in points
    )
