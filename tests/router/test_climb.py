"""One request's way, step by step: who is asked, what is kept, and what the decision says."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.router.virtual import answer_of
from tianti.errors import BusyError, DeadlineError, RunError, UnaskedError, UpstreamError
from tianti.router import Answer, Ask, Outcome, Terms, climb
from tianti.spec import Prediction, Probabilities, Reason, Tier

UNSURE, SURE = 0.4, 0.6


def answer(score: float, truncated: bool = False) -> Answer:
    return Answer("here", score, Probabilities.of({"here": score}), "package", truncated)


def terms(tier: Tier = Tier.DEVICE, *, threshold: float = 0.5, covered: bool = True, deadline_s: float = 0.5) -> Terms:
    return Terms(tier, threshold, 0.01, "certificate", covered, deadline_s)


def ways(*open_: bool) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(
            name=f"way{index}",
            refusal=lambda _remaining_s, is_open=is_open: Reason.BREAKER_OPEN if is_open else None,
            retry_in_s=lambda _attempt: None,
        )
        for index, is_open in enumerate(open_)
    ]


def drive(
    here: Answer | RunError,
    on: Terms,
    up: list[SimpleNamespace],
    outcomes: list[Prediction | UpstreamError],
    each_s: float = 0.01,
    **privacy: int,
) -> tuple[Prediction, list[Ask]]:
    """Run a climb to its end; every outcome takes `each_s`. `privacy`: `held`, `redactions`."""
    asks: list[Ask] = []
    now_s, left = 100.0, iter(outcomes)
    steps = climb(here, on, up, started_s=100.0, now_s=now_s, **privacy)  # type: ignore[arg-type]
    try:
        ask = next(steps)
        while True:
            asks.append(ask)
            now_s += each_s
            ask = steps.send(Outcome(next(left), now_s))
    except StopIteration as done:
        return done.value, asks


def test_a_sure_answer_is_kept() -> None:
    got, asks = drive(answer(SURE), terms(), ways(False), [])
    assert not asks
    assert (got.label, got.tier, got.decision.reason) == ("here", Tier.DEVICE, Reason.SCORE)
    assert got.decision.certified
    assert got.decision.tiers_tried == ("device",)


def test_a_score_that_equals_the_threshold_is_enough() -> None:
    assert drive(answer(0.5), terms(), ways(False), [])[0].decision.reason is Reason.SCORE


def test_an_unsure_answer_climbs_and_the_decision_tells_the_way() -> None:
    above = answer_of(Tier.CLOUD)
    got, asks = drive(answer(UNSURE), terms(), ways(False), [above])
    assert asks == [Ask(0, pytest.approx(0.46))]
    assert (got.label, got.tier, got.decision.reason) == ("up", Tier.CLOUD, Reason.TOP)
    assert got.decision.tiers_tried == ("device", "cloud")
    assert got.decision.ms == pytest.approx(10.0)
    assert (got.decision.point, got.decision.certificate) == (0.01, "certificate")
    assert got.decision.certified


def test_the_cloud_answers_whatever_its_score() -> None:
    got, _ = drive(answer(0.0), terms(Tier.CLOUD, threshold=math.inf), [], [])
    assert got.decision.reason is Reason.TOP
    assert got.decision.certified
    assert not got.decision.degraded


def test_a_certificate_that_does_not_cover_says_nothing() -> None:
    assert not drive(answer(SURE), terms(covered=False), [], [])[0].decision.certified
    assert not drive(answer(SURE), terms(Tier.CLOUD, covered=False), [], [])[0].decision.certified


def test_without_upstream_the_local_answer_is_neither_degraded_nor_certified() -> None:
    got, _ = drive(answer(UNSURE, truncated=True), terms(), [], [])
    assert got.decision.reason is Reason.NO_UPSTREAM
    assert (got.decision.degraded, got.decision.certified, got.decision.truncated) == (False, False, True)


def test_one_that_fails_is_skipped_and_named() -> None:
    got, asks = drive(answer(UNSURE), terms(), ways(False, False), [UpstreamError("down"), answer_of(Tier.CLOUD)])
    assert [ask.way for ask in asks] == [0, 1]
    assert got.tier is Tier.CLOUD
    assert got.decision.tiers_tried == ("device", "way0", "cloud")
    assert not got.decision.degraded


def test_one_way_leaves_time_for_those_behind_it_that_can_be_asked() -> None:
    late = DeadlineError("late")
    for out, shares in (((False, False), [2 / 3, 1.0]), ((False, True), [1.0]), ((False, True, False), [2 / 3, 1.0])):
        _, asks = drive(answer(UNSURE), terms(), ways(*out), [late] * len(shares), each_s=0.1)
        left_s = [0.46 - 0.1 * number for number in range(len(shares))]
        assert [ask.remaining_s for ask in asks] == pytest.approx([a * b for a, b in zip(shares, left_s, strict=True)])


def test_one_whose_breaker_is_open_is_not_asked() -> None:
    got, asks = drive(answer(UNSURE), terms(), ways(True, False), [answer_of(Tier.CLOUD)])
    assert [ask.way for ask in asks] == [1]
    assert got.decision.tiers_tried == ("device", "cloud")


@pytest.mark.parametrize(
    ("up", "outcomes", "each_s", "reason"),
    [
        (ways(True, True), [], 0.0, Reason.BREAKER_OPEN),
        (ways(False, False), [UpstreamError("a"), UpstreamError("b")], 0.01, Reason.UPSTREAM_DOWN),
        (ways(True, False), [UpstreamError("b")], 0.01, Reason.UPSTREAM_DOWN),
        (ways(False, True), [UpstreamError("a")], 0.01, Reason.UPSTREAM_DOWN),
        (ways(True, False), [BusyError("it may have got the text")], 0.01, Reason.BUSY),
        (ways(False, True), [BusyError("it may have got the text")], 0.01, Reason.BUSY),
        (ways(True, False), [UnaskedError("b")], 0.01, Reason.BREAKER_OPEN),
        (ways(False), [DeadlineError("a")], 0.46, Reason.DEADLINE),
        (ways(False, False), [DeadlineError("a")], 0.46, Reason.DEADLINE),
        (ways(False, False), [UpstreamError("a")], 0.49, Reason.DEADLINE),
    ],
)
def test_out_of_reach_is_degraded_with_its_reason(
    up: list[SimpleNamespace], outcomes: list[Prediction | UpstreamError], each_s: float, reason: Reason
) -> None:
    got, asks = drive(answer(UNSURE), terms(), up, outcomes, each_s)
    assert (got.label, got.decision.reason) == ("here", reason)
    assert got.decision.degraded
    assert not got.decision.certified
    assert len(asks) == len(outcomes)


def test_time_that_the_local_model_has_used_up_is_not_there() -> None:
    steps = climb(answer(UNSURE), terms(deadline_s=0.5), ways(False), started_s=0.0, now_s=0.461)
    with pytest.raises(StopIteration) as done:
        next(steps)
    assert done.value.value.decision.reason is Reason.DEADLINE


def test_a_failed_model_climbs_and_is_an_error_where_nobody_answers() -> None:
    broken = RunError("NaN")
    for tier in Tier:
        on = terms(tier, threshold=0.0)
        assert drive(broken, on, ways(False), [answer_of(Tier.CLOUD)])[0].label == "up"
        for up, outcomes in (([], []), (ways(True), []), (ways(False), [UpstreamError("down")])):
            with pytest.raises(RunError, match="NaN"):
                drive(broken, on, up, outcomes)


def test_nan_never_meets_a_threshold() -> None:
    got, _ = drive(answer(math.nan), terms(threshold=0.0), [], [])
    assert got.decision.reason is Reason.NO_UPSTREAM


def test_what_the_higher_node_says_about_its_answer_stays() -> None:
    import msgspec

    above = answer_of(Tier.EDGE)
    decision = msgspec.structs.replace(above.decision, reason=Reason.UPSTREAM_DOWN, degraded=True, certified=False)
    got, _ = drive(answer(UNSURE), terms(), ways(False), [msgspec.structs.replace(above, decision=decision)])
    assert got.decision.reason is Reason.UPSTREAM_DOWN
    assert (got.decision.degraded, got.decision.certified) == (True, False)


def test_what_each_tier_said_goes_with_an_answer_from_above() -> None:
    """Device, edge, cloud: 10 ms at the edge for the ask of the cloud, 30 ms at the device for the ask of the edge."""
    passed, _ = drive(answer(UNSURE), terms(Tier.EDGE), ways(False), [answer_of(Tier.CLOUD)])
    got, _ = drive(answer(0.2), terms(), ways(False), [passed], each_s=0.03)
    assert [(said.tier, said.score) for said in got.decision.seen] == [
        (Tier.DEVICE, 0.2),
        (Tier.EDGE, UNSURE),
        (Tier.CLOUD, 0.9),
    ]
    assert [said.ms for said in got.decision.seen] == pytest.approx([0.0, 20.0, 10.0])
    assert sum(said.ms for said in got.decision.seen) == pytest.approx(got.decision.ms)


def test_an_own_answer_carries_no_scores_twice_and_a_failed_model_said_nothing() -> None:
    for score, up, outcomes in ((SURE, ways(), []), (UNSURE, ways(), []), (UNSURE, ways(False), [UpstreamError("")])):
        assert drive(answer(score), terms(), up, outcomes)[0].decision.seen == ()
    got, _ = drive(RunError("NaN"), terms(), ways(False), [answer_of(Tier.CLOUD)])
    assert [said.score for said in got.decision.seen] == [0.0, 0.9]


def test_what_is_held_is_answered_here_and_nobody_is_asked() -> None:
    for up in (ways(False), ways(True), ways(False, False)):  # whether somebody could be asked or not
        got, asks = drive(answer(UNSURE), terms(), up, [], held=True, redactions=3)
        assert not asks
        assert (got.label, got.tier, got.decision.reason) == ("here", Tier.DEVICE, Reason.PRIVATE)
        assert (got.decision.certified, got.decision.degraded, got.decision.redactions) == (False, False, 0)


def test_what_is_held_but_answered_well_here_or_had_nobody_to_ask_is_as_ever() -> None:
    kept, _ = drive(answer(SURE), terms(), ways(False), [], held=True)
    assert (kept.decision.reason, kept.decision.certified) == (Reason.SCORE, True)
    assert drive(answer(UNSURE), terms(), [], [], held=True)[0].decision.reason is Reason.NO_UPSTREAM
    with pytest.raises(RunError, match="NaN"):
        drive(RunError("NaN"), terms(), ways(False), [], held=True)


def test_what_is_held_costs_no_money() -> None:
    spent: list[bool] = []
    steps = climb(answer(UNSURE), terms(), ways(False), 0.0, 0.0, lambda: bool(spent.append(True)), held=True)
    with pytest.raises(StopIteration) as done:
        next(steps)
    assert (done.value.value.decision.reason, spent) == (Reason.PRIVATE, [])


def test_redactions_are_those_of_a_text_that_left_whoever_answers() -> None:
    def of(up: list[SimpleNamespace], *outcomes: Prediction | UpstreamError) -> int:
        return drive(answer(UNSURE), terms(), up, list(outcomes), redactions=2)[0].decision.redactions

    assert of(ways(False), answer_of(Tier.CLOUD)) == 2
    assert of(ways(False, False), UpstreamError("a"), answer_of(Tier.CLOUD)) == 2
    assert of(ways(False), UpstreamError("a")) == 2
    assert of(ways(True)) == of(ways(False), UnaskedError("full")) == 0
    assert of(ways(False), BusyError("it says so itself")) == 2
    passed, _ = drive(answer(UNSURE), terms(), ways(False), [answer_of(Tier.CLOUD)], redactions=2)
    assert drive(answer(UNSURE), terms(), ways(False), [passed])[0].decision.redactions == 2  # from below it came so


RESULTS = st.sampled_from([answer_of(Tier.CLOUD), UpstreamError("down"), DeadlineError("late")])


@given(
    score=st.floats(0, 1),
    threshold=st.floats(0, 1),
    up=st.lists(st.booleans(), max_size=4),
    results=st.lists(RESULTS, min_size=4, max_size=4),
    each_s=st.floats(0.0, 0.4),
    held=st.booleans(),
)
def test_every_request_gets_one_answer_that_is_honest(
    score: float,
    threshold: float,
    up: list[bool],
    results: list[Prediction | UpstreamError],
    each_s: float,
    held: bool,
) -> None:
    got, asks = drive(answer(score), terms(threshold=threshold), ways(*up), results, each_s, held=held)
    decision = got.decision
    assert all(not up[ask.way] for ask in asks)
    assert [ask.way for ask in asks] == sorted({ask.way for ask in asks})
    assert all(0 < ask.remaining_s < 0.4601 for ask in asks)
    if score >= threshold:
        assert not asks
    elif got.tier is Tier.DEVICE:
        assert decision.degraded == (bool(up) and not held)
        assert (decision.reason is Reason.PRIVATE) == (bool(up) and held)
        assert not decision.certified
    assert not (held and asks)
    assert not (decision.degraded and decision.certified)


@given(score=st.floats(0, 1), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_stricter_threshold_never_keeps_more(score: float, low: float, high: float) -> None:
    low, high = sorted((low, high))
    kept = [
        drive(answer(score), terms(threshold=threshold), [], [])[0].decision.reason is Reason.SCORE
        for threshold in (low, high)
    ]
    assert kept[0] >= kept[1]
