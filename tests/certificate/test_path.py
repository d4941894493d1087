"""The order of the points: strict to lax, nothing silly, and worth its two thresholds."""

import numpy as np
import pytest

from tests.certificate.population import draw, make_pool, make_rows, take
from tianti.certificate import NEVER, Answers, LadderAnswers, decide, order_points
from tianti.certificate.path import POINTS
from tianti.spec import Tier

ALPHAS = (0.005, 0.01, 0.02)
Path = tuple[tuple[float, float], ...]


def order(rows: LadderAnswers) -> Path:
    return order_points(rows, ALPHAS, edge_price=0.02, cloud_price=0.2)


@pytest.fixture(scope="module")
def pool() -> LadderAnswers:
    return make_pool()


def test_no_threshold_ever_rises(pool: LadderAnswers) -> None:
    for seed in range(5):
        path = np.array(order(draw(pool, 1000, np.random.default_rng(seed))))
        assert 20 <= len(path) <= POINTS
        assert (np.diff(path, axis=0) <= 0).all()
        assert len(np.unique(path, axis=0)) == len(path)


def test_it_runs_from_plainly_safe_to_past_the_largest_alpha(pool: LadderAnswers) -> None:
    path = order(draw(pool, 1000, np.random.default_rng(1)))
    assert decide(pool, path[0]).harm < 0.2 * min(ALPHAS)
    assert decide(pool, path[-1]).harm > max(ALPHAS)


def test_it_starts_strict_even_where_no_tuning_row_was_harmed(pool: LadderAnswers) -> None:
    rows = take(pool, np.flatnonzero(pool[Tier.DEVICE].right & pool[Tier.EDGE].right)[:300])
    first = order(rows)[0]
    assert decide(rows, first).share["cloud"] > 0.2


def test_two_thresholds_cost_less_than_the_device_alone(pool: LadderAnswers) -> None:
    rows = draw(pool, 3000, np.random.default_rng(2))
    nobody = Answers(np.zeros(3000), rows[Tier.EDGE].right)
    alone = order_points({**rows, Tier.EDGE: nobody}, ALPHAS, 0.02, 0.2)
    assert {edge for _, edge in alone} == {NEVER}

    def cost(path: Path) -> float:
        outcomes = [decide(pool, point) for point in path]
        safe = [outcome.share for outcome in outcomes if outcome.harm <= 0.01]
        return min(0.02 * (1 - share["device"]) + 0.2 * share["cloud"] for share in safe)

    assert cost(order(rows)) < 0.7 * cost(alone)


def test_a_dear_edge_is_passed_by(pool: LadderAnswers) -> None:
    rows = draw(pool, 1500, np.random.default_rng(3))
    lax_cheap = order_points(rows, ALPHAS, edge_price=0.001, cloud_price=1.0)[-1]
    lax_free_cloud = order_points(rows, ALPHAS, edge_price=1.0, cloud_price=0.0)[-1]
    assert lax_free_cloud[0] < lax_cheap[0]


@pytest.mark.parametrize("score", [0.0, np.nan])
def test_no_threshold_admits_a_score_of_zero_or_nan(pool: LadderAnswers, score: float) -> None:
    rows = draw(pool, 500, np.random.default_rng(4))
    rows[Tier.DEVICE].score[::2] = score
    path = order(rows)
    assert path
    assert all(threshold > 0.0 for point in path for threshold in point)
    right = np.ones(500, dtype=bool)
    useless = Answers(np.full(500, score), right)
    assert order_points(make_rows(useless, useless, Answers(right * 1.0, right)), ALPHAS, 0.02, 0.2) == ()


def test_tied_scores_leave_few_points_and_no_rows_leave_none() -> None:
    right = np.ones(400, dtype=bool)
    tied = Answers(np.full(400, 0.7), right)
    path = order(make_rows(tied, tied, tied))
    assert 0 < len(path) <= 3
    none = Answers(np.zeros(0), right[:0])
    assert order(make_rows(none, none, none)) == ()
