"""Read one model's logits: which label, and how likely it is right.

This runs on the device for every answer, so it is written in few numpy calls and plain floats (about 7 us for 150
labels; half as much again just after an engine has filled the processor's caches). There is one implementation:
calibration reads row by row with the same code, so both agree to the last bit.
Not here: fitting a head (`head`), choosing a tier (`router`).
Invariant: what cannot be read (NaN, infinite, fewer than two logits) gets score 0.0, and no threshold admits 0.0.
"""

import math
from functools import cache

import msgspec
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


class Evidence(msgspec.Struct, frozen=True):
    """What one row of logits says. `probabilities` float64 [labels] are temperature-scaled and sum to 1."""

    index: int
    features: tuple[float, ...]
    probabilities: NDArray[np.float64]
    margin: float
    energy: float


class Reading(msgspec.Struct, frozen=True):
    """One answer: `index` into the model's labels, REJECTED or UNUSABLE; `score` in [0, 1].

    `score` estimates the chance that the label (out of scope included) is right.
    """

    index: int
    score: float
    probabilities: NDArray[np.float64]
    energy: float


class Readings(msgspec.Struct, frozen=True):
    """Many answers of one model: `index` int64, `score` and `energy` float64, each [rows]."""

    index: NDArray[np.int64]
    score: NDArray[np.float64]
    energy: NDArray[np.float64]

    def right(self, truth: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which answers are right; truth indexes the model's labels, REJECTED (-1) = out of scope."""
        right: NDArray[np.bool_] = self.index == truth
        return right


def examine(head: ScoreHead, logits: NDArray[np.float32], tokens: int, unknown: int) -> Evidence | None:
    """The features of one row of logits [labels], in the order of FEATURES; None where they cannot be used."""
    if len(logits) < 2:
        return None
    index = int(logits.argmax())  # a NaN, if there is one
    top = float(logits[index])
    if not math.isfinite(top - float(logits[logits.argmin()])):
        return None
    below = np.subtract(logits, top, dtype=np.float64)
    ones = _ones(len(logits))
    probabilities = np.exp(below)
    energy = top + math.log(probabilities.dot(ones))
    below /= head.temperature
    np.exp(below, probabilities)
    total = float(probabilities.dot(ones))
    probabilities /= total
    negative_entropy = float(probabilities.dot(below)) - math.log(total)
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

    A head without weights scores the margin p1 - p2, and 0.0 where the text is rejected. Logits that cannot be used
    give UNUSABLE and 0.0: the caller escalates, and has no label to answer with.
    """
    evidence = examine(head, logits, tokens, unknown)
    if evidence is None:
        return Reading(UNUSABLE, 0.0, np.zeros(len(logits)), -math.inf)
    if head.weights:
        total = head.bias
        for weight, feature in zip(head.weights, evidence.features, strict=True):
            total += weight * feature
        score = _sigmoid(total)
    else:
        score = evidence.margin if evidence.index != REJECTED else 0.0
    return Reading(evidence.index, score, evidence.probabilities, evidence.energy)


def read_many(
    head: ScoreHead, logits: NDArray[np.float32], tokens: NDArray[np.int64], unknown: NDArray[np.int64]
) -> Readings:
    """Read logits [rows, labels] row by row, exactly as the device does."""
    rows = [read(head, *row) for row in zip(logits, tokens.tolist(), unknown.tolist(), strict=True)]
    return Readings(
        np.array([row.index for row in rows], dtype=np.int64),
        np.array([row.score for row in rows], dtype=np.float64),
        np.array([row.energy for row in rows], dtype=np.float64),
    )


@cache
def _ones(count: int) -> NDArray[np.float64]:
    """A dot product with these is the quickest sum that numpy has."""
    return np.ones(count)


def _sigmoid(x: float) -> float:
    if x != x:
        return 0.0
    return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0
