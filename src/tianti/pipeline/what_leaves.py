"""What would leave of the test rows, and what that does to the tiers above the device.

Not here: finding and replacing (`privacy`), the other figures of the test rows (`stages.evaluate`).
Invariant: a model is run on rows as they are only where it is here, and for comparison only.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tianti.certificate import NEVER, LadderAnswers, Readings
from tianti.package import read_package
from tianti.pipeline.evaluation import LeavingEvaluation, TypeLeaving, UpperEvaluation
from tianti.pipeline.leaving import Leavings, serve
from tianti.pipeline.readings import run_package
from tianti.spec import ScoreHead, Tier
from tianti.spec.privacy import PrivacyPolicy


def evaluate_leaving(
    policy: PrivacyPolicy,
    left: Leavings,
    answers: LadderAnswers,
    thresholds: tuple[float, float] | None,
    upper: list[UpperEvaluation],
) -> LeavingEvaluation:
    """What would leave of rows at (device, edge) thresholds; None: nothing is certified, and all rows climb that may.

    `answers` are after `hold`.
    """
    kept_from = NEVER if thresholds is None else thresholds[0]
    climbing = ~(answers[Tier.DEVICE].score >= kept_from)
    rows, places = Counter[str](), Counter[str]()
    for leaving in left.rows:
        rows.update(leaving.found.keys())
        places.update(leaving.found)
    served = serve(answers, left.held, thresholds)
    return LeavingEvaluation(
        types=[
            TypeLeaving(kind=kind, handling=policy.handling(kind), rows=count, places=places[kind])
            for kind, count in sorted(rows.items())
        ],
        changed=int(left.changed.sum()),
        climbing=int(climbing.sum()),
        leaving_changed=int((climbing & left.changed & ~left.held).sum()),
        held=served.held,
        held_accuracy=served.held_accuracy,
        upper=upper,
    )


def upper_on_changed(
    package: Path, tier: Tier, said: Readings, left: Leavings, head: ScoreHead, truth: NDArray[np.int64]
) -> UpperEvaluation:
    """A tier above the device on the changed rows: what it `said` of what leaves, and run on the rows themselves.

    `said` and `truth` are of all rows, one of which is changed at least.
    """
    right, raw = said.right(truth)[left.changed], None
    if read_package(package).endpoint() is None:
        texts = [text for text, changed in zip(left.raw, left.changed, strict=True) if changed]
        raw = float(run_package(package, texts).read(head).right(truth[left.changed]).mean())
    return UpperEvaluation(tier=tier, leaving=float(right.mean()), raw=raw)
