"""A file that is worse than its parent is refused; one that is unlucky is not."""

from pathlib import Path

import numpy as np
import pytest

from tianti.compression import check_parity, compare
from tianti.errors import StageError

ROWS, LABELS = 300, 5
TRUTH = np.arange(ROWS) % LABELS
LINES = range(1, ROWS + 1)


def check(parent: np.ndarray, file: np.ndarray, exact: bool = False) -> None:
    check_parity(compare(parent, file, TRUTH, LINES), Path("validation.jsonl.gz"), exact)


def logits(labels: np.ndarray, height: float = 4.0) -> np.ndarray:
    return (np.eye(LABELS)[labels] * height).astype(np.float32)


def turned(share: float) -> np.ndarray:
    """The truth, but another label on the first rows."""
    labels = TRUTH.copy()
    labels[: round(share * ROWS)] = (labels[: round(share * ROWS)] + 1) % LABELS
    return labels


def test_the_same_answers_pass_whatever_the_scale() -> None:
    parity = compare(logits(TRUTH), logits(TRUTH, 3.5), TRUTH, LINES)
    assert (parity.agreement, parity.lost, parity.farthest) == (1.0, 0.0, 0.5)
    check(logits(TRUTH), logits(TRUTH, 3.5))


def test_a_file_that_lost_accuracy_is_refused_and_says_where() -> None:
    said = r"at most 1% of accuracy lost, got 6\.0% \(at least 3\.\d%\); farthest for line 1 of validation"
    with pytest.raises(StageError, match=said):
        check(logits(TRUTH), logits(turned(0.06)))


def test_a_few_unlucky_rows_refuse_nothing() -> None:
    check(logits(TRUTH), logits(turned(0.015)))


def test_a_file_that_answers_otherwise_is_refused_even_where_both_are_wrong() -> None:
    wrong = (TRUTH + 1) % LABELS
    with pytest.raises(StageError, match=r"agree with its parent on 90%, got 0\.0%"):
        check(logits(wrong), logits((wrong + 1) % LABELS))


def test_a_file_that_gives_a_nan_is_refused() -> None:
    broken = logits(TRUTH)
    broken[7, 0] = np.nan
    with pytest.raises(StageError, match="expected finite logits, got others for line 8 of"):
        check(logits(TRUTH), broken)


def test_where_the_parent_is_undecided_either_answer_agrees() -> None:
    parity = compare(logits(TRUTH, 0.05), logits(turned(1.0), 0.05), TRUTH, LINES)
    assert parity.agreement == 1.0 and parity.lost == 1.0


def test_a_file_in_float32_has_no_excuse() -> None:
    parent = logits(TRUTH, 20.0)
    near, far = parent.copy(), parent.copy()
    near[3, 1], far[3, 1] = 1e-4, 3e-4  # a share of the largest logit is allowed: 2e-4
    check(parent, near, exact=True)
    with pytest.raises(StageError, match=r"within 0\.0002 of the parent's, got 0\.0003 for line 4 of"):
        check(parent, far, exact=True)
    check(parent, far)
