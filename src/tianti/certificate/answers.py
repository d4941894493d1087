"""What a set of rows got from every tier, and what follows when thresholds decide who answers.

Not here: reading logits (`score`), choosing thresholds (`path`), testing a risk (`certify`).
Invariant: a tier answers when score >= threshold, so a NaN score never answers; the cloud answers what is left.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tianti.certificate.score import Readings
from tianti.spec import Risk, Tier

NEVER = 2.0
"""A threshold that no score reaches."""


class Answers(NamedTuple):
    """One tier on every row: score float64 [rows] and whether its final label is right, bool [rows]."""

    score: NDArray[np.float64]
    right: NDArray[np.bool_]


LadderAnswers = Mapping[Tier, Answers]
"""The same rows on every tier."""


def some(answers: LadderAnswers, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> LadderAnswers:
    """The answers on these rows."""
    return {tier: Answers(said.score[rows], said.right[rows]) for tier, said in answers.items()}


def agreement(said: Mapping[Tier, Readings]) -> LadderAnswers:
    """Every tier's answers, right where they are the cloud's; what the cloud alone cannot read is a disagreement."""
    return _answers(said, said[Tier.CLOUD].index)


def judged(said: Mapping[Tier, Readings], truth: NDArray[np.int64], risk: Risk) -> LadderAnswers:
    """Every tier's answers as a risk sees them; truth [rows] as in `Readings.right`, not looked at for "disagree"."""
    if risk == "disagree":
        return agreement(said)
    return _answers(said, truth)


def _answers(said: Mapping[Tier, Readings], truth: NDArray[np.int64]) -> LadderAnswers:
    """Of every tier; an edge that a ladder lacks never answers."""
    nobody = Answers(np.zeros(len(truth)), np.zeros(len(truth), dtype=np.bool_))
    return {Tier.EDGE: nobody} | {
        tier: Answers(readings.score, readings.right(truth)) for tier, readings in said.items()
    }


class Outcome(NamedTuple):
    """What n rows come to.

    `harmful`: answered below the cloud and wrong, where the cloud is right; `helpful`: right, where the cloud is wrong.
    """

    n: int
    harmful: int
    helpful: int
    accuracy: float
    share: dict[Tier, float]

    @property
    def harm(self) -> float:
        """Share of all rows with a harmful answer: what a certificate bounds."""
        return self.harmful / max(self.n, 1)

    def risk(self, kind: Risk) -> float:
        """What a certificate of this kind bounds; "disagree" needs `decide` to have seen agreement."""
        return self.net if kind == "net" else self.harm

    @property
    def net(self) -> float:
        """How much less accurate than the cloud alone, as a share of all rows; negative where more accurate."""
        return (self.harmful - self.helpful) / max(self.n, 1)


def harm_of(answers: LadderAnswers, tier: Tier) -> NDArray[np.bool_]:
    """Where an answer of this tier would be harmful: it is wrong and the cloud is right; bool [rows]."""
    return ~answers[tier].right & answers[Tier.CLOUD].right


def decide(answers: LadderAnswers, thresholds: tuple[float, float] | None) -> Outcome:
    """Who answers each row at (device, edge) thresholds, and what comes of it; None: all rows go to the cloud."""
    cloud = answers[Tier.CLOUD]
    on_device, on_edge, right = _answered(answers, thresholds)
    n, at_device, at_edge = len(right), int(on_device.sum()), int(on_edge.sum())
    rows = max(n, 1)
    share = {Tier.DEVICE: at_device / rows, Tier.EDGE: at_edge / rows, Tier.CLOUD: 1 - (at_device + at_edge) / rows}
    harmful, helpful = int((cloud.right & ~right).sum()), int((right & ~cloud.right).sum())
    return Outcome(n, harmful, helpful, int(right.sum()) / rows, share)


def harmful_rows(answers: LadderAnswers, thresholds: tuple[float, float]) -> NDArray[np.bool_]:
    """The rows that `decide` counts as harmful, bool [rows]."""
    harmful: NDArray[np.bool_] = answers[Tier.CLOUD].right & ~_answered(answers, thresholds)[2]
    return harmful


def _answered(
    answers: LadderAnswers, thresholds: tuple[float, float] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Per row: does the device answer, does the edge, and is what is answered right?"""
    device, edge, cloud = answers[Tier.DEVICE], answers[Tier.EDGE], answers[Tier.CLOUD]
    device_from, edge_from = thresholds or (NEVER, NEVER)
    on_device = device.score >= device_from
    on_edge = ~on_device & (edge.score >= edge_from)
    return on_device, on_edge, np.where(on_device, device.right, np.where(on_edge, edge.right, cloud.right))
