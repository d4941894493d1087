"""What training takes and gives: texts with label indices in, a torch module with its tokenizer out.

Not here: reading rows (`data`), what a rung runs (`runtimes`). Invariant: a module maps ids int64 [batch, tokens] to
logits float32 [batch, labels], computes its own mask from the pad id, and gives a row the same logits whatever padding
its batch needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenizers import Tokenizer
from torch import nn

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""


class StudentFunction(Protocol):
    """Makes an untrained student; a user's own is named `module:function` in the spec."""

    def __call__(self, vocab: int, labels: int, width: int) -> nn.Module:
        """A module that maps kept rows int64 [batch, tokens] (0 = padding, 1 = unknown) to logits [batch, labels].

        Where it has an `nn.Embedding` [vocab, width] as its attribute `embedding`, that one starts from the teacher's
        vectors and is the table that is quantised.
        """
        ...


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and the index of each one's label, 0 <= index < number of labels."""

    texts: Sequence[str]
    labels: Sequence[int]


@dataclass(frozen=True)
class TextModel:
    """A trained module and what turns text into its input."""

    module: nn.Module
    tokenizer: Tokenizer
    pad_id: int
    max_length: int  # tokens, the special ones included

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text: with special ones, truncated at `max_length`, not padded."""
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_length)
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
