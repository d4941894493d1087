"""Tests of two samples: as scipy has them, and false claims as seldom as they say."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from tianti.data.chance import holm, never_before_p, same_distribution_p, same_share_p


@pytest.mark.parametrize(("first", "n", "second", "m"), [(3, 40, 11, 50), (0, 9, 0, 7), (7, 7, 0, 9), (300, 900, 2, 5)])
def test_shares_are_tested_as_fisher_does(first: int, n: int, second: int, m: int) -> None:
    law = stats.hypergeom(n + m, first + second, n)
    expected = min(1.0, 2 * min(law.cdf(first), law.sf(first - 1)))
    assert same_share_p(first, n, second, m) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("rows", "old", "new"), [(1, 10, 10), (5, 30, 12), (12, 7, 12)])
def test_what_was_never_before(rows: int, old: int, new: int) -> None:
    assert never_before_p(rows, old, new) == pytest.approx(stats.hypergeom(old + new, rows, new).pmf(rows))


def test_distributions_are_tested_by_the_limiting_law() -> None:
    chance = np.random.default_rng(0)
    for shift in (0, 2, 8):
        first, second = chance.integers(0, 60, 400), chance.integers(shift, 60 + shift, 300)
        distance, p = same_distribution_p(first, second)
        assert distance == pytest.approx(stats.ks_2samp(first, second).statistic)
        assert p == pytest.approx(stats.kstwobign.sf(distance * math.sqrt(400 * 300 / 700)), abs=1e-9)
    assert same_distribution_p(np.array([1]), np.array([1])) == (0.0, 1.0)


def test_the_law_claims_too_little_where_values_are_alike() -> None:
    chance = np.random.default_rng(1)
    p_values = [same_distribution_p(*(chance.integers(0, 12, 80) for _ in range(2)))[1] for _ in range(1000)]
    assert sum(p <= 0.05 for p in p_values) <= stats.binom(1000, 0.05).ppf(0.999)


def test_holm_keeps_the_rate_of_any_false_claim_and_nothing_less_does() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    chance, raw, raised = random.Random(0), 0, 0
    for _ in range(1000):
        p_values = [chance.random() for _ in range(20)]
        raw += min(p_values) <= 0.05
        raised += min(holm(p_values)) <= 0.05
    assert raised <= stats.binom(1000, 0.05).ppf(0.999) < raw
