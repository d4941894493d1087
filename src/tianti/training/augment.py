"""Texts made up from train, for the teacher to label: a student learns more from new texts than from known ones again.

Not here: labelling (`teacher`). Invariant: a made-up text has no label of its own; the same seed gives the same texts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.training.loop import Ids
from tianti.training.tokenizer import Special

# shares and rates as measured on CLINC150: recombined, substituted, spliced within and across classes; the rest drops
# words
_RECOMBINED, _SUBSTITUTED, _SAME_CLASS, _ACROSS = 0.5, 0.225, 0.1, 0.1
_CROSSING = 0.35  # chance to go on in another text after a word
_AFTER_TWO = 0.6  # of them: where the last two words stand, and not the last alone
_END = -1


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
    bodies = [[int(token) for token in tokens if token not in frame] for tokens in ids]
    bodies = [body or [special.unknown] for body in bodies]
    by_class = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    crossings = _Crossings(bodies)

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
        if kind < _RECOMBINED:
            return substitute(crossings.walk(row, max_length, generator), 0.1)
        if kind < _RECOMBINED + _SUBSTITUTED:
            return substitute(bodies[row], 0.3)
        if kind < _RECOMBINED + _SUBSTITUTED + _SAME_CLASS:
            return splice(row, int(generator.choice(by_class[labels[row]])))
        if kind < _RECOMBINED + _SUBSTITUTED + _SAME_CLASS + _ACROSS:
            return substitute(splice(row, int(generator.integers(len(bodies)))), 0.1)
        shorter = [token for token in bodies[row] if generator.random() > 0.15]
        return substitute(shorter or bodies[row], 0.15)

    return [special.frame(make(), max_length) for _ in range(count)]


class _Crossings:
    """Texts laid end to end, and where each word and each pair of words stands.

    Reading one text and going on in another wherever both have the same words is sampling from the texts' Markov chain
    (Shannon 1948, section 3): the result is new, and locally as people write.
    """

    def __init__(self, bodies: list[list[int]]) -> None:
        self._tokens = np.array([token for body in bodies for token in (*body, _END)], dtype=np.int64)
        lengths = np.array([len(body) + 1 for body in bodies])
        self._starts = np.cumsum(lengths) - lengths
        before = np.concatenate([[_END], self._tokens[:-1]])
        self._pairs = (before + 1) * (self._tokens.max() + 2) + self._tokens + 1
        self._by_token, self._by_pair = np.argsort(self._tokens, kind="stable"), np.argsort(self._pairs, kind="stable")
        self._sorted_tokens, self._sorted_pairs = self._tokens[self._by_token], self._pairs[self._by_pair]

    def walk(self, row: int, longest: int, generator: np.random.Generator) -> list[int]:
        """A text of at most `longest` tokens that begins as text `row` does."""
        at = int(self._starts[row])
        found: list[int] = []
        while self._tokens[at] != _END and len(found) < longest:
            found.append(int(self._tokens[at]))
            if generator.random() < _CROSSING:
                at = self._cross(at, generator)
            at += 1
        return found

    def _cross(self, at: int, generator: np.random.Generator) -> int:
        by_pair = generator.random() < _AFTER_TWO
        keys, places, key = (
            (self._sorted_pairs, self._by_pair, self._pairs[at])
            if by_pair
            else (self._sorted_tokens, self._by_token, self._tokens[at])
        )
        first, last = np.searchsorted(keys, [key, key + 1])
        return int(places[generator.integers(first, last)])


def _swap(token: int, neighbours: dict[int, list[int]], generator: np.random.Generator) -> int:
    near = neighbours.get(token)
    return near[int(generator.integers(len(near)))] if near else token
