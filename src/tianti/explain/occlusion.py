"""Which words decided: the label's probability with and without them, on any runtime, without gradients.

A word is weighed twice: by what the label loses where it alone is missing, and by what the label gains where it alone
is there. The first misses words that stand for each other, the second what only words together say. The second costs
little, since one word is a short text, so all words are weighed by it, and those that it ranks first by the first too.
That serves long texts as well; parts first and their words then was measured, and is dearer and no more faithful.
Not here: what a word is (`words`), sentences about it (`explanation`).
Invariant: words come in the text's order, every one of them weighed, however few rows were allowed.
"""

import bisect
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.explain.words import Word, alone, cut, without
from tianti.runtimes import Runtime
from tianti.spec import ScoreHead

Scorer = Callable[[Sequence[str]], NDArray[np.float64]]
"""The probabilities [texts, labels] that a model gives to texts; 0 of a text that it cannot answer."""

ROWS = 5
"""What `occlude` may cost: so many runs of the whole text; a shorter one counts by its length, before any padding."""
_ENDS = 3  # words that a call and the special tokens cost, for each text
_TOGETHER = 256  # tokens of a call: more run no faster together
_PADDING = 8  # tokens that cost as much as another call


def scorer_of(runtime: Runtime, head: ScoreHead) -> Scorer:
    """What a package says of texts, several in a call where its engine can."""

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        rows = [text.ids for text in runtime.encode_many(texts)]
        logits = np.zeros((len(rows), len(runtime.labels)), np.float32)
        calls = _calls([len(row) for row in rows]) if runtime.batches else [[row] for row in range(len(rows))]
        for call in calls:
            together = [rows[index] for index in call]
            alone = len(together) == 1  # as in service then
            logits[call] = runtime.run_ids(together[0]) if alone else runtime.run_rows(together, aligned=False)
        return _probabilities(logits, head.temperature)

    return score


def _probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """As `certificate.read` has them; rows that hold no answer are 0."""
    usable = np.isfinite(logits).all(axis=1, keepdims=True)
    scaled = np.where(usable, logits, 0.0).astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True) * usable


def _calls(lengths: Sequence[int]) -> list[list[int]]:
    """Rows that share a call: of lengths so like that padding costs less than another one."""
    calls: list[list[int]] = []
    longest = 0
    for row in np.argsort(lengths, kind="stable").tolist():
        length = lengths[row]
        if calls and length * (len(calls[-1]) + 1) <= _TOGETHER and (length - longest) * len(calls[-1]) <= _PADDING:
            calls[-1].append(row)
        else:
            calls.append([row])
        longest = length
    return calls


def occlude(score: Scorer, text: str, label: int, rows: int = ROWS) -> list[Word]:
    """The words of a text, with what each says for the label.

    A weight is half of what the label's probability loses without the word, and half of what it gains by the word alone
    (that half only, where `rows` does not reach).

    Args:
        score: the model.
        text: the text.
        label: the label that is explained: an index.
        rows: what it may cost, in runs of the whole text.
    """
    words = cut(text)
    if not words:
        return []
    singles = [alone(text, words, [index]) for index in range(len(words))]
    whole, empty, *found = score([text, "", *singles])[:, label]
    weights = (np.array(found) - empty) / 2
    full, spent = len(words) + _ENDS, len(words) * (1 + _ENDS)
    reached = np.argsort(-weights, kind="stable")[: max(rows - 1 - spent // full, 1)].tolist()
    weights[reached] += (whole - score([without(text, words, [index]) for index in reached])[:, label]) / 2
    return [word._replace(weight=weight) for word, weight in zip(words, weights.tolist(), strict=True)]


def reach(runtime: Runtime, text: str) -> int:
    """How many characters of a text a model reads: it cuts off what is longer than it takes."""

    def is_cut(end: int) -> bool:
        return runtime.encode_many([text[:end]])[0].truncated

    end = runtime.max_length
    while not is_cut(end):  # a text may be a thousand times as long
        if end >= len(text):
            return len(text)
        end *= 2
    return bisect.bisect_left(range(end), True, key=is_cut) - 1
