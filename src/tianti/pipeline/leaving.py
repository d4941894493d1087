"""What would leave of rows: what the tiers above the device see of them when they certify, and when they are asked.

Not here: what is found and replaced (`privacy`). Invariants: a row in which nothing is found is seen as it is; a row
that a policy holds is never answered between the device and the cloud.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.certificate import LadderAnswers, Outcome, Readings, decide
from tianti.pipeline.contract import Progress
from tianti.privacy import Leaving, Redactor, bind_policy, open_redactor
from tianti.spec import Tier
from tianti.spec.ladder import LadderSpec
from tianti.spec.privacy import PrivacySpec

_CHUNK = 500


class Leavings(NamedTuple):
    """The texts of rows, `raw`, and what would leave of each; `held` and `changed` are bool [rows]."""

    raw: Sequence[str]
    rows: list[Leaving]
    held: NDArray[np.bool_]
    changed: NDArray[np.bool_]

    @property
    def texts(self) -> list[str]:
        """What the tiers above the device see."""
        return [leaving.text for leaving in self.rows]


def redactor_of(spec: LadderSpec, base: Path) -> Redactor:
    """The redactor of a spec; an own detector's module lies beside ladder.yaml, in `base`."""
    return open_redactor(bind_policy(spec.privacy, base), base)


def without_personal_data(texts: Sequence[str], spec: PrivacySpec | None = None, base: Path | None = None) -> list[str]:
    """Texts with a placeholder for whatever is found, allowed or not: for what a package shows to everybody."""
    spec, base = spec or PrivacySpec(), base or Path()
    every = PrivacySpec(regions=spec.regions, own=spec.own)
    return leave(open_redactor(bind_policy(every, base), base), texts).texts


def leave(redactor: Redactor | None, texts: Sequence[str], progress: Progress | None = None) -> Leavings:
    """What would leave of texts; without a redactor they leave as they are."""
    rows = []
    for done, text in enumerate(texts):
        if progress is not None and done % _CHUNK == 0:
            progress(done, len(texts), "looking for personal data")
        rows.append(Leaving(text, {}, 0) if redactor is None else redactor.leaving(text))
    return Leavings(
        texts,
        rows,
        np.array([bool(leaving.held) for leaving in rows], dtype=np.bool_),
        np.array([leaving.text != text for leaving, text in zip(rows, texts, strict=True)], dtype=np.bool_),
    )


def hold(said: Mapping[Tier, Readings], held: NDArray[np.bool_]) -> dict[Tier, Readings]:
    """What is said, but of held rows nothing by the edge: below the device's threshold they count as the cloud's.

    No answer of the cloud is harmful, so a held row is so only where the device is sure of it.
    """
    edge = said.get(Tier.EDGE)
    if edge is None or not held.any():
        return dict(said)
    return {**said, Tier.EDGE: msgspec.structs.replace(edge, score=np.where(held, 0.0, edge.score))}


class Served(NamedTuple):
    """What rows come to. `outcome` is as the certificate counts; `share` and `accuracy` are as answers are given.

    `held` rows are answered by the device for want of leave; they are in no tier's share.
    """

    outcome: Outcome
    share: dict[Tier, float]
    accuracy: float
    held: int
    held_accuracy: float | None


def serve(answers: LadderAnswers, held: NDArray[np.bool_], thresholds: tuple[float, float] | None) -> Served:
    """What rows come to at (device, edge) thresholds; None: all climb that may. `answers` are after `hold`."""
    outcome, device = decide(answers, thresholds), answers[Tier.DEVICE]
    stay = held if thresholds is None else held & ~(device.score >= thresholds[0])
    count = int(stay.sum())
    if not count:
        return Served(outcome, outcome.share, outcome.accuracy, 0, None)
    right = int(device.right[stay].sum())
    gained = right - int(answers[Tier.CLOUD].right[stay].sum())
    share = {**outcome.share, Tier.CLOUD: outcome.share[Tier.CLOUD] - count / outcome.n}
    return Served(outcome, share, outcome.accuracy + gained / outcome.n, count, right / count)
