"""The egress log: one JSON line for every text that left a node where it had entered, or was held back there.

Not here: what may leave (`door`), writing it (`lines`). Invariant: types and counts; no value and no text.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tianti.privacy import Leaving
from tianti.router.lines import Lines
from tianti.spec import Tier

SCHEMA = "tianti.egress/1"
Purpose = Literal["answer", "audit"]


class Egressed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one text that was not answered where it entered.

    `time` is when that was settled, in seconds since 1970; `entry` the tier it entered at. `left`: it was sent, `to`
    these nodes, in order. `held`: types that kept it. `found` counts what was in it by type; `replaced` places have
    placeholders in what left, which was of so many `characters` (0: nothing left).
    """

    schema: str
    time: float
    release: str
    entry: Tier
    purpose: Purpose
    left: bool
    to: tuple[str, ...]
    held: tuple[str, ...]
    found: dict[str, int]
    replaced: int
    characters: int


class Egress(Lines):
    """Safe to use from several threads; several processes may append to one file.

    Args:
        path: the file; it is made where there is none, and its folder is not.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "egress", "the egress log lacks texts that left or were held")

    def write(self, leaving: Leaving, to: Sequence[str], release: str, entry: Tier, purpose: Purpose) -> None:
        """Have a line written soon. Never raises and never waits."""
        if not self.has_room:
            return
        self.put(
            Egressed(
                schema=SCHEMA,
                time=time.time(),
                release=release,
                entry=entry,
                purpose=purpose,
                left=bool(to),
                to=tuple(to),
                held=leaving.held,
                found=dict(leaving.found),
                replaced=leaving.replaced if to else 0,
                characters=len(leaving.text) if to else 0,
            )
        )
