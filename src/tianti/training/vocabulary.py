"""Shrink a vocabulary: keep what train uses, send every other token to the kept one nearest in meaning.

Not here: the table's bits (`compression`). Invariant: kept row 0 is padding; every token of the base has a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tianti.errors import needs_extra
from tianti.training.contract import Progress
from tianti.training.encoder import load_encoder
from tianti.training.imported import PackageModule
from tianti.training.loop import Ids, compute_all
from tianti.training.students import PAD
from tianti.training.teacher import EncoderClassifier, Teacher
from tianti.training.tokenizer import Special, find_special
from tianti.training.wide import WideAndDeep

with needs_extra("train"):
    import torch
    from torch import Tensor

_ALIAS_COSINE = 0.35  # a token with no kept one as near as this becomes the unknown token
_NEIGHBOURS, _NEIGHBOUR_COSINE = 12, 0.45


@dataclass(frozen=True)
class Vocabulary:
    """`kept` base ids in row order (row 1 first); `alias` int64 [base vocabulary] -> kept row.

    `vectors` float32 [base vocabulary, width] are the teacher's static vectors, centred.
    """

    kept: list[int]
    alias: NDArray[np.int64]
    vectors: NDArray[np.float32]
    special: Special

    def save(self, path: Path) -> None:
        """Write as .npz."""
        lists = (self.kept, (self.special.pad, self.special.unknown), self.special.before, self.special.after)
        kept, special, before, after = (np.array(each, dtype=np.int64) for each in lists)
        np.savez(path, alias=self.alias, vectors=self.vectors, kept=kept, special=special, before=before, after=after)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote."""
        with np.load(path) as file:
            frame = (tuple(file[name].tolist()) for name in ("before", "after"))
            special = Special(*file["special"].tolist(), *frame)
            return cls(file["kept"].tolist(), file["alias"], file["vectors"], special)

    @property
    def rows(self) -> int:
        """Rows of a student's table, padding included."""
        return len(self.kept) + 1

    @property
    def unknown_row(self) -> int:
        """The kept row of the unknown token."""
        return int(self.alias[self.special.unknown])

    def alias_tensor(self) -> Tensor:
        """The alias map for a student."""
        return torch.from_numpy(self.alias)

    def table(self, width: int, spread: float) -> Tensor:
        """Start values for a student's table, float32 [rows, width]: principal components of the kept vectors.

        `spread` is their standard deviation: what training moves by little it does not forget.
        """
        vectors = self.vectors[self.kept]
        if width < vectors.shape[1]:
            _, _, components = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
            vectors = vectors @ components[:width].T
        table = np.random.default_rng(0).normal(0, 0.1, (self.rows, width))
        if vectors.any():  # a teacher that was imported may hide its own
            table[1:, : vectors.shape[1]] = vectors * (spread / vectors.std())
        table[PAD] = 0.0
        return torch.from_numpy(table.astype(np.float32))

    def neighbours(self) -> dict[int, list[int]]:
        """For each kept token the kept tokens nearest in meaning, the nearest first."""
        units = _units(self.vectors[self.kept])
        found = {}
        for row, similar in enumerate(units @ units.T):
            similar[row] = -1.0
            best = np.argpartition(-similar, min(_NEIGHBOURS, len(similar) - 1))[:_NEIGHBOURS]
            found[self.kept[row]] = [self.kept[at] for at in best if similar[at] > _NEIGHBOUR_COSINE]
        return found


def shrink_vocabulary(teacher: Teacher, ids: Ids, progress: Progress, base: Path | None = None) -> Vocabulary:
    """Keep the tokens that `ids` use, and the special ones.

    `base`: of a fine-tuned teacher, whose own vectors tell labels apart and words no longer.
    """
    special = find_special(teacher.tokenizer)
    vectors = _static_vectors(teacher, special, progress, base)
    used = {token for tokens in ids for token in tokens} | {special.unknown, *special.before, *special.after}
    kept = sorted(used - {special.pad})
    rows = {token: row for row, token in enumerate(kept, 1)}
    alias = np.full(len(vectors), rows[special.unknown], dtype=np.int64)
    units, kept_units = _units(vectors), _units(vectors[kept])
    for start in range(0, len(vectors), 2048):
        similar = units[start : start + 2048] @ kept_units.T
        near = similar.max(axis=1) > _ALIAS_COSINE
        alias[start : start + 2048][near] = similar.argmax(axis=1)[near] + 1
    for token, row in rows.items():
        alias[token] = row
    alias[special.pad] = PAD
    return Vocabulary(kept, alias, vectors, special)


def _static_vectors(teacher: Teacher, special: Special, progress: Progress, base: Path | None) -> NDArray[np.float32]:
    """What the teacher makes of each token alone; a teacher from scratch has them in its table."""
    if isinstance(teacher.module, PackageModule):
        return teacher.module.vectors
    if isinstance(teacher.module, WideAndDeep):
        table: NDArray[np.float32] = teacher.module.deep.body.embedding.weight.detach().numpy()
        return table
    assert isinstance(teacher.module, EncoderClassifier)
    alone: Sequence[list[int]] = [
        [*special.before, token, *special.after] for token in range(teacher.tokenizer.get_vocab_size())
    ]
    encoder = teacher.module.encoder if base is None else load_encoder(base, special.pad)
    vectors = compute_all(encoder, alone, special.pad, progress, "reading tokens", batch_size=512)
    last = vectors[:, -encoder.centre.shape[1] :]  # of the features, those of the last layer
    centred: NDArray[np.float32] = last - last.mean(axis=0)
    return centred


def _units(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
