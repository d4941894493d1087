"""Hints of drift: near nothing on the same kind of texts, plain on another, and silent while there is little to see."""

import numpy as np
import pytest

from tianti.certificate import Hinter, find_usual


def scores(rng: np.random.Generator, count: int, mean: float) -> np.ndarray:
    return 1 / (1 + np.exp(-rng.normal(mean, 1.5, count)))


def seen(hinter: Hinter, values: np.ndarray, unknown: int = 0) -> Hinter:
    for value in values.tolist():
        hinter.saw(value, 10, unknown)
    return hinter


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_same_kind_of_texts_shift_nothing_and_another_kind_much(rng: np.random.Generator) -> None:
    tokens = np.full(1000, 10)
    usual = find_usual(scores(rng, 1000, 3.0), tokens, rng.binomial(1, 0.2, 1000))
    same = seen(Hinter(usual), scores(rng, 3000, 3.0)).hints()
    other = seen(Hinter(usual), scores(rng, 3000, 1.0), unknown=3).hints()
    assert same.score_shift is not None and other.score_shift is not None
    assert same.score_shift < 0.05 < 0.25 < other.score_shift
    assert other.unknown_share == pytest.approx(0.3)
    assert other.usual_unknown_share == pytest.approx(0.02, abs=0.005)


def test_few_answers_are_not_judged(rng: np.random.Generator) -> None:
    usual = find_usual(scores(rng, 1000, 3.0), np.full(1000, 10), np.zeros(1000))
    assert seen(Hinter(usual), scores(rng, 99, -3.0)).hints().score_shift is None


def test_scores_that_are_all_alike_or_unreadable_are_counted_too(rng: np.random.Generator) -> None:
    usual = find_usual(np.full(500, 0.7), np.full(500, 4), np.zeros(500))
    assert sum(usual.shares) == pytest.approx(1.0)
    same = seen(Hinter(usual), np.full(500, 0.7)).hints().score_shift
    lost = seen(Hinter(usual), np.zeros(500)).hints().score_shift
    assert same is not None and lost is not None and same < 0.01 < 1 < lost
