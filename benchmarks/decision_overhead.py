"""What does deciding add to running the model, in Python?

    python -m benchmarks.decision_overhead

Bare is the package's own `run`: tokeniser and engine. `predict` is that same run and all that a decision is: the score
head's reading of the logits, the terms, the audit's coin, the climb, the named probabilities, the Prediction. Both take
turns on the same text in one process, each of them first in every second pair, so that neither always finds the caches
as it likes them. Times are microseconds; the limits are for what is added, within a pair. The last column is the same
pairs with `predict` on both sides: how far two equal calls are apart on this machine, at their 99th percentile.
"""

import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.table import Table
from tests.tiny_release import make_release

from benchmarks.real_data import console
from tianti.device import Ladder, load

ROUNDS = 20_000
P50_US, P99_US = 20.0, 50.0


def main() -> None:
    table = Table(title=f"microseconds, {ROUNDS} pairs a row; limits: p50 {P50_US:.0f}, p99 {P99_US:.0f}")
    for column in ("answer", "labels", "bare p50", "added p50", "of limit", "added p99", "of limit", "noise p99"):
        table.add_column(column, justify="left" if column == "answer" else "right")
    for labels in (3, 150):
        with tempfile.TemporaryDirectory() as folder:
            release = make_release(Path(folder), words=vocabulary(labels)).folder
            with load(release) as ladder:
                table.add_row("kept by its score", str(labels), *cells(ladder, "w2a"))
                table.add_row("kept, 8 tokens", str(labels), *cells(ladder, "w2a " * 8))
            with load(release, upstream=dead_url()) as ladder:
                while ladder.predict("w2b").decision.reason != "breaker_open":
                    time.sleep(0.01)
                table.add_row("kept by score, upstream out", str(labels), *cells(ladder, "w2a"))
                table.add_row("unsure, upstream out", str(labels), *cells(ladder, "w2b"))
    console.print(table)


def cells(ladder: Ladder, text: str) -> list[str]:
    bare, added = measure(ladder._node._runtime.run, ladder.predict, text)
    _, noise = measure(ladder.predict, ladder.predict, text)
    p50, p99 = np.percentile(added, (50, 99))
    beside = (
        f"{p50:.1f}",
        f"{p50 / P50_US:.2f}",
        f"{p99:.1f}",
        f"{p99 / P99_US:.2f}",
        f"{np.percentile(noise, 99):.1f}",
    )
    return [f"{np.median(bare):.1f}", *beside]


def measure(
    bare: Callable[[str], object], whole: Callable[[str], object], text: str
) -> tuple[list[float], list[float]]:
    """Microseconds of the bare run, and what the whole adds to it, by pair."""
    alone, added = [], []
    for number in range(ROUNDS + 200):  # the first are not counted
        if number % 2:
            run_us, whole_us = timed(bare, text), timed(whole, text)
        else:
            whole_us, run_us = timed(whole, text), timed(bare, text)
        if number >= 200:
            alone.append(run_us)
            added.append(whole_us - run_us)
    return alone, added


def timed(run: Callable[[str], object], text: str) -> float:
    start = time.perf_counter_ns()
    run(text)
    return (time.perf_counter_ns() - start) / 1e3


def vocabulary(labels: int) -> dict[str, tuple[str, str, str]]:
    return {f"label{number}": (f"w{number}a", f"w{number}b", f"w{number}c") for number in range(labels)}


def dead_url() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


if __name__ == "__main__":
    main()
