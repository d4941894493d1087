"""Counts against scipy, and p-values that are what they claim."""

import numpy as np
import pytest
from scipy import stats

from tianti.certificate.counts import (
    _NUISANCE,
    binomial_cdf,
    net_p,
    same_share_p,
    smallest_n,
    smallest_net_n,
    upper_bound,
    wilson,
)


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


def test_the_upper_bound_is_clopper_and_pearsons() -> None:
    for k, n, delta in ((0, 100, 0.05), (3, 200, 0.05), (40, 2000, 0.05 / 3), (99, 100, 0.01)):
        assert upper_bound(k, n, delta) == pytest.approx(stats.beta.ppf(1 - delta, k + 1, n - k), rel=1e-9)
    assert upper_bound(5, 5, 0.05) == 1.0
    assert upper_bound(0, 0, 0.05) == 1.0


def test_net_p_is_the_worst_of_all_counts_as_low_by_brute_force() -> None:
    n, alpha = 40, 0.1
    for harmful, helpful in ((0, 0), (2, 0), (1, 4), (6, 1), (0, 3)):
        most = min(upper_bound(helpful, n, _NUISANCE), (1 - alpha) / 2)
        worst = 0.0
        for share in np.linspace(most / 8, most, 8):
            total = 0.0
            for h in range(n + 1):
                for g in range(n - h + 1):
                    if (h - g - n * alpha) / (h + g + 5) ** 0.5 <= (harmful - helpful - n * alpha) / (
                        harmful + helpful + 5
                    ) ** 0.5 + 1e-12:
                        shares = [alpha + share, share, 1 - alpha - 2 * share]
                        total += stats.multinomial.pmf([h, g, n - h - g], n, shares)
            worst = max(worst, total)
        assert net_p(harmful, helpful, n, alpha) == pytest.approx(min(1.0, worst + _NUISANCE), abs=1e-9)


def test_where_nothing_helped_net_p_accepts_what_the_binomial_test_does() -> None:
    accepted = [harmful for harmful in range(40) if net_p(harmful, 0, 2_000, 0.01) <= 0.05]
    assert accepted == [harmful for harmful in range(40) if stats.binom.cdf(harmful, 2_000, 0.01) <= 0.05]


@pytest.mark.parametrize("help_share", [0.0005, 0.005, 0.02])
def test_net_p_rejects_a_true_bound_at_most_delta_of_the_time(help_share: float) -> None:
    rng, n, alpha, repetitions = np.random.default_rng(2), 1_500, 0.01, 2_000
    helpful = rng.binomial(n, help_share, repetitions)
    harmful = rng.binomial(n - helpful, (alpha + help_share) / (1 - help_share))  # net risk is exactly alpha
    p = np.array([net_p(*counts, n, alpha) for counts in zip(harmful.tolist(), helpful.tolist(), strict=True)])
    assert wilson(int((p <= 0.05).sum()), repetitions)[0] <= 0.05
    assert (p <= 0.05).any()  # not passed by refusing
    assert ((harmful - helpful) / n <= alpha).mean() > 0.2  # what tuning on validation would do


def test_net_p_falls_with_help_and_rises_with_harm() -> None:
    assert (np.diff([net_p(harmful, 10, 2_000, 0.01) for harmful in range(40)]) >= -1e-12).all()
    assert (np.diff([net_p(10, helpful, 2_000, 0.01) for helpful in range(40)]) <= 1e-3).all()


def test_as_few_rows_as_are_said_to_do_for_net_loss_do() -> None:
    needed = smallest_net_n(0.01, 0.05)
    assert net_p(0, 0, needed, 0.01) <= 0.05 < net_p(0, 0, needed - 1, 0.01)
