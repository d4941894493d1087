"""What does deciding add to running the model, in Python?

    python -m benchmarks.decision_overhead

Bare is the package's own `run`, tokeniser and engine, timed inside `predict`; added is the rest of the same call: the
score head's reading of the logits, the terms, the audit's coin, the climb, the Prediction. So the two are paired, and
the engine's own noise is in neither. Times are microseconds; the limits are for what is added. The last column is on
top of it, for those who ask for `scores`: a dict of the labels' probabilities.
"""

import socket
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.table import Table
from tests.tiny_release import make_release

from benchmarks.real_data import console
from tianti.device import Ladder, load

ROUNDS = 20_000
P50_US, P99_US = 20.0, 50.0


def main() -> None:
    table = Table(title=f"microseconds, {ROUNDS} calls a row; limits: p50 {P50_US:.0f}, p99 {P99_US:.0f}")
    for column in ("answer", "labels", "bare p50", "added p50", "of limit", "added p99", "of limit", "naming p50"):
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
    bare, added = measure(ladder, text)
    p50, p99 = np.percentile(added, (50, 99))
    limits = (f"{p50:.1f}", f"{p50 / P50_US:.2f}", f"{p99:.1f}", f"{p99 / P99_US:.2f}")
    return [f"{np.median(bare):.1f}", *limits, f"{naming_us(ladder):.1f}"]


def measure(ladder: Ladder, text: str) -> tuple[list[float], list[float]]:
    """Microseconds of the engine inside each call, and of all the rest of it."""
    runtime = ladder._node.runtime
    run, bare, added, took = runtime.run, [], [], [0.0]

    def timed(given: str) -> object:
        start = time.perf_counter_ns()
        said = run(given)
        took[0] = (time.perf_counter_ns() - start) / 1e3
        return said

    runtime.run = timed
    try:
        for number in range(ROUNDS + 200):  # the first are not counted
            start = time.perf_counter_ns()
            ladder.predict(text)
            whole = (time.perf_counter_ns() - start) / 1e3
            if number >= 200:
                bare.append(took[0])
                added.append(whole - took[0])
    finally:
        del runtime.run
    return bare, added


def naming_us(ladder: Ladder) -> float:
    """Microseconds that a dict of every label's probability takes, for those who ask."""
    answer = ladder.predict("a text")
    took = []
    for _ in range(2_000):
        start = time.perf_counter_ns()
        _ = answer.scores
        took.append((time.perf_counter_ns() - start) / 1e3)
    return float(np.median(took))


def vocabulary(labels: int) -> dict[str, tuple[str, str, str]]:
    return {f"label{number}": (f"w{number}a", f"w{number}b", f"w{number}c") for number in range(labels)}


def dead_url() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


if __name__ == "__main__":
    main()
