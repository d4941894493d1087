"""Fitting a head: against other optimisers, and on data that cannot carry a fit."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from tianti.certificate import REJECTED, fit_head, read, read_many, reliability
from tianti.certificate.head import _PENALTY, fit_logistic, fit_reject, fit_temperature
from tianti.spec import ScoreHead

Rows = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def make_rows(n: int, seed: int, out_of_scope: float = 0.0, temperature: float = 2.5) -> Rows:
    """Logits that are `temperature` times too sure; out-of-scope rows have small ones."""
    rng = np.random.default_rng(seed)
    true_logits = rng.normal(size=(n, 12)) * rng.uniform(0.5, 4.0, size=(n, 1))
    truth = np.array([rng.choice(12, p=p) for p in softmax(true_logits, axis=1)])
    logits = true_logits * temperature
    outside = rng.random(n) < out_of_scope
    logits[outside] = rng.normal(size=(int(outside.sum()), 12))
    truth[outside] = REJECTED
    tokens = rng.integers(3, 20, n)
    return logits.astype(np.float32), tokens, rng.integers(0, 3, n), truth


def read_all(head: ScoreHead, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    readings = read_many(head, *rows[:3])
    return readings.score, readings.right(rows[3])


def test_temperature_is_the_likeliest() -> None:
    logits, _, _, truth = make_rows(3000, 0)

    def loss(log_t: float) -> float:
        return -float(log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(truth)), truth].mean())

    fitted = fit_temperature(logits, truth)
    assert np.log(fitted) == pytest.approx(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x, abs=1e-3)
    assert fitted == pytest.approx(2.5, rel=0.1)


def test_temperature_stays_bounded_where_everything_is_right_or_nothing_is_known() -> None:
    logits = (np.eye(5) * 3).astype(np.float32)
    assert fit_temperature(logits, np.arange(5)) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(logits, (np.arange(5) + 1) % 5) == pytest.approx(20.0, rel=0.01)
    assert fit_temperature(logits[:0], np.arange(0)) == 1.0


def test_reject_threshold_gives_the_most_right_answers() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        n = int(rng.integers(5, 60))
        outside = rng.random(n) < 0.3
        energy = np.round(rng.normal(3.0 - 2.0 * outside), 1)  # rounded: ties
        right = ~outside & (rng.random(n) < 0.8)

        def kept(below: float) -> int:
            return int(np.where(energy < below, outside, right).sum())  # noqa: B023

        best = max(kept(float(below)) for below in [-99.0, *energy, 99.0])
        fitted = fit_reject(energy, right, outside)
        assert kept(-99.0 if fitted is None else fitted) == best


def test_nothing_is_rejected_where_that_does_not_pay() -> None:
    energy = np.arange(10.0)
    assert fit_reject(energy, np.ones(10, bool), np.zeros(10, bool)) is None
    assert fit_reject(energy[:0], np.ones(0, bool), np.ones(0, bool)) is None
    below = fit_reject(energy, np.zeros(10, bool), np.ones(10, bool))
    assert below is not None
    assert below > 9.0


def test_logistic_weights_are_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(800, 4)) * [1, 10, 0.1, 0] + [0, 5, 0, 3]
    right = rng.random(800) < 1 / (1 + np.exp(-(features @ [1.0, -0.2, 5.0, 0.0] + 2)))
    weights, bias = fit_logistic(features, right)
    mean, scale = features.mean(0), np.where(features.std(0) > 0, features.std(0), 1)
    other = LogisticRegression(C=1 / _PENALTY, tol=1e-10, max_iter=1000).fit((features - mean) / scale, right)
    expected = other.decision_function((features - mean) / scale)
    np.testing.assert_allclose(features @ weights + bias, expected, atol=1e-3)
    assert weights[3] == 0.0


def test_logistic_weights_are_finite_where_the_classes_part_perfectly() -> None:
    features = np.linspace(-1, 1, 200)[:, None] * 1e6
    weights, bias = fit_logistic(features, features[:, 0] > 0)
    assert np.isfinite([*weights, bias]).all()
    assert weights[0] > 0


def test_a_fitted_score_is_a_better_chance_than_the_raw_maximum() -> None:
    head = fit_head(*make_rows(1000, 3, 0.05), has_out_of_scope=True)
    rows = make_rows(4000, 4, 0.05)
    score, right = read_all(head, rows)
    raw = softmax(rows[0], axis=1).max(axis=1)
    assert len(head.weights) == 9
    assert reliability(score, right).error < 0.03
    assert reliability(raw, rows[0].argmax(axis=1) == rows[3]).error > 0.1


def test_rejecting_pays_on_rows_that_were_not_fitted_on() -> None:
    head = fit_head(*make_rows(1000, 5, 0.2), has_out_of_scope=True)
    rows = make_rows(3000, 6, 0.2)
    assert head.reject_below is not None
    score, right = read_all(head, rows)
    assert right.mean() > (rows[0].argmax(axis=1) == rows[3]).mean() + 0.05
    assert reliability(score, right).error < 0.04


def test_without_out_of_scope_rows_nothing_is_rejected() -> None:
    assert fit_head(*make_rows(500, 7), has_out_of_scope=False).reject_below is None
    assert fit_head(*make_rows(500, 7), has_out_of_scope=True).reject_below is None


@pytest.mark.parametrize("case", ["all right", "all wrong", "few rows", "no rows", "all out of scope", "all NaN"])
def test_rows_that_cannot_carry_a_fit_give_the_margin(case: str) -> None:
    logits, tokens, unknown, truth = make_rows(200, 8)
    top = logits.argmax(axis=1)
    if case == "all right":
        truth = top
    elif case == "all wrong":
        truth = (top + 1) % 12
    elif case == "all out of scope":
        truth = np.full(200, REJECTED)
    elif case == "all NaN":
        logits = np.full_like(logits, np.nan)
    n = {"few rows": 12, "no rows": 0}.get(case, 200)
    head = fit_head(logits[:n], tokens[:n], unknown[:n], truth[:n], has_out_of_scope=True)
    assert head.weights == ()
    assert np.isfinite(head.temperature)
    assert 0.0 <= read(head, make_rows(1, 9)[0][0], 5, 0).score <= 1.0


def test_rows_with_nan_logits_teach_nothing() -> None:
    rows = make_rows(600, 10)
    spoilt = tuple(np.concatenate([part, part[:50]]) for part in rows)
    spoilt[0][600:] = np.nan
    assert fit_head(*spoilt, has_out_of_scope=False) == fit_head(*rows, has_out_of_scope=False)
