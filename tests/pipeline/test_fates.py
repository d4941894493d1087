"""Replayed requests beside the router itself: the same where the log knows, both ends where it does not."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.errors import UpstreamError
from tianti.pipeline.fates import Fate, World, fate_of, fates
from tianti.router import Answer, Outcome, Terms, climb
from tianti.spec import Prediction, Probabilities, Reason, Tier
from tianti.spec.logged import Logged, logged

D, E, C = Tier.DEVICE, Tier.EDGE, Tier.CLOUD
Pair = tuple[float, float]
SHARES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])
PAIRS = st.tuples(SHARES, SHARES)
UPSTREAMS = st.sampled_from([(), (E,), (C,), (E, C)])


def route(
    scores: Pair, thresholds: Pair, up: tuple[Tier, ...], out: frozenset[Tier] = frozenset(), held: bool = False
) -> Prediction:
    """What a device of the router's own code answers; the edge has the cloud above it where the device has."""

    def ask(tier: Tier, above: tuple[Tier, ...]) -> Prediction:
        score = {D: scores[0], E: scores[1], C: 0.9}[tier]
        threshold = {D: thresholds[0], E: thresholds[1], C: 0.0}[tier]
        terms = Terms(tier, threshold, 0.01, "", True, 0.5)
        ways = [SimpleNamespace(name=way, refusal=lambda _s: None, retry_in_s=lambda _n: None) for way in above]
        steps = climb(Answer("a", score, Probabilities(), "p", False), terms, ways, 0.0, 0.0, held=held)
        try:
            step = next(steps)
            while True:
                way = above[step.way]
                higher = tuple(other for other in above if way is E and other is C)
                result = UpstreamError("out") if way in out else ask(way, higher)
                step = steps.send(Outcome(result, 0.0))
        except StopIteration as done:
            return done.value

    return ask(D, up)


def log(prediction: Prediction) -> Logged:
    return logged(prediction, 0.0, "release", D, 500.0)


def world(thresholds: Pair, up: tuple[Tier, ...], named: bool = False) -> World:
    return World({D: thresholds[0], E: thresholds[1]}, up, named)


def known(line: Logged) -> dict[Tier, float]:
    return {said.tier: said.score for said in line.seen}


@given(PAIRS, PAIRS, UPSTREAMS, st.frozensets(st.sampled_from([E, C])))
def test_with_nothing_changed_every_request_ends_as_it_did(
    scores: Pair, thresholds: Pair, up: tuple[Tier, ...], out: frozenset[Tier]
) -> None:
    line = log(route(scores, thresholds, up, out))
    assert fates(line, known(line), world(thresholds, up)) == (fate_of(line),)


@given(PAIRS, PAIRS, PAIRS, UPSTREAMS)
def test_another_point_ends_as_the_router_would_or_is_open(
    scores: Pair, before: Pair, after: Pair, up: tuple[Tier, ...]
) -> None:
    line, truth = log(route(scores, before, up)), fate_of(log(route(scores, after, up)))
    found = fates(line, known(line), world(after, up))
    assert truth in found
    if after[0] <= before[0] and after[1] <= before[1]:
        assert found == (truth,), "a laxer point is exact"
    assert fates(line, {D: scores[0], E: scores[1]}, world(after, up)) == (truth,), "and so is any with all scores"


@given(PAIRS, PAIRS, UPSTREAMS, UPSTREAMS)
def test_other_upstreams_end_as_the_router_would_or_are_open(
    scores: Pair, thresholds: Pair, before: tuple[Tier, ...], after: tuple[Tier, ...]
) -> None:
    line = log(route(scores, thresholds, before))
    truth = fate_of(log(route(scores, thresholds, after)))
    assert truth in fates(line, known(line), world(thresholds, after, named=True))


@given(PAIRS, PAIRS, PAIRS, st.frozensets(st.sampled_from([E, C]), min_size=1))
def test_what_was_out_of_reach_is_so_again(scores: Pair, before: Pair, after: Pair, out: frozenset[Tier]) -> None:
    line = log(route(scores, before, (E, C), out))
    if line.degraded:
        truth = fate_of(log(route(scores, after, (E, C), out)))
        assert fates(line, known(line), world(after, (E, C))) == (truth,)


@given(PAIRS, PAIRS, PAIRS, UPSTREAMS, UPSTREAMS)
def test_what_must_not_leave_stays_under_any_point_and_below_anybody(
    scores: Pair, before: Pair, after: Pair, up: tuple[Tier, ...], named: tuple[Tier, ...]
) -> None:
    line = log(route(scores, before, up, held=True))
    truth = fate_of(log(route(scores, after, named, held=True)))
    assert fates(line, known(line), world(after, named, named=True), held=True) == (truth,)
    if line.reason is Reason.PRIVATE:
        assert fates(line, known(line), world(after, named, named=True)) == (truth,), "the log shows it"
        assert fates(line, known(line), world(before, up)) == (fate_of(line),)


def test_what_another_policy_lets_go_climbs() -> None:
    line = log(route((0.3, 0.7), (0.5, 0.5), (E, C), held=True))
    assert fate_of(line) == Fate((D,), Reason.PRIVATE)
    both = {D: 0.3, E: 0.7}
    assert fates(line, both, world((0.5, 0.5), (E, C)), held=False) == (Fate((D, E), Reason.SCORE),)


def test_a_changed_score_ends_elsewhere() -> None:
    line = log(route((0.3, 0.7), (0.5, 0.5), (E, C)))
    assert fate_of(line) == Fate((D, E), Reason.SCORE)
    assert fates(line, {**known(line), D: 0.6}, world((0.5, 0.5), (E, C))) == (Fate((D,), Reason.SCORE),)
    assert fates(line, {D: 0.3}, world((0.5, 0.5), (E, C))) == (Fate((D, E), Reason.SCORE), Fate((D, E, C), Reason.TOP))


@pytest.mark.parametrize("score", [0.499, 0.5])
def test_a_score_that_equals_the_threshold_is_enough(score: float) -> None:
    line = log(route((0.3, 0.7), (0.5, 0.5), (E, C)))
    assert (fates(line, {D: score}, world((0.5, 0.5), (C,)))[0].way == (D,)) == (score == 0.5)
