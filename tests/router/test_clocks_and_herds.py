"""The scheduler in virtual time: clocks that jump, and a herd that finds its upstream again (see `test_scheduling`)."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from tests.router.checks import check, check_time
from tests.router.simulation import Entry, Fault, Server, between, live
from tests.router.virtual import VirtualLoop, now_s, run
from tianti.package import Release
from tianti.router import Outcome, Policy
from tianti.router.breaker import Breaker
from tianti.serving import desk

pytestmark = pytest.mark.usefixtures("_same_chances")

JUMP_S = 20.02
HOUR_S = 3600.0


def clock_jump(pointed: Release, by_s: float, fault: Fault) -> Entry:
    """The node's clock is set by so much while requests are under way, and an outage has just begun or not."""

    def clock() -> float:
        return 10_000.0 + now_s() + (by_s if now_s() >= JUMP_S else 0.0)

    server = Server(fault=lambda at_s: fault if JUMP_S - 0.06 <= at_s < JUMP_S + 3.0 else Fault.NONE)
    policy = Policy(laxest=0.02, per_day=1e3, audits=0.0)
    (entry,) = live(lambda: [Entry(pointed, server, policy, clock=clock)], lambda _at_s: 50.0, 60.0)
    return entry


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_jumps(pointed: Release, by_s: float, fault: Fault) -> None:
    entry = clock_jump(pointed, by_s, fault)
    check(entry)
    after = between(entry.seen, JUMP_S + 10.0, 60.0)
    assert sum(each.answer.decision.degraded for each in after) < 0.02 * len(after)


async def follow_by_the_nodes_clock(steps, ask, request, upstreams, clock):  # noqa: ANN001, ANN201
    while True:
        await asyncio.sleep(ask.wait_s)
        result = await upstreams[ask.way].ask(request, ask.remaining_s - ask.wait_s)
        try:
            ask = steps.send(Outcome(result, clock()))
        except StopIteration as done:
            return done.value


def test_control_time_by_a_clock_that_is_set_back_is_not_kept(
    pointed: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "follow", follow_by_the_nodes_clock)
    with pytest.raises(AssertionError):
        check_time(clock_jump(pointed, -HOUR_S, Fault.BLACK_HOLE).seen)


def test_a_machine_that_slept_for_an_hour(pointed: Release) -> None:
    """All of its clocks and timers jump. What was under way is answered as soon as it wakes."""

    async def sleep_through() -> None:
        await asyncio.sleep(JUMP_S)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(HOUR_S)

    async def scene() -> Entry:
        entry = Entry(pointed, Server())
        async with asyncio.TaskGroup() as group:
            group.create_task(entry.live(lambda _at_s: 60.0, HOUR_S + 60.0, mix=(0, 0, 1)))
            group.create_task(sleep_through())
        return entry

    entry = run(scene())
    under_way = [each for each in entry.seen if each.came_s < JUMP_S < each.came_s + each.took_s]
    assert 1 <= len(under_way) < 20
    entry.seen = [each._replace(took_s=each.took_s - HOUR_S) if each in under_way else each for each in entry.seen]
    check(entry)
    after = between(entry.seen, JUMP_S + HOUR_S + 5.0, JUMP_S + HOUR_S + 60.0)
    assert sum(each.answer.decision.degraded for each in after) < 0.02 * len(after)


BACK_S = 30.0
NODES = 40


def herd(pointed: Release, **how: Callable[[], float]) -> tuple[Server, Sequence[Entry]]:
    """Forty nodes which all ask at the beat of a second, of an upstream that is out from the fifth on."""
    server = Server(slots=40, fault=lambda at_s: Fault.REFUSED if 5.0 <= at_s < BACK_S else Fault.NONE)
    entries = live(
        lambda: [Entry(pointed, server, seed=seed, **how) for seed in range(NODES)],
        lambda _at_s: float(NODES),
        BACK_S + 15.0,
        mix=(0, 0, 1),
        beat=True,
    )
    return server, entries


def busiest(at_s: Sequence[float], within_s: float) -> int:
    """The most that came within so short a time."""
    ordered = sorted(at_s)
    return max((sum(moment <= later < moment + within_s for later in ordered) for moment in ordered), default=0)


def check_no_herd(server: Server) -> None:
    """Probes are spread, nothing that failed comes again, and those that come back ask no more than ever."""
    assert busiest([at_s for at_s in server.probed if 15.0 <= at_s < BACK_S + 3.0], 0.1) <= NODES / 4
    assert len([at_s for at_s in server.arrived if 7.0 <= at_s < BACK_S]) == 0
    usual = busiest([at_s for at_s in server.arrived if at_s < 5.0], 1.0)
    assert busiest([at_s for at_s in server.arrived if at_s >= BACK_S], 1.0) <= usual


def test_an_upstream_that_comes_back_meets_no_herd(pointed: Release) -> None:
    server, entries = herd(pointed)
    check_no_herd(server)
    for entry in entries:
        check(entry)
        assert not any(each.answer.decision.degraded for each in between(entry.seen, BACK_S + 5.0, BACK_S + 15.0))


def test_control_without_jitter_they_come_as_a_herd(pointed: Release) -> None:
    server, _ = herd(pointed, jitter=lambda: 0.5)
    with pytest.raises(AssertionError):
        check_no_herd(server)


def test_control_without_a_breaker_they_never_stop_asking(pointed: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Breaker, "failed", lambda self, now_s: None)
    server, _ = herd(pointed)
    with pytest.raises(AssertionError):
        check_no_herd(server)
