"""Whether words that are said to decide do decide: comprehensiveness and sufficiency (DeYoung et al. 2020, ERASER).

Both are means over the top 5, 10, 20 and 50 % of a text's words (area over the perturbation curve), at least one word.
Not here: weighing the words (`occlusion`), a reference (`pipeline.gradients`). Invariants: every ranking of a text is
judged on the same words, by the same deletions; texts are scored one at a time, as in service.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.explain.words import Word, alone, cut, without

SHARES = (0.05, 0.10, 0.20, 0.50)
RANDOM_RANKINGS = 5


class Faithfulness(msgspec.Struct, frozen=True):
    """How far a label's probability falls.

    `comprehensiveness`: without the top words (more is better); `sufficiency`: with them alone (less is better).
    """

    comprehensiveness: float
    sufficiency: float


class Judge:
    """Judges rankings of the words that `cut` finds in one text. What was scored once is not scored again.

    `score` gives probabilities float64 [texts, labels]; that of `label` is watched. The text must have a word.
    """

    def __init__(self, score: Callable[[Sequence[str]], NDArray[np.float64]], text: str, label: int) -> None:
        self._score, self._text, self._label = score, text, label
        self.words = cut(text)
        self._known: dict[str, float] = {}

    def judge(self, weights: Sequence[float] | NDArray[np.float64]) -> Faithfulness:
        """Rank the words by weight, the greatest first, and see what the top ones do."""
        order = np.argsort(-np.asarray(weights, dtype=np.float64), kind="stable").tolist()
        whole, falls = self._chance(self._text), []
        for share in SHARES:
            top = order[: max(1, math.ceil(share * len(order)))]
            left, only = without(self._text, self.words, top), alone(self._text, self.words, top)
            falls.append((whole - self._chance(left), whole - self._chance(only)))
        return Faithfulness(*np.mean(falls, axis=0).tolist())

    def judge_random(self, seed: int) -> Faithfulness:
        """The mean of a few random rankings: what knowing nothing comes to."""
        random = np.random.default_rng(seed)
        return mean_of([self.judge(random.random(len(self.words))) for _ in range(RANDOM_RANKINGS)])

    def _chance(self, text: str) -> float:
        if text not in self._known:
            self._known[text] = float(self._score([text])[0, self._label])
        return self._known[text]


def share_out(parts: Iterable[Word], words: Sequence[Word]) -> NDArray[np.float64]:
    """The weight of each word, from parts of the text that have one: a part's is shared out by characters.

    Parts may be coarser than words (a sentence) or finer (a token); characters that are in no word take nothing.
    """
    weights = np.zeros(len(words))
    starts, ends = np.array([(word.start, word.end) for word in words]).reshape(-1, 2).T
    for part in parts:
        inside = np.clip(np.minimum(ends, part.end) - np.maximum(starts, part.start), 0, None)
        weights += part.weight * inside / max(inside.sum(), 1)
    return weights


def mean_of(found: Sequence[Faithfulness]) -> Faithfulness:
    """The mean over rows or rankings, of which there is one at least."""
    return Faithfulness(*np.mean([msgspec.structs.astuple(each) for each in found], axis=0).tolist())
