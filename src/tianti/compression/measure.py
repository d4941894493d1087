"""Measure a model: how long one text takes.

Not here: accuracy against labels (`pipeline`). Invariant: one text a call, on the threads that the runner was given.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np


def measure_latency(
    runner: Callable[[str], object], texts: Sequence[str], warmup: int = 20, runs: int = 300
) -> dict[str, float]:
    """Wall time of one text in milliseconds, as {"p50": ..., "p99": ...}; texts are taken round and round.

    `warmup` calls come first and are not counted.
    """
    for number in range(warmup):
        runner(texts[number % len(texts)])
    took_ms = np.empty(runs)
    for number in range(runs):
        text = texts[number % len(texts)]
        start = time.perf_counter()
        runner(text)
        took_ms[number] = (time.perf_counter() - start) * 1e3
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}
