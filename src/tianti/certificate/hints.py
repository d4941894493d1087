"""Hints, from texts alone, that traffic is no longer what it was: how scores spread, and how many words are unknown.

Nothing is proven by them and nothing follows from them: audits decide (`watch`). They cost no call, and come sooner.
Not here: showing them. Invariant: numpy only where a release is made; the device counts with the standard library.
"""

import bisect
import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.spec import Usual

_BINS = 10
_FEWEST = 100  # answers, before a spread is worth a figure


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """What `answers` texts looked like to the entry node's own model, beside the rows that the release was made with.

    `score_shift`: the population stability index of the scores, None for fewer than 100; by custom above 0.1 is worth a
    look, and above 0.25 much has changed. `unknown_share`: of all tokens. Hints only: no guarantee is in them.
    """

    answers: int
    score_shift: float | None
    unknown_share: float
    usual_unknown_share: float


class Hinter:
    """Counts answers; not safe to use from several threads at once."""

    def __init__(self, usual: Usual) -> None:
        self._usual = usual
        self._edges = list(usual.edges)
        self._counts = [0] * len(usual.shares)
        self._tokens = self._unknown = 0

    def saw(self, score: float, tokens: int, unknown: int) -> None:
        """One answer of this tier's model: its score, and how many of the text's tokens it did not know."""
        self._counts[bisect.bisect_right(self._edges, score)] += 1
        self._tokens += tokens
        self._unknown += unknown

    def hints(self) -> Hints:
        """What has been seen so far."""
        answers = sum(self._counts)
        return Hints(
            answers=answers,
            score_shift=None if answers < _FEWEST else _stability(self._usual.shares, self._counts),
            unknown_share=self._unknown / max(self._tokens, 1),
            usual_unknown_share=self._usual.unknown_share,
        )


def find_usual(scores: NDArray[np.float64], tokens: NDArray[np.int64], unknown: NDArray[np.int64]) -> Usual:
    """What one model's answers to a set of rows look like, scores by their deciles."""
    edges = np.unique(np.quantile(scores, np.arange(1, _BINS) / _BINS)) if len(scores) else np.empty(0)
    counts = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)
    return Usual(
        edges=tuple(edges.tolist()),
        shares=tuple((counts / max(len(scores), 1)).tolist()),
        unknown_share=float(unknown.sum() / max(tokens.sum(), 1)),
    )


def _stability(usual: tuple[float, ...], counts: list[int]) -> float:
    """The population stability index, the sum of (p - q) ln(p / q); half an answer more in each bin keeps it finite."""
    total = sum(counts) + 0.5 * len(counts)
    seen = [(count + 0.5) / total for count in counts]
    return sum((p - q) * math.log(p / q) for p, q in zip(seen, (max(share, 1e-3) for share in usual), strict=True))
