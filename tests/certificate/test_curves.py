"""Curves for the report, on rows small enough to count by hand."""

import numpy as np
import pytest

from tianti.certificate import rejected_share, reliability, risk_coverage


def test_risk_coverage_counts_equal_scores_together() -> None:
    score = np.array([0.9, 0.5, 0.5, 0.1])
    right = np.array([True, False, True, False])
    coverage, risk = risk_coverage(score, right)
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert risk.tolist() == [0.0, 0.25, 0.5]


def test_reliability_of_a_score_that_is_too_sure() -> None:
    found = reliability(np.array([1.0, 1.0, 1.0, 1.0, 0.05]), np.array([1, 1, 0, 0, 0]) == 1)
    assert found.rows.tolist() == [1, 4]
    assert found.right.tolist() == [0.0, 0.5]
    assert found.score.tolist() == pytest.approx([0.05, 1.0])
    assert found.error == pytest.approx((4 * 0.5 + 0.05) / 5)


def test_rejected_share_is_taken_where_one_in_twenty_in_scope_rows_goes() -> None:
    energy = np.concatenate([np.arange(100.0), [-1.0, 2.0, 4.0, 50.0]])
    outside = np.arange(104) >= 100
    assert rejected_share(energy, outside) == 0.75
    assert np.isnan(rejected_share(energy[:100], outside[:100]))


def test_no_rows_give_empty_curves() -> None:
    empty = np.zeros(0)
    assert [part.tolist() for part in risk_coverage(empty, empty == 1)] == [[], []]
    assert reliability(empty, empty == 1).error == 0.0
