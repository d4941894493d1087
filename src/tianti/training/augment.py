"""Texts made up from train, for the teacher to label: a student learns more from new texts than from known ones again.

Not here: labelling (`teacher`). Invariant: a made-up text has no label of its own; the same seed gives the same texts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.training.loop import Ids
from tianti.training.tokenizer import Special

# shares and rates as measured on CLINC150: substitution, splices within and across classes, dropped words
_SUBSTITUTED, _SAME_CLASS, _ACROSS = 0.45, 0.20, 0.20


def make_texts(
    ids: Ids,
    labels: NDArray[np.int64],
    neighbours: dict[int, list[int]],
    special: Special,
    count: int,
    max_length: int,
    seed: int,
) -> list[list[int]]:
    """`count` made-up texts as ids, framed by the special tokens."""
    generator, frame = np.random.default_rng(seed), {*special.before, *special.after}
    bodies = [[token for token in tokens if token not in frame] for tokens in ids]
    bodies = [body or [special.unknown] for body in bodies]
    by_class = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]

    def substitute(body: Sequence[int], rate: float) -> list[int]:
        chances = generator.random(len(body))
        return [
            _swap(token, neighbours, generator) if chance < rate else token
            for token, chance in zip(body, chances, strict=True)
        ]

    def splice(row: int, other: int) -> list[int]:
        head, tail = bodies[row], bodies[other]
        return [*head[: generator.integers(1, len(head) + 1)], *tail[generator.integers(0, len(tail)) :]]

    def make() -> list[int]:
        row, kind = int(generator.integers(len(bodies))), generator.random()
        if kind < _SUBSTITUTED:
            return substitute(bodies[row], 0.3)
        if kind < _SUBSTITUTED + _SAME_CLASS:
            return splice(row, int(generator.choice(by_class[labels[row]])))
        if kind < _SUBSTITUTED + _SAME_CLASS + _ACROSS:
            return substitute(splice(row, int(generator.integers(len(bodies)))), 0.1)
        shorter = [token for token in bodies[row] if generator.random() > 0.15]
        return substitute(shorter or bodies[row], 0.15)

    return [special.frame(make(), max_length) for _ in range(count)]


def _swap(token: int, neighbours: dict[int, list[int]], generator: np.random.Generator) -> int:
    near = neighbours.get(token)
    return near[int(generator.integers(len(near)))] if near else token
