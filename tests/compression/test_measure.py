"""Latency is of the runner, one text a call; agreement is of labels."""

import time

import numpy as np
import pytest

from tianti.compression import agreement, measure_latency


def test_latency_is_in_milliseconds_and_takes_texts_round() -> None:
    seen = []

    def runner(text: str) -> None:
        seen.append(text)
        time.sleep(0.002)

    took = measure_latency(runner, ["a", "b", "c"], warmup=2, runs=5)
    assert seen == ["a", "b", "a", "b", "c", "a", "b"]
    assert 2.0 <= took["p50"] <= took["p99"]


def test_agreement_is_of_labels() -> None:
    one = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]])
    other = np.array([[0.0, 9.0], [1.0, 0.5], [1.0, 0.0], [2.0, 1.0]])
    assert agreement(one, other) == pytest.approx(0.75)
