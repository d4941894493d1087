"""Measure a model: how long one text takes, and how often two models agree.

Not here: accuracy against labels (`pipeline`). Invariant: one text a call, on the threads that the runner was given.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


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


def agreement(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Share of rows whose largest logit is the same label; both [rows, labels]."""
    return float((one.argmax(axis=1) == other.argmax(axis=1)).mean())
