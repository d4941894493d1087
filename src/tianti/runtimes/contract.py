"""What a runtime is: the few lines that another engine implements.

Not here: any engine. Invariant: logits come in the order of `labels`, one row a text.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Output(NamedTuple):
    """One text through one model: logits float32 [labels], and what the score head looks at beside them."""

    logits: NDArray[np.float32]
    tokens: int  # special ones included, after truncation
    unknown: int  # how many of them the model does not know
    truncated: bool


class Encoded(NamedTuple):
    """One text as the model takes it: `ids`, special ones included, after truncation."""

    ids: Sequence[int]
    unknown: int
    truncated: bool


class Runtime(Protocol):
    """A package that can be run on this machine."""

    labels: tuple[str, ...]
    package: str  # the package's id
    max_length: int  # tokens
    batches: bool  # can run several texts in one call of the engine
    length_step: int
    """A text is padded to the next multiple of it, or `max_length`. Above 1: alone too, since logits depend on that."""

    def run(self, text: str) -> Output:
        """Run one text.

        Raises:
            RunError: the engine failed or its output has another shape than `labels`.
        """
        ...

    def run_ids(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits [labels] of a text's ids, special ones included; errors as of `run`."""
        ...

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts as the model takes them."""
        ...

    def check_ids(self, ids: Sequence[int]) -> Encoded:
        """A text that came as ids.

        Raises:
            UsageError: the model cannot take them.
        """
        ...

    def run_rows(self, rows: Sequence[Sequence[int]], aligned: bool = True) -> NDArray[np.float32]:
        """The logits [rows, labels] of several texts' ids in one call of the engine; errors as of `run`.

        Not `aligned`: padded to the longest and no further, where `length_step` is above 1. Sooner done, but the logits
        are then a little off those that each text gets alone.
        """
        ...
