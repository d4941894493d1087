"""The scheduler in virtual time: load steps, flapping, black holes, failures here and there, a day's money.

Every scenario runs the real node (see `simulation`) and has to pass `checks.check`; every claim has a control, the same
scenario without what the claim rests on, in which its check fails.
"""

import random
import sys
from collections.abc import Callable, Sequence

import pytest

from tests.router.checks import check, check_points, check_retries, check_time, check_words
from tests.router.simulation import Entry, Fault, Server, between, live
from tests.tiny_release import PRICES
from tianti.package import Release
from tianti.router import Policy, control, upstream
from tianti.router.allowances import Budget, Retries
from tianti.router.breaker import MAX_WAIT_S
from tianti.router.limit import Limit
from tianti.router.pressure import PointKeeper
from tianti.spec import Reason

pytestmark = pytest.mark.usefixtures("_same_chances")

STEP_S = (20.0, 50.0)


def load_step(pointed: Release, nodes: int = 1, *, limit: type[Limit] = Limit) -> Sequence[Entry]:
    """80 a second can be done above; 40 are wanted, for half a minute 120; at the laxer point 30."""

    def make() -> Sequence[Entry]:
        server = Server(slots=4, service_s=0.05)
        entries = [Entry(pointed, server, seed=seed) for seed in range(nodes)]
        for entry in entries:
            entry.upstream._limit = limit(entry.rng.random)
        return entries

    return live(make, lambda at_s: 150 if STEP_S[0] <= at_s < STEP_S[1] else 50, 75.0)


def check_cheaper_and_back(entry: Entry) -> None:
    def points(from_s: float, to_s: float) -> set[float | None]:
        return {each.answer.decision.point for each in between(entry.seen, from_s, to_s)}

    assert points(0.0, STEP_S[0]) == {0.01}
    assert 0.02 in points(STEP_S[0], STEP_S[0] + 5.0)
    assert points(STEP_S[1] + 10.0, 75.0) == {0.01}


def check_relieved(entries: Sequence[Entry]) -> None:
    """Somebody moves within five seconds, few are refused after that, and all come back."""
    seen = [each for entry in entries for each in entry.seen]
    assert any(each.answer.decision.point == 0.02 for each in between(seen, STEP_S[0], STEP_S[0] + 5.0))
    step = between(seen, STEP_S[0] + 5.0, STEP_S[1])
    assert sum(each.answer.decision.degraded for each in step) < 0.1 * len(step)  # a third, were there no other point
    after = between(seen, STEP_S[1] + 10.0, 75.0)
    assert {each.answer.decision.point for each in after} == {0.01}
    assert not any(each.answer.decision.degraded for each in after)


def check_no_queue(entry: Entry) -> None:
    """What cannot be taken is answered at once, and what is taken does not wait for what was taken before."""
    assert {each.took_s for each in entry.seen if each.answer.decision.reason is Reason.BUSY} <= {0.0}
    took_s = sorted(each.took_s for each in between(entry.seen, *STEP_S))
    assert took_s[-len(took_s) // 100] < 6 * 0.05


def test_a_load_step_moves_to_the_cheaper_point_within_five_seconds_and_back(pointed: Release) -> None:
    (entry,) = load_step(pointed)
    check(entry)
    check_cheaper_and_back(entry)


def test_a_load_step_on_an_upstream_that_five_share(pointed: Release) -> None:
    """As many of them move as it takes to relieve it."""
    entries = load_step(pointed, nodes=5)
    for entry in entries:
        check(entry)
    check_relieved(entries)


def test_what_is_past_the_limit_does_not_wait(pointed: Release) -> None:
    (entry,) = load_step(pointed)
    check_no_queue(entry)


class NoLimit(Limit):
    def enter(self) -> bool:
        super().enter()
        return True


def test_control_without_a_limit_requests_queue(pointed: Release) -> None:
    (entry,) = load_step(pointed, limit=NoLimit)
    with pytest.raises(AssertionError):
        check_no_queue(entry)


def test_control_load_at_one_moment_hardly_moves_the_point(pointed: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_LOAD_S", 1e-9)
    monkeypatch.setattr(upstream, "_FULL_S", 0.0)
    with pytest.raises(AssertionError):
        check_relieved(load_step(pointed, nodes=5))


def test_control_a_point_between_two_certified_ones_is_found(pointed: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    real = PointKeeper.update
    monkeypatch.setattr(PointKeeper, "update", lambda self, *now: real(self, *now) * 0.99)
    (entry,) = live(lambda: [Entry(pointed, Server())], lambda _at_s: 10.0, 10.0)
    with pytest.raises((AssertionError, KeyError)):
        check_points(entry, 0.02)


FLAPS_S = (10.0, 60.0)


def flapping(fault: Fault) -> Callable[[float], Fault]:
    """Four seconds down, six up."""
    return lambda at_s: fault if FLAPS_S[0] <= at_s < FLAPS_S[1] and at_s % 10 < 4 else Fault.NONE


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.BLACK_HOLE])
def test_a_flapping_upstream(pointed: Release, fault: Fault) -> None:
    entries = live(
        lambda: [Entry(pointed, server, seed=seed) for server in [Server(fault=flapping(fault))] for seed in range(3)],
        lambda _at_s: 45.0,
        75.0,
    )
    for entry in entries:
        check(entry)
        found_again = [each for each in between(entry.seen, *FLAPS_S) if each.came_s % 10 > 4 + MAX_WAIT_S]
        assert sum(each.answer.decision.degraded for each in found_again) < 0.02 * len(found_again)
        assert not any(each.answer.decision.degraded for each in between(entry.seen, FLAPS_S[1] + 5.0, 75.0))


def sickly(pointed: Release) -> Entry:
    """One request in four is refused, hardly ever three in a row: no breaker opens for long."""
    chance = random.Random(1).random
    server = Server(fault=lambda _at_s: Fault.REFUSED if chance() < 0.25 else Fault.NONE)
    (entry,) = live(lambda: [Entry(pointed, server)], lambda _at_s: 50.0, 60.0)
    return entry


def test_an_upstream_that_often_fails_gets_no_more_retries_than_their_budget(pointed: Release) -> None:
    entry = sickly(pointed)
    check(entry)
    assert sum(len(tries) > 1 and tries[-1] == "answered" for tries in entry.line.tries.values()) > 50


def test_control_retries_without_a_budget_are_found(pointed: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retries, "take", lambda self: True)
    with pytest.raises(AssertionError):
        check_retries(sickly(pointed))


HOLE_S = (10.0, 30.0)


def black_hole(pointed: Release, *, keeps_time: bool = True) -> Entry:
    server = Server(fault=lambda at_s: Fault.BLACK_HOLE if HOLE_S[0] <= at_s < HOLE_S[1] else Fault.NONE)
    (entry,) = live(lambda: [Entry(pointed, server, keeps_time=keeps_time)], lambda _at_s: 20.0, 45.0)
    return entry


def test_a_black_hole_costs_few_their_time_and_nobody_more(pointed: Release) -> None:
    entry = black_hole(pointed)
    check(entry)
    waited = [each for each in entry.seen if each.answer.decision.reason is Reason.DEADLINE]
    assert 3 <= len(waited) <= 3 + 20 * 0.5 * 2
    assert max(each.came_s for each in waited) < HOLE_S[0] + 1.0
    assert not any(each.answer.decision.degraded for each in between(entry.seen, HOLE_S[1] + 5.0, 45.0))


def test_control_an_answer_that_does_not_say_that_it_is_degraded_is_found(
    pointed: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["tianti.router.climb"], "DEGRADED", frozenset())
    with pytest.raises(AssertionError):
        check_words(black_hole(pointed))


def test_control_a_request_that_waits_for_ever_is_found(pointed: Release) -> None:
    with pytest.raises(AssertionError):
        check_time(black_hole(pointed, keeps_time=False).seen)


def a_day_and_more(pointed: Release, per_day: float) -> Entry:
    """A request every ten seconds for 26 hours, every ten minutes for the next six; an hour of it above is out."""
    server = Server(fault=lambda at_s: Fault.REFUSED if 10 <= at_s / 3600 < 11 else Fault.NONE)
    policy = Policy(laxest=0.02, per_day=per_day, audits=0.05)
    (entry,) = live(
        lambda: [Entry(pointed, server, policy)], lambda at_s: 0.1 if at_s < 26 * 3600 else 1 / 600, 32 * 3600.0
    )
    return entry


def check_spent(entry: Entry, per_day: float) -> None:
    """No 24 hours cost more than a day's money, audits and what failed included."""
    each_s, price = sorted(entry.line.sent_s), sum(PRICES.values()) / 1e3
    begin = 0
    for end, at_s in enumerate(each_s):
        while each_s[begin] <= at_s - 86_400:
            begin += 1
        assert (end + 1 - begin) * price <= per_day + 1e-9


def test_a_days_money_ends(pointed: Release) -> None:
    per_day = 0.3  # .38 are wanted at the laxest point, 1.5 at the first
    entry = a_day_and_more(pointed, per_day)
    check(entry)
    check_spent(entry, per_day)
    day = between(entry.seen, 3600.0, 26 * 3600.0)
    kept = [each for each in day if each.answer.decision.reason is Reason.BUDGET]
    assert 0.02 < len(kept) / len(day) < 0.5
    assert sum(each.answer.decision.point == 0.02 for each in day) > 0.5 * len(day)  # what there is goes further there
    after = between(entry.seen, 28 * 3600.0, 32 * 3600.0)
    assert {(each.answer.decision.point, each.answer.decision.degraded) for each in after} == {(0.01, False)}
    assert entry.line.audits


def test_control_spending_past_the_days_money_is_found(pointed: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "take", lambda self, price, now_s: True)
    with pytest.raises(AssertionError):
        check_spent(a_day_and_more(pointed, 0.3), 0.3)
