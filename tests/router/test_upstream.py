"""Outages in virtual time, through the asynchronous driver: nothing lost, nothing late, few tries, quick recovery."""

import asyncio
import sys

import pytest

from tests.router.virtual import FakeRemote, now_s, run
from tianti.errors import BusyError
from tianti.router import Answer, Terms, Upstream, climb, follow
from tianti.router.breaker import FAILURES, Breaker
from tianti.spec import Prediction, Probabilities, Reason, Request, Tier

DEADLINE_S = 0.5
TERMS = Terms(Tier.DEVICE, 0.5, 0.01, "certificate", True, DEADLINE_S)
UNSURE = Answer("here", 0.1, Probabilities.of({"here": 0.1}), "package", False)
OUTAGE_S = (10.0, 30.0)


async def predict(upstreams: list[Upstream], deadline_s: float = DEADLINE_S) -> Prediction:
    terms = TERMS._replace(deadline_s=deadline_s)
    steps = climb(UNSURE, terms, upstreams, now_s(), now_s())
    try:
        ask = next(steps)
    except StopIteration as done:
        return done.value
    return await follow(steps, ask, Request(text="a", deadline_ms=deadline_s * 1e3), upstreams, now_s)


async def live_through(
    remotes: list[FakeRemote], *, until_s: float = 60.0, every_s: float = 0.1, breaker: type[Breaker] = Breaker
) -> list[tuple[float, float, Prediction]]:
    """A request every so often: (when it came, how long it took, its answer)."""
    upstreams = [Upstream(remote, now_s, jitter=lambda: 0.5) for remote in remotes]
    for upstream in upstreams:
        upstream._breaker = breaker()
    answers: list[tuple[float, float, Prediction]] = []

    async def one(came_s: float) -> None:
        answer = await predict(upstreams)
        answers.append((came_s, now_s() - came_s, answer))

    async with asyncio.TaskGroup() as group:
        while now_s() < until_s:
            group.create_task(one(now_s()))
            await asyncio.sleep(every_s)
    for upstream in upstreams:
        await upstream.aclose()
    return answers


def check_outage(remote: FakeRemote, answers: list[tuple[float, float, Prediction]], in_flight: int) -> None:
    assert len(answers) == pytest.approx(600, abs=1)
    assert max(took_s for _, took_s, _ in answers) <= DEADLINE_S
    for came_s, _, answer in answers:
        if OUTAGE_S[0] <= came_s < OUTAGE_S[1] - DEADLINE_S:
            assert answer.decision.degraded
        if came_s < OUTAGE_S[0] - DEADLINE_S or came_s > OUTAGE_S[1] + 5.0:
            assert answer.tier is Tier.CLOUD
            assert not answer.decision.degraded
    assert len(remote.failed) <= FAILURES + in_flight


@pytest.mark.parametrize(("hangs", "in_flight"), [(False, 0), (True, 5)])
def test_an_outage_costs_three_tries_and_ends_within_five_seconds(hangs: bool, in_flight: int) -> None:
    """Where the node hangs, five more requests are on their way while the first three wait for their deadline."""
    remote = FakeRemote(down_s=OUTAGE_S, hangs=hangs)
    check_outage(remote, run(live_through([remote])), in_flight)


class NeverOpens(Breaker):
    def failed(self, now_s: float) -> None:
        pass


def test_without_a_breaker_the_same_check_fails() -> None:
    remote = FakeRemote(down_s=OUTAGE_S)
    answers = run(live_through([remote], breaker=NeverOpens))
    with pytest.raises(AssertionError):
        check_outage(remote, answers, in_flight=5)
    assert len(remote.failed) > 100


class NeverProbed(Breaker):
    def probed(self, answered: bool, now_s: float) -> None:
        super().probed(False, now_s)


def test_without_probes_that_close_it_the_same_check_fails() -> None:
    remote = FakeRemote(down_s=OUTAGE_S)
    answers = run(live_through([remote], breaker=NeverProbed))
    with pytest.raises(AssertionError):
        check_outage(remote, answers, in_flight=0)


def test_no_request_is_a_probe() -> None:
    remote = FakeRemote(down_s=OUTAGE_S)
    run(live_through([remote]))
    closed_s = min(at_s for at_s in remote.probed if at_s >= OUTAGE_S[1])
    assert not [at_s for at_s in remote.asked if OUTAGE_S[0] + 1.0 <= at_s < closed_s]


def test_an_edge_that_is_out_is_skipped_to_the_cloud() -> None:
    edge = FakeRemote("edge", tier=Tier.EDGE, down_s=(0.0, 1e9))
    cloud = FakeRemote("cloud")
    answers = [answer for _, _, answer in run(live_through([edge, cloud], until_s=10.0))]
    assert all(answer.tier is Tier.CLOUD and not answer.decision.degraded for answer in answers)
    assert answers[0].decision.tiers_tried == ("device", "edge", "cloud")
    assert answers[-1].decision.tiers_tried == ("device", "cloud")
    assert len(edge.failed) == FAILURES


def silent_edge() -> list[Prediction]:
    edge = FakeRemote("edge", tier=Tier.EDGE, down_s=(0.0, 1e9), hangs=True)
    return [answer for _, _, answer in run(live_through([edge, FakeRemote("cloud")], until_s=10.0))]


def test_an_edge_that_is_silent_leaves_time_for_the_cloud() -> None:
    assert all(answer.tier is Tier.CLOUD and not answer.decision.degraded for answer in silent_edge())


def test_control_an_edge_that_may_take_all_the_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tianti.router.climb"], "_patience_s", lambda left_s, untried: left_s)
    assert any(answer.decision.degraded for answer in silent_edge())


def test_a_deadline_shorter_than_the_delay_is_kept_and_mostly_not_waited_for() -> None:
    slow = FakeRemote(delay_s=2.0)
    answers = run(live_through([slow], until_s=60.0))
    assert all(answer.decision.degraded for _, _, answer in answers)
    assert max(took_s for _, took_s, _ in answers) <= DEADLINE_S
    waited = [answer for _, _, answer in answers if answer.decision.reason is Reason.DEADLINE]
    assert len(waited) < 0.3 * len(answers)


def test_one_short_deadline_does_not_keep_others_from_a_healthy_node() -> None:
    async def scene() -> list[Prediction]:
        upstreams = [Upstream(FakeRemote(delay_s=0.05), now_s)]
        for _ in range(FAILURES):
            assert (await predict(upstreams, deadline_s=0.02)).decision.reason is Reason.DEADLINE
        assert upstreams[0].refusal(1.0) is Reason.BREAKER_OPEN
        await asyncio.sleep(0.01)
        return [await predict(upstreams)]

    assert run(scene())[0].tier is Tier.CLOUD


def test_one_failure_is_tried_again_within_the_deadline() -> None:
    cloud = FakeRemote(down_s=(0.0, 0.001))
    (answer,) = [answer for _, _, answer in run(live_through([cloud], until_s=0.05))]
    assert (answer.tier, answer.decision.degraded) == (Tier.CLOUD, False)
    assert answer.decision.tiers_tried == ("device", "cloud", "cloud")
    assert len(cloud.asked) == 2


def test_retries_of_a_flapping_node_stay_in_their_budget_and_nothing_is_late() -> None:
    """Down for 30 ms of every 200: a breaker alone would see single failures only."""

    class Flapping(FakeRemote):
        async def _respond(self, delay_s: float) -> None:
            self.down_s = (now_s(), now_s() + 1) if now_s() % 0.2 < 0.03 else (0.0, 0.0)
            await super()._respond(delay_s)

    cloud = Flapping(delay_s=0.01)
    answers = run(live_through([cloud], until_s=100.0, every_s=0.013))
    assert max(took_s for _, took_s, _ in answers) <= DEADLINE_S
    retried = len(cloud.asked) - sum(answer.decision.tiers_tried != ("device",) for _, _, answer in answers)
    assert 0 < retried <= 10 + 0.1 * len(answers)


def test_a_load_step_past_what_a_node_can_do_is_refused_at_once_and_not_queued() -> None:
    """Four at a time, 50 ms each: 80 a second. 240 a second are asked for from the tenth second to the fortieth."""

    class Four(FakeRemote):
        busy_until_s = [0.0] * 4

        async def _respond(self, delay_s: float) -> None:
            slot = self.busy_until_s.index(min(self.busy_until_s))
            self.busy_until_s[slot] = max(self.busy_until_s[slot], now_s()) + delay_s
            await asyncio.sleep(self.busy_until_s[slot] - now_s())

    async def scene() -> list[tuple[float, float, Prediction]]:
        upstream, answers = Upstream(Four(delay_s=0.05), now_s), []

        async def one(came_s: float) -> None:
            answer = await predict([upstream])
            answers.append((came_s, now_s() - came_s, answer))

        async with asyncio.TaskGroup() as group:
            while now_s() < 50.0:
                group.create_task(one(now_s()))
                await asyncio.sleep(1 / 240 if 10.0 <= now_s() < 40.0 else 1 / 40)
        await upstream.aclose()
        return answers

    answers = run(scene())
    assert max(took_s for _, took_s, _ in answers) <= DEADLINE_S
    step = [(took_s, answer) for came_s, took_s, answer in answers if 15.0 <= came_s < 40.0]
    above = [took_s for took_s, answer in step if answer.tier is Tier.CLOUD]
    refused = [took_s for took_s, answer in step if answer.decision.reason is Reason.BUSY]
    assert len(above) > 0.8 * 80 * 25  # the node is kept busy
    assert len(refused) > 0.8 * 160 * 25 and max(refused) == 0.0
    after = [answer for came_s, _, answer in answers if came_s > 45.0]
    assert all(answer.tier is Tier.CLOUD for answer in after)


class Sheds(FakeRemote):
    """Has more to do than it can where a `FakeRemote` would be down, and says so."""

    async def _respond(self, delay_s: float) -> None:
        if self.down_s[0] <= now_s() < self.down_s[1]:
            raise BusyError("come again in a second")
        await super()._respond(delay_s)


def check_shedding(remote: FakeRemote, answers: list[tuple[float, float, Prediction]]) -> None:
    for came_s, took_s, answer in answers:
        if OUTAGE_S[0] <= came_s < OUTAGE_S[1]:
            assert (answer.decision.reason, answer.decision.tiers_tried, took_s) == (Reason.BUSY, ("device",), 0.0)
        else:
            assert answer.tier is Tier.CLOUD
    assert len(remote.asked) == len(answers)  # none was tried again, and none was kept from it
    assert remote.probed == []


def test_a_node_that_says_it_is_busy_is_not_out_and_is_not_asked_again_for_the_same_request() -> None:
    remote = Sheds(down_s=OUTAGE_S)
    check_shedding(remote, run(live_through([remote])))


def test_control_a_node_that_fails_in_its_stead_is_tried_again_and_then_out() -> None:
    remote = FakeRemote(down_s=OUTAGE_S)
    with pytest.raises(AssertionError):
        check_shedding(remote, run(live_through([remote])))
    assert remote.probed


def test_a_node_that_says_it_is_busy_counts_as_full_for_a_while() -> None:
    async def scene() -> tuple[float, float]:
        upstream = Upstream(Sheds(down_s=(0.0, 1.0)), now_s)
        await upstream.ask(Request(text="a"), 1.0)
        at_once = upstream.use
        await asyncio.sleep(1.0)
        return at_once, upstream.use

    assert run(scene()) == (1.0, 0.0)


def test_a_node_that_is_always_too_slow_is_not_waited_for() -> None:
    slow = FakeRemote(delay_s=0.4)

    async def scene() -> list[float]:
        upstream, took = Upstream(slow, now_s), []
        for _ in range(25):  # a long deadline shows how slow it is
            await predict([upstream], deadline_s=2.0)
        for _ in range(20):
            began_s = now_s()
            assert (await predict([upstream], deadline_s=0.2)).decision.reason is Reason.DEADLINE
            took.append(now_s() - began_s)
        await asyncio.sleep(31.0)  # and after a while it is tried again
        await predict([upstream], deadline_s=0.2)
        return took

    assert max(run(scene())) == 0.0
    assert len(slow.asked) == 26


def test_what_goes_up_carries_the_time_that_is_left() -> None:
    cloud = FakeRemote()
    run(live_through([cloud], until_s=0.05))
    assert cloud.requests == [Request(text="a", deadline_ms=pytest.approx(460.0))]


def test_a_clock_that_was_set_back_does_not_keep_a_slow_node_out() -> None:
    slow, ahead_s = FakeRemote(delay_s=0.4), 3600.0

    async def scene() -> None:
        nonlocal ahead_s
        upstream = Upstream(slow, lambda: now_s() + ahead_s)
        for _ in range(25):
            await predict([upstream], deadline_s=2.0)
        assert upstream.refusal(0.2) is Reason.DEADLINE
        ahead_s = 0.0
        assert upstream.refusal(0.2) is None

    run(scene())


class Slower(FakeRemote):
    """Its audits, which come last, take long; and it keeps both apart."""

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        if request.audit:
            await asyncio.sleep(1.0)
            raise BusyError("requests come first")
        return await super().ask(request, remaining_s)


def test_audits_take_no_requests_place_and_say_nothing_of_requests() -> None:
    async def live() -> tuple[list[Prediction], float, float]:
        upstream = Upstream(Slower(), now_s, jitter=lambda: 0.5)
        upstream._limit.limit = 4.0
        audits = [upstream.ask(Request(text="a", audit=True), 5.0) for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            unseen = [group.create_task(audit) for audit in audits]
            await asyncio.sleep(0.0)
            asked = [group.create_task(predict([upstream])) for _ in range(4)]
        assert all(isinstance(task.result(), BusyError) for task in unseen)
        return [task.result() for task in asked], upstream.use, upstream._limit.limit

    answers, use, limit = run(live())
    assert [answer.tier for answer in answers] == [Tier.CLOUD] * 4
    assert (use, limit) == (0.0, 4.0)
