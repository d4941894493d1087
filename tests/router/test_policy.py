"""Operating points: which one is taken, and that nobody above is laxer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.certificate import NEVER
from tianti.errors import UsageError
from tianti.router.policy import bind_point, check_point, choose_point, threshold_of
from tianti.spec import Certificate, Level, Tier
from tianti.spec import Tested as Point  # pytest takes a name that begins with Test for a test

ALPHAS = (0.002, 0.005, 0.01, 0.02, 0.05)


def certificate(*certified: float) -> Certificate:
    path = tuple(Point(device=1 - alpha, edge=0.9 - alpha, harmful=0) for alpha in ALPHAS)
    levels = tuple(
        Level(alpha=alpha, point=index if alpha in certified else None, share={}) for index, alpha in enumerate(ALPHAS)
    )
    return Certificate(risk="harm", confidence=0.95, n=1, path=path, levels=levels, out_of_scope_share=0.0, bound={})


@pytest.mark.parametrize(
    ("certified", "chosen"),
    [
        (ALPHAS, 0.01),
        ((0.002, 0.005, 0.02), 0.005),
        ((0.02, 0.05), 0.02),
        ((), None),
    ],
)
def test_the_default_is_one_percent_or_the_nearest(certified: tuple[float, ...], chosen: float | None) -> None:
    assert choose_point(certificate(*certified)) == chosen


@given(st.sets(st.sampled_from(ALPHAS)), st.floats(1e-4, 0.5))
def test_nobody_above_is_laxer_than_asked(certified: set[float], asked: float) -> None:
    proof = certificate(*certified)
    bound = bind_point(proof, asked)
    assert bound is None or (bound <= asked and bound in certified)
    for tier in (Tier.DEVICE, Tier.EDGE):
        if asked in certified:
            assert threshold_of(proof, tier, bound) == threshold_of(proof, tier, asked)
        assert all(
            threshold_of(proof, tier, bound) <= threshold_of(proof, tier, a) for a in certified if a < (bound or 0)
        )


def test_each_tier_has_its_own_threshold_of_the_joint_point() -> None:
    assert threshold_of(certificate(0.01), Tier.DEVICE, 0.01) == 0.99
    assert threshold_of(certificate(0.01), Tier.EDGE, 0.01) == 0.89


def test_without_a_certified_point_no_score_is_enough() -> None:
    assert threshold_of(certificate(), Tier.DEVICE, None) == NEVER > 1.0
    assert threshold_of(certificate(0.02), Tier.DEVICE, bind_point(certificate(0.02), 0.01)) == NEVER


def test_a_chosen_point_must_be_certified() -> None:
    check_point(certificate(0.01), 0.01)
    with pytest.raises(UsageError, match=r"certified alpha \(0.005, 0.01\), got 0.03"):
        check_point(certificate(0.005, 0.01), 0.03)
    with pytest.raises(UsageError, match=r"\(none\)"):
        check_point(certificate(), 0.01)
