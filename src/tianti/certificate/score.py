"""Read one model's logits: which label, and how likely it is right.

This runs on the device for every answer, so it is written in few numpy calls and plain floats (about 10 us for 150
labels). There is one implementation: calibration reads row by row with the same code, so both agree to the last bit.
Not here: fitting a head (`head`), choosing a tier (`router`).
Invariant: what cannot be read (NaN, infinite, fewer than two logits) gets score 0.0, and no threshold admits 0.0.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tianti.spec import ScoreHead

REJECTED = -1
"""`Reading.index` of a text that is answered with the out-of-scope label."""
UNUSABLE = -2
"""`Reading.index` of logits that hold no answer."""

FEATURES = (
    "top_logit",  # log p1 / (1 - p1), p temperature-scaled
    "margin",  # p1 - p2
    "logit_margin",  # (z1 - z2) / temperature
    "negative_entropy",
    "energy",  # logsumexp of the raw logits
    "unknown_share",  # of the tokens
    "log_tokens",
    "rejected",  # 1 where the energy is below `reject_below`; the features above are then 0
    "rejected_by",  # by how much
)
_CERTAIN = 1e-12  # 1 - p1 is not taken below this, so that features stay finite


class Evidence(NamedTuple):
    """What one row of logits says. `probabilities` float64 [labels] are temperature-scaled and sum to 1."""

    index: int
    features: tuple[float, ...]
    probabilities: NDArray[np.float64]
    margin: float
    energy: float


class Reading(NamedTuple):
    """One answer: `index` into the model's labels, REJECTED or UNUSABLE; `score` in [0, 1].

    `score` estimates the chance that the label (out of scope included) is right.
    """

    index: int
    score: float
    probabilities: NDArray[np.float64]
    energy: float


def examine(head: ScoreHead, logits: NDArray[np.float32], tokens: int, unknown: int) -> Evidence | None:
    """The features of one row of logits [labels], in the order of FEATURES; None where they cannot be used."""
    if len(logits) < 2:
        return None
    index = int(logits.argmax())  # the first NaN, if there is one
    top = float(logits[index])
    if not math.isfinite(top):
        return None
    below = np.subtract(logits, top, dtype=np.float64)
    energy = top + math.log(np.add.reduce(np.exp(below)))
    below /= head.temperature
    probabilities = np.exp(below)
    total = float(np.add.reduce(probabilities))
    probabilities /= total
    negative_entropy = float(probabilities.dot(below)) - math.log(total)
    if not math.isfinite(negative_entropy):  # a logit of -inf
        return None
    first = 1.0 / total
    below[index] = -math.inf
    second = float(below[below.argmax()])  # faster than a maximum
    margin = first * (1.0 - math.exp(second))
    if head.reject_below is not None and energy < head.reject_below:
        features = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, head.reject_below - energy)
        return Evidence(REJECTED, features, probabilities, margin, energy)
    rest = max((total - 1.0) * first, _CERTAIN)
    length = tokens if tokens > 1 else 1
    features = (
        math.log(first / rest),
        margin,
        -second,
        negative_entropy,
        energy,
        unknown / length,
        math.log(length),
        0.0,
        0.0,
    )
    return Evidence(index, features, probabilities, margin, energy)


def read(head: ScoreHead, logits: NDArray[np.float32], tokens: int, unknown: int) -> Reading:
    """Label and score of one row of logits [labels].

    A head without weights scores the margin p1 - p2, and 0.0 where the text is rejected.
    """
    evidence = examine(head, logits, tokens, unknown)
    if evidence is None:
        return Reading(UNUSABLE, 0.0, np.zeros(len(logits)), -math.inf)
    index, features, probabilities, margin, energy = evidence
    if head.weights:
        total = head.bias
        for weight, feature in zip(head.weights, features, strict=True):
            total += weight * feature
        score = _sigmoid(total)
    else:
        score = margin if index != REJECTED else 0.0
    return Reading(index, score, probabilities, energy)


def _sigmoid(x: float) -> float:
    if x != x:
        return 0.0
    return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0
