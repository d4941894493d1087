"""The circuit breaker: opens after three failures, closes by a probe only, and probes often enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.router.breaker import FAILURES, MAX_WAIT_S, Breaker


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(now_s)
    return breaker


def test_it_opens_at_the_third_failure_in_a_row() -> None:
    breaker = Breaker()
    for event in (breaker.failed, breaker.failed, lambda _: breaker.succeeded(), breaker.failed, breaker.failed):
        event(0.0)
        assert not breaker.is_open
    breaker.failed(0.0)
    assert breaker.is_open


def test_no_request_closes_it() -> None:
    breaker = opened()
    breaker.succeeded()
    assert breaker.is_open
    breaker.probed(True, 1.0)
    assert not breaker.is_open


def test_the_first_probe_is_due_at_once() -> None:
    assert opened(7.0).probe_at_s == 7.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_failed_probes_are_spread_but_never_rare(jitter: list[float]) -> None:
    draws = iter(jitter)
    breaker, now_s, waits = Breaker(jitter=lambda: next(draws)), 0.0, []
    for _ in range(FAILURES):
        breaker.failed(now_s)
    for _ in jitter:
        breaker.probed(False, now_s)
        assert breaker.probe_at_s is not None
        waits.append(breaker.probe_at_s - now_s)
        now_s = breaker.probe_at_s
    assert all(0.4 <= wait <= MAX_WAIT_S + 1e-6 for wait in waits)


def test_one_that_answers_probes_and_fails_requests_is_asked_ever_less() -> None:
    breaker, now_s, waits = Breaker(jitter=lambda: 0.5), 0.0, []
    for _ in range(FAILURES):
        breaker.failed(now_s)
    for _ in range(6):
        breaker.probed(True, now_s)
        assert not breaker.is_open
        breaker.failed(now_s)  # on probation one failure is enough
        assert breaker.probe_at_s is not None
        waits.append(breaker.probe_at_s - now_s)
    assert waits == [0.5, 1.0, 2.0, 2.5, 2.5, 2.5]
    breaker.probed(True, now_s)
    breaker.succeeded()
    breaker.failed(now_s)
    assert not breaker.is_open


@given(st.lists(st.sampled_from(["succeeded", "failed", "probe ok", "probe failed"]), max_size=60))
def test_only_a_probe_that_answers_ever_closes_it(events: list[str]) -> None:
    breaker = Breaker()
    for now_s, event in enumerate(events):
        was_open = breaker.is_open
        if event == "succeeded":
            breaker.succeeded()
        elif event == "failed":
            breaker.failed(now_s)
        elif was_open:  # there are no probes while closed
            breaker.probed(event == "probe ok", now_s)
        if was_open and not breaker.is_open:
            assert event == "probe ok"


def test_a_failure_that_comes_late_does_not_move_the_probe() -> None:
    breaker = opened(1.0)
    breaker.failed(9.0)
    assert breaker.probe_at_s == pytest.approx(1.0)
