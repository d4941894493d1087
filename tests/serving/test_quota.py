"""Each caller's share, in virtual time."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tianti.errors import QuotaError, UsageError
from tianti.serving.models import Models
from tianti.serving.quota import Quota
from tianti.serving.settings import Peers
from tianti.serving.shares import Shares


def taken(quota: Quota, counts: Sequence[tuple[float, int]], per_s: float = 10.0, client: str = "shop") -> int:
    """How many texts of (when, how many) were let through."""
    total = 0
    for at_s, count in counts:
        try:
            quota.take(client, per_s, count, at_s)
        except QuotaError:
            continue
        total += count
    return total


@pytest.mark.parametrize("batch", [1, 3, 10, 64])
def test_in_a_minute_one_gets_its_share_however_it_asks(batch: int) -> None:
    asked = [(i / 100, batch) for i in range(6000)]
    assert 600 <= taken(Quota(), asked) <= 600 + 10 + batch


def test_control_without_a_share_all_is_let_through() -> None:
    assert taken(Quota(), [(i / 100, 1) for i in range(6000)], per_s=1e9) == 6000


def test_one_callers_hunger_is_not_anothers() -> None:
    quota = Quota()
    assert taken(quota, [(0.0, 1)] * 1000, client="greedy") == 10
    assert taken(quota, [(0.0, 1)] * 5, client="modest") == 5


@pytest.mark.parametrize(("per_s", "count"), [(10.0, 1), (10.0, 64), (0.1, 1), (3.0, 2)])
def test_after_the_time_that_is_told_there_is_room(per_s: float, count: int) -> None:
    quota, now_s = Quota(), 1e6
    for _ in range(50):
        try:
            quota.take("shop", per_s, count, now_s)
        except QuotaError as error:
            assert error.retry_after_s > 0.0 and "shop" in str(error)
            now_s += error.retry_after_s
            quota.take("shop", per_s, count, now_s)


def test_a_clock_that_is_set_back_gives_nothing_and_locks_nobody_out() -> None:
    quota = Quota()
    assert taken(quota, [(1000.0, 10), (0.0, 1), (0.05, 1), (0.2, 1)]) == 11


def test_memory_is_bounded_and_those_who_ask_are_kept() -> None:
    quota = Quota(clients=100)
    assert taken(quota, [(0.0, 10)]) == 10
    for i in range(1000):
        quota.take(f"n{i}", 10.0, 1, 0.0)
        assert taken(quota, [(0.0, 1)]) == 0
    assert len(quota._buckets) == 100


def taken_of_processes(run: Path | None, connections: int, count: int = 4, seconds: int = 60) -> int:
    """What one caller gets that asks each of its connections 25 times a second; each comes to a process of its own."""
    quotas = [Quota() for _ in range(count)]
    shares = [] if run is None else [Shares(Peers(run, number), quota) for number, quota in enumerate(quotas)]
    total = 0
    for step in range(25 * seconds):
        total += sum(taken(quota, [(step / 25, 1)]) for quota in quotas[:connections])
        if step % 6 == 0:
            for each in shares:
                each.exchange(step / 25)
    return total


def test_a_caller_gets_its_quota_however_many_processes_it_reaches(tmp_path: Path) -> None:
    few, many = (tmp_path / name for name in ("few", "many"))
    few.mkdir(), many.mkdir()
    assert 600 <= taken_of_processes(few, connections=1) <= 620
    assert 600 * 0.9 <= taken_of_processes(many, connections=4) <= 600 + 4 * 10 + 10


def test_control_processes_that_do_not_tell_each_other_give_as_many_quotas() -> None:
    assert taken_of_processes(None, connections=4) >= 4 * 600


def test_one_that_takes_a_dead_ones_place_does_not_count_what_was_given_before_it_came(tmp_path: Path) -> None:
    old, fresh = Quota(), Quota()
    others = Shares(Peers(tmp_path, 1), old)
    assert taken(old, [(float(at_s), 10) for at_s in range(100)]) == 1000
    others.exchange(99.0)
    shares = Shares(Peers(tmp_path, 0), fresh)
    shares.exchange(99.0)
    assert taken(fresh, [(99.0, 1)] * 20) == 10
    assert taken(old, [(100.0, 4)]) == 4  # and what is given from then on is counted
    others.exchange(100.0)
    shares.exchange(100.0)
    assert taken(fresh, [(100.0, 1)] * 20) == 6


@pytest.mark.parametrize("per_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_quota_that_nobody_can_be_given_is_refused(per_s: float) -> None:
    with pytest.raises(UsageError, match="quota: expected texts a second above 0"):
        Models(per_s)


def test_one_that_takes_a_dead_ones_place_is_heard_anew(tmp_path: Path) -> None:
    one, two = Quota(), Quota()
    ours, theirs = Shares(Peers(tmp_path, 0), one), Shares(Peers(tmp_path, 1), two)
    two.take("shop", 10.0, 9, 0.0)
    theirs.exchange(0.0)
    ours.exchange(0.0)
    assert taken(one, [(0.0, 1)] * 5) == 1
    replaced = Quota()
    replaced.take("shop", 10.0, 4, 1.0)
    Shares(Peers(tmp_path, 1), replaced).exchange(1.0)
    ours.exchange(1.0)
    assert taken(one, [(1.0, 1)] * 20) == 6
