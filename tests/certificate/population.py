"""A pool of rows that is taken as the whole population, so that the true risk of any thresholds is known exactly.

Harder rows are harder for every tier; scores are informative, noisy and not perfectly calibrated.
"""

import numpy as np
from numpy.typing import NDArray

from tianti.certificate import Answers, LadderAnswers
from tianti.spec import TIERS, Tier


def make_pool(rows: int = 20_000, seed: int = 0) -> LadderAnswers:
    """Accuracies of about .89, .95 and .97."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=rows)
    pool = {}
    for tier, strength in zip(TIERS, (5.0, 6.7, 7.5), strict=True):
        logit = strength - 3.5 * hard + rng.normal(scale=0.8, size=rows)
        right = rng.random(rows) < _sigmoid(logit)
        pool[tier] = Answers(_sigmoid(0.8 * logit + rng.normal(scale=0.7, size=rows)), right)
    return pool


def make_rows(device: Answers, edge: Answers, cloud: Answers) -> LadderAnswers:
    return {Tier.DEVICE: device, Tier.EDGE: edge, Tier.CLOUD: cloud}


def take(pool: LadderAnswers, rows: NDArray[np.int64]) -> LadderAnswers:
    return {tier: Answers(answers.score[rows], answers.right[rows]) for tier, answers in pool.items()}


def draw(pool: LadderAnswers, n: int, rng: np.random.Generator) -> LadderAnswers:
    """n rows, with replacement."""
    return take(pool, rng.integers(0, len(pool[Tier.CLOUD].right), n))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))
