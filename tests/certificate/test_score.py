"""Reading one row of logits: right numbers, and no number that could be mistaken for an answer."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp, softmax

from tianti.certificate import FEATURES, REJECTED, UNUSABLE, read, read_many, read_rows
from tianti.certificate.score import examine
from tianti.spec import ScoreHead

WEIGHTS = (0.4, 2.0, 0.2, 0.5, 0.1, -3.0, 0.3, 0.8, 1.5)
LOGITS = np.array([0.3, 4.0, 2.5, -1.0], dtype=np.float32)


def test_features_are_what_their_names_say() -> None:
    head = ScoreHead(temperature=1.7)
    evidence = examine(head, LOGITS, tokens=8, unknown=2)
    assert evidence is not None
    p = softmax(LOGITS.astype(float) / 1.7)
    named = dict(zip(FEATURES, evidence.features, strict=True))
    assert named == pytest.approx(
        {
            "top_logit": math.log(p[1] / (1 - p[1])),
            "margin": p[1] - p[2],
            "logit_margin": 1.5 / 1.7,
            "negative_entropy": float((p * np.log(p)).sum()),
            "energy": float(logsumexp(LOGITS.astype(float))),
            "unknown_share": 0.25,
            "log_tokens": math.log(8),
            "rejected": 0.0,
            "rejected_by": 0.0,
        }
    )
    assert evidence.index == 1
    np.testing.assert_allclose(evidence.probabilities, p)


def test_score_is_the_sigmoid_of_the_weighted_features() -> None:
    head = ScoreHead(temperature=0.8, weights=WEIGHTS, bias=-0.5)
    evidence = examine(head, LOGITS, 5, 1)
    assert evidence is not None
    expected = 1 / (1 + math.exp(-(np.dot(WEIGHTS, evidence.features) - 0.5)))
    assert read(head, LOGITS, 5, 1).score == pytest.approx(expected)


def test_without_weights_the_score_is_the_margin() -> None:
    p = np.sort(softmax(LOGITS.astype(float) / 2.0))
    assert read(ScoreHead(temperature=2.0), LOGITS, 5, 0).score == pytest.approx(p[-1] - p[-2])


def test_a_text_of_low_energy_is_rejected_and_its_score_is_about_the_rejection() -> None:
    energy = float(logsumexp(LOGITS.astype(float)))
    near = read(ScoreHead(weights=WEIGHTS, reject_below=energy + 0.1), LOGITS, 5, 0)
    far = read(ScoreHead(weights=WEIGHTS, reject_below=energy + 3.0), LOGITS, 5, 0)
    assert near.index == far.index == REJECTED
    assert far.score > near.score  # the further out, the surer
    assert read(ScoreHead(weights=WEIGHTS, reject_below=energy - 0.1), LOGITS, 5, 0).index == 1
    assert read(ScoreHead(reject_below=energy + 3.0), LOGITS, 5, 0).score == 0.0  # nothing was fitted: escalate


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 2])
def test_logits_that_are_not_finite_score_zero(bad: float, place: int) -> None:
    logits = LOGITS.copy()
    logits[place] = bad
    reading = read(ScoreHead(weights=WEIGHTS, bias=9.0, reject_below=1.0), logits, 5, 0)
    assert (reading.index, reading.score) == (UNUSABLE, 0.0)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_logits_are_no_choice(count: int) -> None:
    reading = read(ScoreHead(weights=WEIGHTS, bias=9.0), LOGITS[:count], 5, 0)
    assert (reading.index, reading.score) == (UNUSABLE, 0.0)


@settings(max_examples=300, deadline=None)
@given(
    arrays(np.float32, st.integers(0, 12), elements=st.floats(width=32)),
    st.integers(0, 64),
    st.floats(0.05, 20.0),
    st.booleans(),
)
def test_any_logits_give_a_score_between_0_and_1(
    logits: np.ndarray, tokens: int, temperature: float, fitted: bool
) -> None:
    head = ScoreHead(temperature=temperature, weights=WEIGHTS if fitted else (), reject_below=0.5)
    reading = read(head, logits, tokens, tokens // 2)
    assert 0.0 <= reading.score <= 1.0
    if not np.isfinite(logits).all():
        assert reading.score == 0.0
    elif len(logits) > 1 and reading.index != REJECTED:
        assert logits[reading.index] == logits.max()


@pytest.mark.parametrize("labels", [2, 3, 10, 77, 150, 257])
@pytest.mark.parametrize("head", [ScoreHead(), ScoreHead(temperature=0.7, weights=WEIGHTS, reject_below=4.0)])
def test_rows_together_are_read_to_the_last_bit_as_one_by_one(head: ScoreHead, labels: int) -> None:
    rng = np.random.default_rng(labels)
    logits = (rng.normal(size=(301, labels)) * rng.exponential(5.0, size=(301, 1))).astype(np.float32)
    tokens, unknown = rng.integers(0, 30, 301).tolist(), rng.integers(0, 2, 301).tolist()
    together = read_rows(head, logits, tokens, unknown)
    for row, found in enumerate(together):
        alone = read(head, logits[row], tokens[row], unknown[row])
        assert (found.index, found.score, found.energy) == (alone.index, alone.score, alone.energy)
        assert found.probabilities.tolist() == alone.probabilities.tolist()


def test_many_rows_are_read_as_one_row_is() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 7)).astype(np.float32) * 3
    logits[3, 2] = math.nan
    tokens, unknown = rng.integers(1, 30, 40), rng.integers(0, 2, 40)
    head = ScoreHead(temperature=1.3, weights=WEIGHTS, reject_below=3.0)
    many = read_many(head, logits, tokens, unknown)
    for i in range(40):
        one = read(head, logits[i], int(tokens[i]), int(unknown[i]))
        assert (many.index[i], many.score[i], many.energy[i]) == (one.index, one.score, one.energy)
    assert {REJECTED, UNUSABLE} < set(many.index.tolist())
    truth = np.where(many.index == UNUSABLE, 0, many.index)
    assert many.right(truth).tolist() == (many.index != UNUSABLE).tolist()
