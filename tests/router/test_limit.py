"""The concurrency limit against a simulated upstream: finds its capacity, backs off, comes back, never queues."""

import heapq

import pytest

from tianti.router.limit import FIRST, LEAST, MOST, Limit


class Server:
    """Serves `slots` requests at a time, each in `service_s`; what is more waits in a queue of its own."""

    def __init__(self, slots: int, service_s: float = 0.02) -> None:
        self.slots, self.service_s = slots, service_s
        self.free_at: list[float] = []

    def answer_at(self, now_s: float) -> float:
        while self.free_at and self.free_at[0] <= now_s:
            heapq.heappop(self.free_at)
        begins = now_s if len(self.free_at) < self.slots else heapq.heappop(self.free_at)
        heapq.heappush(self.free_at, begins + self.service_s)
        return begins + self.service_s


def drive(limit: Limit, server: Server, per_s: float, seconds: float, from_s: float = 0.0) -> tuple[list[float], int]:
    """Offer a steady stream; gives the times that the admitted took, and how many were refused."""
    done: list[tuple[float, float]] = []
    took, refused = [], 0
    for number in range(int(per_s * seconds)):
        now_s = from_s + number / per_s
        while done and done[0][0] <= now_s:
            at_s, took_s = heapq.heappop(done)
            limit.left(took_s, at_s)
        if not limit.enter():
            refused += 1
            continue
        ends_s = server.answer_at(now_s)
        took.append(ends_s - now_s)
        heapq.heappush(done, (ends_s, ends_s - now_s))
    while done:
        at_s, took_s = heapq.heappop(done)
        limit.left(took_s, at_s)
    return took, refused


def test_it_refuses_past_its_limit_and_counts_what_left() -> None:
    limit = Limit()
    entered = sum(limit.enter() for _ in range(20))
    assert entered == FIRST
    assert limit.use == 1.0
    limit.left(0.01, 0.01)
    assert limit.enter() and not limit.enter()


def test_it_grows_where_the_upstream_can_take_more() -> None:
    limit = Limit(jitter=lambda: 0.5)
    _, refused = drive(limit, Server(slots=40), per_s=1_500, seconds=10.0)  # 30 are under way on average
    assert limit.limit > 30
    assert refused < 0.1 * 15_000


def test_overload_is_refused_instead_of_queued() -> None:
    """Three times what the upstream can do: those that are let in take about as long as ever."""
    limit = Limit(jitter=lambda: 0.5)
    took, refused = drive(limit, Server(slots=8), per_s=1_200, seconds=20.0)  # 400 a second are possible
    late = sorted(took[len(took) // 4 :])
    assert late[-1] < 4 * 0.02
    assert len(took) > 0.8 * 400 * 20  # and the upstream is kept busy
    assert refused > 0


def test_without_a_limit_the_same_load_waits_for_ever_longer() -> None:
    """The negative control."""
    limit = Limit()
    limit.limit = 1e9
    limit.left = lambda took_s, now_s: None  # type: ignore[method-assign]
    took, _ = drive(limit, Server(slots=8), per_s=1_200, seconds=20.0)
    assert took[-1] > 10.0


def test_failures_shrink_it_and_never_below_the_least() -> None:
    limit = Limit()
    for _ in range(100):
        assert limit.enter()
        limit.left(None, 0.0)
    assert limit.limit == LEAST
    assert limit.in_flight == 0


def test_a_network_that_became_slower_is_not_taken_for_overload_for_ever() -> None:
    limit = Limit(jitter=lambda: 0.5)
    drive(limit, Server(slots=64, service_s=0.01), per_s=1_000, seconds=5.0)
    drive(limit, Server(slots=64, service_s=0.05), per_s=600, seconds=90.0, from_s=5.0)  # 30 under way
    _, refused = drive(limit, Server(slots=64, service_s=0.05), per_s=600, seconds=20.0, from_s=95.0)
    assert refused < 0.15 * 600 * 20


def test_a_limit_that_nobody_needs_does_not_grow() -> None:
    limit = Limit()
    drive(limit, Server(slots=64), per_s=20, seconds=30.0)
    assert limit.limit <= FIRST


@pytest.mark.parametrize("took_s", [0.0, 1e-9, 1e6])
def test_any_time_keeps_it_in_bounds(took_s: float) -> None:
    limit = Limit()
    for number in range(500):
        assert limit.enter()
        limit.left(took_s, number * 0.05)
        assert LEAST <= limit.limit <= MOST


def test_a_clock_that_was_set_back_neither_stops_it_nor_spoils_the_best_time() -> None:
    limit = Limit(jitter=lambda: 0.5)
    drive(limit, Server(slots=40), per_s=400, seconds=5.0, from_s=3600.0)
    assert limit.enter()
    limit.left(-3599.0, 5.0)  # it was set back by an hour while this one was under way
    took, _ = drive(limit, Server(slots=40), per_s=1_500, seconds=20.0, from_s=5.0)
    assert limit.limit > 30  # 30 are under way on average
    assert max(took) < 4 * 0.02
