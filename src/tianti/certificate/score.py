"""Read one model's logits: which label, and how likely it is right.

This runs on the device for every answer, so it is written in few numpy calls and plain floats (about 7 us for 150
labels; half as much again just after an engine has filled the processor's caches). Calibration, and a node that runs
batches, read many rows at a time; both ways agree to the last bit, which a test holds.
Not here: fitting a head (`head`), choosing a tier (`router`).
Invariant: what cannot be read (NaN, infinite, fewer than two logits) gets score 0.0, and no threshold admits 0.0.
"""

import math
from collections.abc import Sequence
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
_TOGETHER = 256  # rows, so that memory stays small
_FEW = 4  # fewer rows are quicker one by one: a matrix has operations of its own
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
    below[index] = -math.inf
    second = float(below[below.argmax()])  # faster than a maximum
    return _evidence(head, index, probabilities, energy, total, negative_entropy, second, tokens, unknown)


def _examine_rows(
    head: ScoreHead, logits: NDArray[np.float32], tokens: Sequence[int], unknown: Sequence[int]
) -> list[Evidence]:
    """`examine` of each row of finite logits [rows, labels]: the same operations, each on all rows at a time.

    But sums: those of a matrix would be added up in another order, and the last bit be another.
    """
    rows, ones = np.arange(len(logits)), _ones(logits.shape[1])
    index = logits.argmax(axis=1)
    top = logits[rows, index]
    below = np.subtract(logits, top[:, None], dtype=np.float64)
    energies = [each + math.log(row.dot(ones)) for each, row in zip(top.tolist(), np.exp(below), strict=True)]
    below /= head.temperature
    probabilities = np.exp(below)
    totals = [float(row.dot(ones)) for row in probabilities]
    probabilities /= np.array(totals)[:, None]
    entropies = [
        float(row.dot(under)) - math.log(total) for row, under, total in zip(probabilities, below, totals, strict=True)
    ]
    below[rows, index] = -math.inf
    columns = (index.tolist(), probabilities, energies, totals, entropies, below.max(axis=1).tolist(), tokens, unknown)
    return [_evidence(head, *row) for row in zip(*columns, strict=True)]


def _evidence(
    head: ScoreHead,
    index: int,
    probabilities: NDArray[np.float64],
    energy: float,
    total: float,
    negative_entropy: float,
    second: float,
    tokens: int,
    unknown: int,
) -> Evidence:
    """What follows from sums over a row: `total` of exp((z - z1) / temperature), `second` of its largest exponents."""
    first = 1.0 / total
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
    return _reading(head, examine(head, logits, tokens, unknown), len(logits))


def read_rows(
    head: ScoreHead, logits: NDArray[np.float32], tokens: Sequence[int], unknown: Sequence[int]
) -> list[Reading]:
    """`read` of each row of logits [rows, labels], to the last bit, in a third of the time."""
    if len(logits) < _FEW or logits.shape[1] < 2 or not np.isfinite(logits).all():
        return [read(head, *row) for row in zip(logits, tokens, unknown, strict=True)]
    width = logits.shape[1]
    return [_reading(head, evidence, width) for evidence in _examine_rows(head, logits, tokens, unknown)]


def _reading(head: ScoreHead, evidence: Evidence | None, labels: int) -> Reading:
    if evidence is None:
        return Reading(UNUSABLE, 0.0, np.zeros(labels), -math.inf)
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
    """Read logits [rows, labels], exactly as the device does."""
    rows: list[Reading] = []
    for start in range(0, len(logits), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        rows += read_rows(head, logits[part], tokens[part].tolist(), unknown[part].tolist())
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
