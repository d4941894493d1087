"""What a detector is, and what becomes of a text that is about to leave: the contract that a user's own detector keeps.

Not here: any detector. Invariant: what a detector finds are characters of the text that it was given.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

RULES = 1
"""Version of the built-in detectors, which a certificate is bound to: it grows when one finds something else."""

LONGEST = 100_000
"""Characters of a text that a node searches; one that has more stays where it is: its time would be everybody's."""

UNCHECKED = "unchecked"
"""The type that holds a text that could not be searched."""


class Found(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text are of type `kind`, such as `phone`.

    `proven`: a check digit, a numbering plan or a prefix that only this type has confirms it.
    """

    start: int
    end: int
    kind: str
    proven: bool = False


Detector = Callable[[str], Iterable[Found]]
"""Finds one or several types in a text: normalised, so that digits are 0 to 9 and nothing is of zero width.

A user's own is named `module:function` in the spec. Where it consists of more than its module's file, such as a model
or another module, its attribute `digest` (str) names that by hash. It may be called by several threads.
"""


class Leaving(NamedTuple):
    """What a policy makes of one text.

    `text` is what may leave: whatever is not allowed to has a placeholder in its place, in a held text too. `found`
    counts what is in the text by type, whatever becomes of it; `replaced` how many places were replaced. `held`: types
    that keep the text where it is; none: it may leave.
    """

    text: str
    found: Mapping[str, int]
    replaced: int
    held: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Leaving: {len(self.text)} characters, found {dict(self.found)}, held by {self.held}>"


NOT_SEARCHED = Leaving("", {}, 0, (UNCHECKED,))
"""What becomes of a text that cannot be searched."""
