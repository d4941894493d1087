"""Integrated gradients (Sundararajan et al. 2017) of a student: a reference for explanations that need no gradients.

Not here: which answer is explained, words of a text (`explain`). Invariant: the path starts at the same text of unknown
tokens, which students learn to do without and which are not masked as padding is, so that what the tokens add comes to
the whole fall of the label's probability; `delta` says how far from it they are.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tianti.errors import StageError, needs_extra
from tianti.explain.words import Word
from tianti.training import find_special

with needs_extra("train"):
    import torch
    from captum.attr import LayerIntegratedGradients
    from tokenizers import Tokenizer
    from torch import Tensor, nn

_STEPS = 32
_TOGETHER = 64  # steps that run at a time, so that memory stays small


class Attributed(NamedTuple):
    """The tokens of a text with what each adds; they come to `fall + delta`. Special tokens add nothing."""

    tokens: list[Word]
    fall: float
    delta: float


class Gradients:
    """Integrated gradients over the table of tokens of a student (`training.students.Student`).

    Raises:
        StageError: the student has no table.
    """

    def __init__(self, student: nn.Module, tokenizer: Tokenizer, max_length: int, temperature: float = 1.0) -> None:
        special = find_special(tokenizer)
        tokenizer.enable_truncation(max_length)
        self.student, self.temperature = student.eval(), temperature
        self.pad, self.unknown, self.frame = special.pad, special.unknown, {*special.before, *special.after}
        self._tokenizer = tokenizer
        self._method = LayerIntegratedGradients(self.integrated, _find_table(student))

    def attribute(self, text: str, label: int) -> Attributed:
        """What each token of a text adds to a label's probability."""
        encoding = self._tokenizer.encode(text)
        found, delta = self._method.attribute(
            torch.tensor([encoding.ids]),
            baselines=torch.tensor([self.start(encoding.ids)]),
            target=label,
            n_steps=_STEPS,
            internal_batch_size=_TOGETHER,
            return_convergence_delta=True,
        )
        values = found.sum(dim=-1)[0].tolist()
        places = zip(encoding.offsets, values, strict=True)
        return Attributed([Word(*span, value) for span, value in places], sum(values) - float(delta), float(delta))

    def start(self, ids: Sequence[int]) -> list[int]:
        """Where the path of a text's ids starts."""
        return [token if token in self.frame else self.unknown for token in ids]

    def integrated(self, ids: Tensor) -> Tensor:
        """What is integrated, float32 [batch, labels]."""
        return torch.softmax(self.student(ids) / self.temperature, dim=-1)


def _find_table(student: nn.Module) -> nn.Module:
    tables = [module for module in student.modules() if isinstance(module, nn.Embedding)]
    if not tables:
        raise StageError(
            "a student's table of tokens is expected to be an nn.Embedding called `embedding`; it has none"
        )
    return max(tables, key=lambda table: table.num_embeddings)
