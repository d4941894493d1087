"""Bounds within groups hold together, say little of small groups, and see what a marginal certificate hides."""

import msgspec
import numpy as np
import pytest

from tests.certificate.population import make_pool, make_rows, take
from tianti.certificate import Answers, certify, order_points, recheck, wilson
from tianti.certificate.answers import harmful_rows
from tianti.spec import TIERS, Certificate, Tier

ALPHAS = (0.01, 0.02)
DRAWS = 300


def make_groups(pool, rng: np.random.Generator):  # noqa: ANN001, ANN201
    """Ten groups of unlike sizes, the last of which the device answers badly and surely."""
    rows = len(pool[Tier.CLOUD].right)
    group = np.minimum(rng.geometric(0.35, rows) - 1, 9)
    device = pool[Tier.DEVICE]
    bad = group == 9
    right = device.right & ~(bad & (rng.random(rows) < 0.4))
    return {**pool, Tier.DEVICE: Answers(device.score, right)}, group


def certificate_of(pool, group, rows, points) -> Certificate:  # noqa: ANN001
    groups = {("g", str(value)): group[rows] == value for value in range(10)}
    return certify(points, take(pool, rows), ALPHAS, 0.95, 0, {}, groups=groups)


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[float]]:
    """Over many certificates from a known population: was any bound false, was any plain share exceeded?"""
    rng = np.random.default_rng(3)
    pool, group = make_groups(make_pool(20_000, seed=3), rng)
    points = order_points(take(pool, rng.integers(0, 20_000, 1000)), ALPHAS, 0.1, 1.0)
    true = np.array([harmful_rows(pool, point) for point in points])
    in_group = np.array([true[:, group == value].mean(axis=1) for value in range(10)])
    broken, naive, said = [], [], []
    for _ in range(DRAWS):
        certificate = certificate_of(pool, group, rng.integers(0, 20_000, 2000), points)
        false = exceeded = False
        for value, found in enumerate(certificate.groups):
            for level, bound in zip(certificate.levels, found.bounds, strict=True):
                if level.point is None:
                    continue
                risk = in_group[value][level.point]
                false |= bound is not None and risk > bound
                exceeded |= found.n > 0 and risk > found.harmful[level.point] / found.n
                said.append(bound is not None)
        broken.append(false)
        naive.append(exceeded)
    return {"broken": broken, "naive": naive, "said": said}


def test_all_bounds_hold_together(drawn: dict[str, list[float]]) -> None:
    assert wilson(sum(drawn["broken"]), DRAWS)[1] <= 0.06
    assert np.mean(drawn["said"]) > 0.8


def test_the_shares_that_were_counted_do_not(drawn: dict[str, list[float]]) -> None:
    assert np.mean(drawn["naive"]) > 0.5


def test_a_tiny_harmful_group_is_hidden_from_the_level_and_not_from_its_own_bound() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    tiny = rng.random(n) < 0.008
    sure = Answers(np.full(n, 0.9), ~tiny | (rng.random(n) < 0.5))
    cloud = Answers(np.ones(n), np.ones(n, dtype=bool))
    rows = make_rows(sure, sure, cloud)
    groups = {("g", "tiny"): tiny, ("g", "rest"): ~tiny}
    found = certify([(0.5, 0.5)], rows, (0.01,), 0.95, 0, {}, groups=groups)
    assert found.levels[0].point == 0  # 1 % of all requests: the level holds
    by_value = {group.value: group.bounds[0] for group in found.groups}
    assert by_value["rest"] == 0.005
    assert by_value["tiny"] is None  # half of its answers are harmful


def test_few_rows_say_nothing_and_a_level_without_a_point_neither() -> None:
    right = Answers(np.full(40, 0.9), np.ones(40, dtype=bool))
    rows = dict.fromkeys(TIERS, right)
    groups = {("g", "a"): np.arange(40) < 3, ("g", "b"): np.arange(40) >= 3}
    small, large = certify([(0.5, 0.5)], rows, (0.2, 0.0001), 0.95, 0, {}, groups=groups).groups
    assert small.bounds == (None, None)
    assert large.bounds == (None, 0.2)  # levels are in the order of their alphas


def test_a_bound_that_was_made_better_is_found_out() -> None:
    rng = np.random.default_rng(1)
    pool = make_pool(3000, seed=1)
    groups = {("g", "a"): rng.random(3000) < 0.5}
    certificate = certify([(0.9, 0.9), (0.5, 0.5)], pool, ALPHAS, 0.95, 0, {}, groups=groups)
    assert recheck(certificate) == []
    (group,) = certificate.groups
    for forged in (
        msgspec.structs.replace(group, bounds=(0.005, 0.005)),
        msgspec.structs.replace(group, harmful=(0,)),
        msgspec.structs.replace(group, harmful=(10**6, 10**6)),
        msgspec.structs.replace(group, n=10**6),
    ):
        assert recheck(msgspec.structs.replace(certificate, groups=(forged,)))
