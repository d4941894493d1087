"""Ids into padded batches of similar length, and a module over many ids.

Not here: fitting (`loop`). Invariant: padding is cheap: rows of a batch are of about the same length.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tianti.training.contract import Progress

Ids = Sequence[Sequence[int]]

_CHUNK = 50  # batches that are sorted by length together: enough to save the padding, few enough to stay random


def pad(ids: Ids, pad_id: int) -> Tensor:
    """int64 [rows, longest], filled up on the right."""
    padded = np.full((len(ids), max(map(len, ids))), pad_id, np.int64)
    for row, one in zip(padded, ids, strict=True):
        row[: len(one)] = one
    return torch.from_numpy(padded)


def shuffled_batches(
    lengths: NDArray[np.int64], rows: NDArray[np.int64], size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Split rows into batches at random, sorted by length within chunks of some batches."""
    rows = rng.permutation(rows)
    chunks = np.split(rows, range(_CHUNK * size, len(rows), _CHUNK * size))
    rows = np.concatenate([chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks])
    batches = np.split(rows, range(size, len(rows), size))
    return [batches[index] for index in rng.permutation(len(batches))]


def run_rows(
    ids: Ids, pad_id: int, run: Callable[[Tensor], Tensor], width: int, progress: Progress, note: str, size: int = 64
) -> NDArray[np.float32]:
    """`run(input_ids) -> [batch, width]` over all ids, shortest first; float32 [rows, width] in the order given."""
    out = np.zeros((len(ids), width), np.float32)
    done = 0
    for batch in _sorted_batches(ids, size):
        with torch.inference_mode():
            out[batch] = run(pad([ids[row] for row in batch], pad_id)).float().cpu().numpy()
        done += len(batch)
        progress(done, len(ids), note)
    return out


def _sorted_batches(ids: Ids, size: int) -> Iterator[NDArray[np.int64]]:
    order = np.argsort([len(one) for one in ids], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
