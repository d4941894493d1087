"""Budgets: how much is too much, in words and as a ratio."""

import math

from tianti.pipeline.gates import missed_budgets
from tianti.pipeline.profiling import Costs
from tianti.spec import Tier
from tianti.spec.ladder import StudentSpec

COSTS = Costs(
    size_bytes=3_000_000, download_bytes=900_000, memory_bytes=None, latency_ms={"p50": 0.4, "p99": 9.0}, machine="x"
)


def test_each_missed_budget_says_how_many_times_over_it_is() -> None:
    budget = StudentSpec(size="1.5 MB", download="1 MB", latency="100 us", memory="80 MB")
    found = {missed.words.partition(":")[0]: missed.times for missed in missed_budgets(Tier.DEVICE, budget, COSTS)}
    assert found == {"device.size": 2.0, "device.memory": math.inf, "device.latency": 4.0}


def test_without_a_budget_nothing_is_missed() -> None:
    assert missed_budgets(Tier.EDGE, StudentSpec(), COSTS) == []
