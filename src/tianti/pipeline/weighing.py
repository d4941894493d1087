"""Words of many texts weighed: whether they decide, which ones drive each class, and where two models go by others.

Not here: weighing one text (`explain`), gradients (`gradients`), which texts (`stages.explain`). Invariant: what is
explained is a model's own answer to a text, before any rejection, as its package gives it alone.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tianti.explain.faithful import Judge, mean_of, share_out
from tianti.explain.occlusion import Scorer, occlude
from tianti.explain.words import Word
from tianti.pipeline.explained import ClassWords, Disagreement, Opinion, TierFaithfulness
from tianti.spec import Tier

_CLASSES, _WORDS, _SHOWN = 30, 6, 8

Reference = Callable[[str, int], tuple[Sequence[Word], float]]
"""A text's tokens with what each adds to a label, and how far they are from adding up, as a share of the whole."""


class Model(NamedTuple):
    """A tier's package as it runs."""

    tier: Tier
    score: Scorer

    def answer(self, text: str) -> tuple[int, float]:
        """The label of a text, and its probability."""
        chances = self.score([text])[0]
        return int(chances.argmax()), float(chances.max())


def judge_words(model: Model, texts: Sequence[str], reference: Reference | None) -> TierFaithfulness:
    """Whether the words that occlusion names decide, beside chance and a reference; of one text at least."""
    words, chance, references, deltas = [], [], [], []
    for number, text in enumerate(texts):
        label, _ = model.answer(text)
        judge = Judge(model.score, text, label)
        words.append(judge.judge([word.weight for word in occlude(model.score, text, label)]))
        chance.append(judge.judge_random(number))
        if reference is not None:
            tokens, delta = reference(text, label)
            references.append(judge.judge(share_out(tokens, judge.words)))
            deltas.append(delta)
    return TierFaithfulness(
        rows=len(texts),
        words=mean_of(words),
        chance=mean_of(chance),
        gradients=mean_of(references) if references else None,
        delta=float(np.median(deltas)) if deltas else None,
    )


def class_words(model: Model, texts: Sequence[str], labels: Sequence[str]) -> list[ClassWords]:
    """What drives each class that is answered, of the most frequent ones."""
    totals: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    rows: dict[int, int] = defaultdict(int)
    for text in texts:
        label, _ = model.answer(text)
        rows[label] += 1
        for word in occlude(model.score, text, label):
            totals[label][text[word.start : word.end].casefold()] += word.weight
    most = sorted(rows, key=lambda label: (-rows[label], label))[:_CLASSES]
    return [ClassWords(labels[label], rows[label], _best(totals[label], rows[label])) for label in sorted(most)]


def _best(totals: Mapping[str, float], rows: int) -> list[tuple[str, float]]:
    best = sorted(totals, key=lambda word: (-totals[word], word))[:_WORDS]
    return [(word, totals[word] / rows) for word in best if totals[word] > 0]


def compare(
    lower: Model, upper: Model, texts: Mapping[str, str], labels: Sequence[str]
) -> tuple[int, list[Disagreement]]:
    """How many texts two models answer otherwise, and those of them where both are the surest; `texts` to own label."""
    found = []
    for text in texts:
        (one, sure), (other, also) = lower.answer(text), upper.answer(text)
        if one != other:
            found.append((min(sure, also), text))
    surest = [text for _, text in sorted(found, key=lambda each: -each[0])[:_SHOWN]]
    return len(found), [
        Disagreement(texts[text], [_opinion(model, text, labels) for model in (lower, upper)]) for text in surest
    ]


def _opinion(model: Model, text: str, labels: Sequence[str]) -> Opinion:
    label, probability = model.answer(text)
    pieces, at = [], 0
    for word in occlude(model.score, text, label):
        pieces += [(text[at : word.start], 0.0), (text[word.start : word.end], word.weight)]
        at = word.end
    pieces = [piece for piece in [*pieces, (text[at:], 0.0)] if piece[0]]
    return Opinion(model.tier, labels[label], probability, pieces)
