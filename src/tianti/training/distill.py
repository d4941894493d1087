"""Distil a teacher into a student: soft labels on all texts, hard labels where there are any.

Not here: the teacher (`teacher`), export (`compression`). Invariant: validation rows are looked at only to stop.
"""

import math
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.errors import StageError, needs_extra
from tianti.spec.ladder import FitSpec, PruneSpec
from tianti.training.contract import BuildStudent, Progress
from tianti.training.loop import Ids, fit_module
from tianti.training.prune import fix_weights, mask_weights, remove_structures
from tianti.training.students import PAD, BagBody, EncoderBody, FakeQuantEmbedding, LstmBody, Student, TransformerBody
from tianti.training.teacher import EncoderClassifier, Teacher, accuracy_of, with_defaults
from tianti.training.vocabulary import Vocabulary
from tianti.training.wide import drop_words

with needs_extra("train"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

_TEMPERATURE = 2.0  # Hinton et al. 2015
_HARD_SHARE = 0.3
_WORD_DROPOUT = 0.1
_HEAD_RATE = 2e-3
# of a table at the start. A transformer keeps what a pretrained encoder knows of rare words at 0.5, and needs no
# dropout (0.3 points on CLINC150); vectors from scratch (0.7 points on THUCNews) and of a small bag have to move far
_SPREAD, _PRETRAINED_SPREAD, _DROPOUT = 0.1, 0.5, 0.1
SMALL = FitSpec(optimizer="adamw", schedule="cosine", learning_rate=2e-3, epochs=8, batch_size=128)
CUT_DOWN = FitSpec(optimizer="adamw", schedule="cosine", learning_rate=1.5e-4, epochs=2, batch_size=64)
# from a parent's weights: what SMALL brings more (half a point on Banking77) costs a whole download instead of a sixth
NEAR = FitSpec(optimizer="adamw", schedule="cosine", learning_rate=1e-4, epochs=1, batch_size=128)
HEAD_ALONE = FitSpec(optimizer="adamw", schedule="cosine", learning_rate=_HEAD_RATE, epochs=2, batch_size=128)


@dataclass(frozen=True)
class Lessons:
    """What a student learns from: rows of train with labels, then texts without; teacher's logits for all of them."""

    ids: Ids
    labels: NDArray[np.int64]  # of the first rows, those of train
    logits: NDArray[np.float32]  # [rows, labels]
    validation: Ids
    validation_labels: NDArray[np.int64]


def build_body(
    kind: str | BuildStudent, teacher: Teacher, vocabulary: Vocabulary, labels: int, width: int, layers: int
) -> nn.Module:
    """A student's body, its table filled from the teacher's vectors.

    Raises:
        StageError: a user's student has no table called `embedding`, or the teacher has no layers to cut down.
    """
    if isinstance(kind, str) and kind.startswith("encoder:"):
        if not isinstance(teacher.module, EncoderClassifier):
            raise StageError(f"student {kind}: expected a cloud.base to cut down, got scratch; choose transformer")
        return EncoderBody(
            teacher.module.encoder, vocabulary.kept, int(kind.removeprefix("encoder:")), teacher.module.head
        )
    pretrained = isinstance(teacher.module, EncoderClassifier)
    if kind == "transformer":
        body: nn.Module = TransformerBody(
            vocabulary.rows, labels, width, layers, teacher.max_length, 0.0 if pretrained else _DROPOUT
        )
    elif isinstance(kind, str):
        body = {"bag": BagBody, "lstm": LstmBody}[kind](vocabulary.rows, labels, width)
    else:
        body = kind(vocabulary.rows, labels, width)
    table = getattr(body, "embedding", None)
    if not isinstance(table, nn.Embedding) or table.weight.shape != (vocabulary.rows, width):
        raise StageError(
            f"expected a student with nn.Embedding({vocabulary.rows}, {width}) called `embedding`, got {table}"
        )
    spread = _PRETRAINED_SPREAD if pretrained and kind == "transformer" else _SPREAD
    table.weight.data.copy_(vocabulary.table(width, spread))
    return body


def distill(
    body: nn.Module,
    vocabulary: Vocabulary,
    lessons: Lessons,
    fit: FitSpec,
    bits: int | None,
    seed: int,
    progress: Progress,
    prune: PruneSpec | None = None,
    *,
    warm: bool = False,
) -> Student:
    """Train a student, and where it is to be pruned prune it and train it again.

    `bits`: the grid that its table will be stored in, learnt with; None: float32. `warm`: it has a parent's weights.
    """
    table = getattr(body, "embedding", None)
    if isinstance(table, FakeQuantEmbedding):
        table.bits = bits
    fit = with_defaults(fit, _defaults(body, warm))
    _fit(body, vocabulary, lessons, fit, seed, progress, "distilling")
    if prune is not None:
        remove_structures(body, prune)
        mask_weights(body, prune.weights_share)
        epochs, rate = math.ceil((fit.epochs or 1) / 2), (fit.learning_rate or 0.0) / 2
        # to its end: torch cannot copy a masked module, which keeping the best of them would need
        recovery = msgspec.structs.replace(fit, epochs=epochs, learning_rate=rate, patience=None)
        _fit(body, vocabulary, lessons, recovery, seed, progress, "recovering")
        fix_weights(body)
    return Student(body, vocabulary.alias_tensor()).eval()


def _defaults(body: nn.Module, warm: bool) -> FitSpec:
    if _only_head(body):
        return HEAD_ALONE
    if isinstance(body, EncoderBody):
        return CUT_DOWN
    return NEAR if warm else SMALL


def _only_head(body: nn.Module) -> bool:
    return all(name.startswith("head.") for name, parameter in body.named_parameters() if parameter.requires_grad)


def _fit(
    body: nn.Module,
    vocabulary: Vocabulary,
    lessons: Lessons,
    fit: FitSpec,
    seed: int,
    progress: Progress,
    note: str,
) -> None:
    student = Student(_WithDropout(body, vocabulary.unknown_row), vocabulary.alias_tensor())
    labels, logits = torch.from_numpy(lessons.labels), torch.from_numpy(lessons.logits)

    def loss(output: Tensor, rows: NDArray[np.int64]) -> Tensor:
        at = torch.from_numpy(rows)
        soft = softmax(logits[at].to(output.device) / _TEMPERATURE, dim=1)
        value = kl_div(log_softmax(output / _TEMPERATURE, dim=1), soft, reduction="batchmean") * _TEMPERATURE**2
        known = at < len(labels)
        if not known.any():
            return value
        hard = cross_entropy(output[known.to(output.device)], labels[at[known]].to(output.device))
        return (1 - _HARD_SHARE) * value + _HARD_SHARE * hard

    fit_module(
        student,
        lessons.ids,
        vocabulary.special.pad,
        loss,
        fit,
        seed=seed,
        note=note,
        progress=progress,
        head_rate=None if _only_head(body) else _HEAD_RATE,
        validate=lambda module: accuracy_of(
            module, lessons.validation, vocabulary.special.pad, lessons.validation_labels
        ),
    )


class _WithDropout(nn.Module):
    """A body that does not see a share of the words while it trains."""

    def __init__(self, body: nn.Module, unknown_row: int) -> None:
        super().__init__()
        self.body, self.unknown_row = body, unknown_row

    def forward(self, ids: Tensor) -> Tensor:
        return self.body(drop_words(ids, self.unknown_row, PAD, _WORD_DROPOUT if self.training else 0.0))
