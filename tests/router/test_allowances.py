"""Retries stay a tenth of what succeeds; money spent in a day stays within the day's budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.router.allowances import Budget, Retries

DAY_S = 86_400.0


def test_an_outage_is_retried_ten_times_and_no_more() -> None:
    retries = Retries()
    assert sum(retries.take() for _ in range(1_000)) == 10


def test_successes_earn_a_tenth_of_a_retry() -> None:
    retries = Retries()
    while retries.take():
        pass
    for _ in range(55):
        retries.succeeded()
    assert sum(retries.take() for _ in range(100)) == 5


@given(st.lists(st.tuples(st.floats(0, 7_200), st.floats(0.001, 0.5)), max_size=300))
def test_no_day_spends_more_than_its_budget(asked: list[tuple[float, float]]) -> None:
    budget, now_s, spent = Budget(10.0, 0.0), 0.0, []
    for wait_s, price in asked:
        now_s += wait_s
        if budget.take(price, now_s):
            spent.append((now_s, price))
    for start_s, _ in spent:
        assert sum(price for at_s, price in spent if start_s <= at_s < start_s + DAY_S) <= 10.0 + 1e-6


def test_most_of_a_budget_can_be_spent() -> None:
    budget = Budget(10.0, 0.0)
    assert sum(budget.take(0.01, float(now_s)) for now_s in range(0, 86_400, 10)) * 0.01 > 8.6  # of the 10 asked for


def test_pressure_rises_as_it_empties_and_a_clock_set_back_earns_nothing() -> None:
    budget = Budget(24.0, 1_000.0)
    assert budget.pressure(1_000.0) == 0.0
    assert budget.take(0.9, 1_000.0)
    assert budget.pressure(1_000.0) == pytest.approx(0.9)
    assert not budget.take(0.2, 1_000.0)
    assert budget.pressure(0.0) == pytest.approx(0.9)
    assert budget.pressure(10_000.0) == 0.0
