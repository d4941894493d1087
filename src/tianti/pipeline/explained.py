"""What the words of validation rows said, as records: what `explain` writes, and the report reads.

Not here: computing any of it (`stages.explain`). Invariant: every probability is of the shipped packages.
"""

import msgspec

from tianti.explain.faithful import Faithfulness
from tianti.spec import TIERS, Tier


class TierFaithfulness(msgspec.Struct, frozen=True, kw_only=True):
    """How far the words that are named decide, on `rows` texts; `chance` ranks words at random.

    `gradients` are integrated gradients of the model before it was quantised, on the same words, None where there is
    none to take; `delta` is how far they are from adding up, as a share of what is explained (median).
    """

    rows: int
    words: Faithfulness
    chance: Faithfulness
    gradients: Faithfulness | None = None
    delta: float | None = None


class ClassWords(msgspec.Struct, frozen=True):
    """The words that say most for a label, over `rows` texts that the device answers with it: each with its mean."""

    label: str
    rows: int
    words: list[tuple[str, float]]


class Opinion(msgspec.Struct, frozen=True):
    """What a tier answers, its probability, and the text in pieces, each with what it says for the answer."""

    tier: Tier
    label: str
    probability: float
    pieces: list[tuple[str, float]]


class Disagreement(msgspec.Struct, frozen=True):
    """A text that two tiers answer otherwise; `truth` is the row's own label."""

    truth: str
    opinions: list[Opinion]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What words decide, on `rows` validation rows; `left_out` more have something personal in them, and are not shown.

    `compared` are the tiers whose disagreements are looked at (none where only one is run here), on `both` of the rows;
    `differing` of these they answer otherwise, some of which are in `disagreements`.
    """

    rows: int
    left_out: int
    tiers: dict[Tier, TierFaithfulness]
    classes: list[ClassWords]
    compared: list[Tier]
    both: int
    differing: int
    disagreements: list[Disagreement]

    @property
    def judged(self) -> list[tuple[Tier, TierFaithfulness]]:
        """The tiers that are run here, from the device upward."""
        return [(tier, self.tiers[tier]) for tier in TIERS if tier in self.tiers]
