"""Gates: what must hold before a release is kept. Pure.

Not here: measuring (`stages.evaluate`). Invariant: a failed gate says which, expected, got, and by how much.
"""

import math
from typing import NamedTuple

from tianti.pipeline.evaluation import Evaluation, TierEvaluation
from tianti.pipeline.profiling import Costs
from tianti.spec import Tier
from tianti.spec.ladder import LadderSpec, StudentSpec
from tianti.spec.units import share


class Missed(NamedTuple):
    """A budget that is not met: how many times as much as allowed, and that in words."""

    times: float
    words: str


def failures(spec: LadderSpec, evaluation: Evaluation) -> list[str]:
    """Every gate and budget that was not met, as sentences; empty when all were."""
    found = [
        missed.words
        for tier, student in spec.students.items()
        for missed in missed_budgets(tier, student, evaluation.tiers[tier])
    ]
    gates = spec.evaluate
    if gates.min_accuracy is not None:
        wanted, got = share(gates.min_accuracy, "evaluate.min_accuracy"), evaluation.served_level().test_accuracy
        if got < wanted:
            found.append(f"accuracy: expected at least {wanted:.1%}, got {got:.1%} ({wanted - got:.1%} short)")
    if gates.min_slice_accuracy is not None:
        wanted = share(gates.min_slice_accuracy, "evaluate.min_slice_accuracy")
        found += [
            f"accuracy on {part.column}={part.value}: expected at least {wanted:.1%}, got {part.accuracy:.1%} "
            f"({wanted - part.accuracy:.1%} short, {part.n} rows)"
            for part in evaluation.slices
            if part.n >= gates.min_slice_rows and part.accuracy < wanted
        ]
    return found


def missed_budgets(tier: Tier, budget: StudentSpec, costs: Costs | TierEvaluation) -> list[Missed]:
    """Every budget of a tier that its package does not meet, and by how much."""
    budgets = {
        "size": (budget.size_bytes, costs.size_bytes),
        "download": (budget.download_bytes, costs.download_bytes),
        "memory": (budget.memory_bytes, costs.memory_bytes),
    }
    found = []
    for name, (most, got) in budgets.items():
        if most is not None and got is None:
            words = f"{tier}.{name}: this system does not tell it; remove the budget, or build on another"
            found.append(Missed(math.inf, words))
        elif most is not None and got is not None and got > most:
            words = f"{tier}.{name}: expected at most {most:,} bytes, got {got:,} ({got - most:,} over)"
            found.append(Missed(got / most, words))
    p50 = costs.latency_ms["p50"]
    if budget.latency_ms is not None and p50 > budget.latency_ms:
        wanted = f"at most {budget.latency_ms:g} ms on {costs.machine}"
        found.append(Missed(p50 / budget.latency_ms, f"{tier}.latency: expected {wanted}, got p50 {p50:.2f} ms"))
    return found
