"""Counts against scipy, and p-values that are what they claim."""

import numpy as np
import pytest
from scipy import stats

from tianti.certificate.counts import binomial_cdf, same_share_p, smallest_n, wilson


@pytest.mark.parametrize("n", [1, 7, 299, 2000, 20_000])
@pytest.mark.parametrize("p", [1e-4, 0.005, 0.02, 0.5, 0.97])
def test_binomial_cdf_is_scipys(n: int, p: float) -> None:
    k = np.arange(n + 1)
    expected = stats.binom.cdf(k, n, p)
    seen = expected > 1e-250
    np.testing.assert_allclose(binomial_cdf(n, p)[seen], expected[seen], rtol=1e-8)


@pytest.mark.parametrize(("alpha", "rows"), [(0.005, 598), (0.01, 299), (0.02, 149)])
def test_smallest_n(alpha: float, rows: int) -> None:
    assert smallest_n(alpha, 0.05) == rows
    assert binomial_cdf(rows, alpha)[0] <= 0.05 < binomial_cdf(rows - 1, alpha)[0]


def test_smallest_n_where_logarithms_meet_an_integer() -> None:
    assert smallest_n(0.5, 0.25) == 2
    assert smallest_n(0.1, 0.9**7) in (7, 8)  # 0.9 ** 7 itself is rounded


def test_p_values_are_super_uniform_at_the_boundary() -> None:
    n, alpha = 1500, 0.01
    p = binomial_cdf(n, alpha)[np.random.default_rng(0).binomial(n, alpha, 100_000)]
    for level in (0.001, 0.01, 0.0167, 0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 4 * np.sqrt(level / 100_000)


@pytest.mark.parametrize(
    "counts", [(66, 2066, 149, 4649), (66, 2066, 1000, 5500), (0, 500, 3, 40), (5, 5, 0, 9), (0, 0, 4, 9)]
)
def test_same_share_doubles_the_smaller_tail_of_fishers_test(counts: tuple[int, int, int, int]) -> None:
    a, n, b, m = counts
    law = stats.hypergeom(n + m, n, a + b)
    assert same_share_p(*counts) == pytest.approx(min(1.0, 2 * min(law.cdf(a), law.sf(a - 1))), rel=1e-6)


def test_wilson_is_scipys() -> None:
    for k, n in ((0, 50), (3, 200), (200, 200)):
        expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert wilson(k, n) == pytest.approx((expected.low, expected.high))
    assert wilson(0, 0) == (0.0, 1.0)
