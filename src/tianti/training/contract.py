"""What a student and a progress callback are: the few lines that a user's own student keeps too.

Not here: any student (`students`). Invariant: built-in students go through the same door.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""


class BuildStudent(Protocol):
    """Builds a student's body. A user's own is named `module:function` in the spec."""

    def __call__(self, vocab: int, labels: int, width: int) -> "nn.Module":
        """A module that maps kept token ids int64 [batch, tokens] (0 is padding) to logits float32 [batch, labels].

        Its token table is an `nn.Embedding(vocab, width)` called `embedding`; padding must not change a result.
        """
        ...
