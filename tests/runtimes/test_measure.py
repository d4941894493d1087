"""Latency is of the runner, one text a call."""

import time

from tianti.runtimes.measure import measure_latency


def test_latency_is_in_milliseconds_and_takes_texts_round() -> None:
    seen = []

    def runner(text: str) -> None:
        seen.append(text)
        time.sleep(0.002)

    took = measure_latency(runner, ["a", "b", "c"], warmup=2, runs=5)
    assert seen == ["a", "b", "a", "b", "c", "a", "b"]
    assert 2.0 <= took["p50"] <= took["p99"]
