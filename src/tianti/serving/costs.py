"""What one call of a model's engine costs, by how many texts share it and how long they are: measured, and looked up.

Not here: which texts share a call (`grouping`).
Invariant: a batch size is in the table only where answers in batches are those that the texts get alone, and where it
was worth it on this machine; so 1 is always there, and often alone.
"""

import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np

from tianti.runtimes import Runtime

SAME = 1e-4
"""How far apart a logit may be in a batch and alone (of the largest, where that is below 1): float32 stays far below,
dynamic int8 is far above."""
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_PAYS = 0.97  # a larger batch has to take less than this share of the time a text
_ENOUGH = 1.1
_LONG_MS = 250.0  # a call that is expected to take longer is not tried: nobody would wait for it
_RUNS = 3
_STRICTLY = 2048  # tokens, padding included, of each length: logits have to be the same to the last bit


class Costs:
    """Looked up, not computed: a group is chosen by hundreds of look-ups.

    Args:
        batches: numbers of texts that were measured, ascending, 1 first.
        lengths: tokens that were measured, ascending.
        ms: [batches][lengths], of one call; what lies between is on a line, what is longer costs in proportion.

    `most` texts may share a call; none has more than `longest` tokens. With `enough` of them each takes a tenth more
    than at best, or less.
    """

    def __init__(self, batches: Sequence[int], lengths: Sequence[int], ms: Sequence[Sequence[float]]) -> None:
        self.batches, self.lengths = tuple(batches), tuple(lengths)
        every_length = np.arange(lengths[-1] + 1)
        rows = np.array([np.interp(every_length, lengths, row) for row in ms])
        sizes = range(1, batches[-1] + 1)
        columns = np.array([np.interp(sizes, batches, column) for column in rows.T]).T
        self.most, self.longest = self.batches[-1], self.lengths[-1]
        each = [sum(row) / texts for texts, row in zip(batches, ms, strict=True)]
        self.enough = next(texts for texts, cost in zip(batches, each, strict=True) if cost <= _ENOUGH * min(each))
        self._ms: list[list[float]] = columns.tolist()

    def call_ms(self, texts: int, length: int) -> float:
        """Of a call with so many texts, the longest of so many tokens."""
        row = self._ms[texts - 1]
        return row[length] if length < len(row) else row[-1] * length / (len(row) - 1)


def measure(runtime: Runtime, texts: Sequence[str], clock: Callable[[], float] = time.perf_counter) -> Costs:
    """Time the engine at each batch size and length that may pay; afterwards every such shape has run once.

    Args:
        runtime: the engine.
        texts: real ones, to see whether a batch changes their answers; none: batches are not used.
    """
    lengths = _lengths(runtime)
    rows: list[tuple[float, ...]] = []
    kept: list[int] = []
    allowed = _BATCHES if texts and runtime.batches and batches_are_faithful(runtime, texts) else _BATCHES[:1]
    for batch in allowed:
        row = _measure_row(runtime, batch, lengths, texts, clock)
        if row is None or (rows and not _pays(rows[-1], kept[-1], row, batch)):
            break
        rows.append(row)
        kept.append(batch)
    return Costs(kept, lengths, rows)


def batches_are_faithful(runtime: Runtime, texts: Sequence[str]) -> bool:
    """Do texts get the logits in batches, padded to the longest, that they get alone?

    To `SAME`; to the last bit, at every length that is measured, where they are padded alone too, since that is why.
    """
    given = [list(encoded.ids) or [0] for encoded in runtime.encode_many(texts)]
    if runtime.length_step > 1:
        return all(_are_same(runtime, _up_to(length, given), 0.0) for length in _lengths(runtime))
    longer = [row[:1] + row[1:-1] * 3 + row[-1:] for row in given]
    return _are_same(runtime, [row[: runtime.max_length] for row in given + longer], SAME)


def _up_to(length: int, given: Sequence[Sequence[int]]) -> list[list[int]]:
    """Many rows of real tokens: one of this length, and shorter ones of all kinds."""
    tokens = itertools.cycle(itertools.chain(*given))
    lengths = (length - 5 * row % length for row in range(max(_STRICTLY // length, 4)))
    return [list(itertools.islice(tokens, each)) for each in lengths]


def _are_same(runtime: Runtime, rows: Sequence[Sequence[int]], within: float) -> bool:
    alone = np.stack([runtime.run_ids(row) for row in rows])
    allowed = within * min(1.0, float(np.abs(alone).max(initial=0.0)))
    together = (runtime.run_rows(rows[:few]) for few in (2, 3, len(rows)))
    return all(np.abs(found - alone[: len(found)]).max(initial=0.0) <= allowed for found in together)


def _lengths(runtime: Runtime) -> tuple[int, ...]:
    """8, 16, 32, ... up to the longest text."""
    lengths = [8]
    while lengths[-1] * 2 < runtime.max_length:
        lengths.append(lengths[-1] * 2)
    return (*lengths, runtime.max_length) if runtime.max_length > lengths[-1] else (runtime.max_length,)


def _measure_row(
    runtime: Runtime, batch: int, lengths: Sequence[int], texts: Sequence[str], clock: Callable[[], float]
) -> tuple[float, ...] | None:
    """None: even the shortest texts would take too long."""
    row: list[float] = []
    for length in lengths:
        expected_ms = row[-1] * length / lengths[len(row) - 1] if row else 0.0
        if expected_ms > _LONG_MS:
            row.append(expected_ms)
            continue
        row.append(_time_ms(runtime, [[1] * length] * batch, texts, clock))
        if row[0] > _LONG_MS and batch > 1:
            return None
    return tuple(row)


def _time_ms(runtime: Runtime, ids: Sequence[Sequence[int]], texts: Sequence[str], clock: Callable[[], float]) -> float:
    """The best of some runs; the first, which allocates and compiles, does not count unless it is the only one.

    Texts are tokenised before each, as they will be: a small model's call takes twice as long when it is not the only
    thing in the processor's caches.
    """
    best_s = float("inf")
    for run in range(_RUNS + 1):
        runtime.encode_many(texts)
        started_s = clock()
        runtime.run_rows(ids)
        took_s = clock() - started_s
        best_s = took_s if run < 2 else min(best_s, took_s)
        if run and took_s * 1e3 > _LONG_MS:
            break
    return best_s * 1e3


def _pays(fewer: Sequence[float], few: int, more: Sequence[float], many: int) -> bool:
    """Does the larger batch take less time a text, at some length at least?"""
    return any(b / many < _PAYS * a / few for a, b in zip(fewer, more, strict=True))
