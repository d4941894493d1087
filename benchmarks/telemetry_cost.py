"""What counting one answered request costs, beside prometheus_client's own counters and histograms.

    python -m benchmarks.telemetry_cost

Both keep the same numbers: 5 counters and 4 histograms, labels bound beforehand. `shown` is the text of 4 releases.
"""

import timeit
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram
from rich.table import Table
from tests.telemetry.numbers import RELEASE, prediction

from benchmarks.real_data import console
from tianti.spec import Reason, Tier
from tianti.telemetry.metrics import Metrics

BUDGET_US = 5.0


def main() -> None:
    metrics = Metrics(Tier.EDGE)
    for model in ("a", "b", "c", "d"):
        count_with(metrics, model)(Reason.SCORE)
    ours = count_with(metrics, "a")
    table = Table(title=f"one answered request, microseconds (budget {BUDGET_US:g})")
    for column in ("kept by", "answered here", "escalated, degraded", "shown, ms"):
        table.add_column(column, justify="left" if column == "kept by" else "right")
    kept, climbed = (best_us(lambda reason=reason: ours(reason)) for reason in (Reason.SCORE, Reason.BUSY))
    table.add_row("Tally", f"{kept:.2f}", f"{climbed:.2f}", f"{best_us(metrics.render, 100) / 1e3:.2f}")
    table.add_row("prometheus_client", f"{best_us(count_with_library()):.2f}", "", "")
    console.print(table)


def count_with(metrics: Metrics, model: str) -> Callable[[Reason], None]:
    tally = metrics.of(model, RELEASE)
    here, above = (prediction(),), (prediction(Tier.CLOUD, Reason.BUSY, certified=False),)
    waits_s = (0.0003,)

    def count(reason: Reason) -> None:
        tally.cached("miss")
        tally.ran(1, 36, 36, waits_s, 0.0018)
        tally.answered("native", 0.0021, here if reason is Reason.SCORE else above)

    return count


def count_with_library() -> Callable[[], None]:
    registry, labels = CollectorRegistry(), ("model", "version", "tier")
    counters = [Counter(f"c{n}", "c", labels, registry=registry).labels("a", "b", "c") for n in range(5)]
    histograms = [Histogram(f"h{n}", "h", labels, registry=registry).labels("a", "b", "c") for n in range(4)]

    def count() -> None:
        for counter in counters:
            counter.inc()
        for histogram in histograms:
            histogram.observe(0.0021)

    return count


def best_us(work: Callable[[], object], number: int = 50_000) -> float:
    return min(timeit.repeat(work, number=number, repeat=5)) / number * 1e6


if __name__ == "__main__":
    main()
