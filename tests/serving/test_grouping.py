"""Which texts share a call: the urgent one always, others where the call then does more a millisecond."""

import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.serving.costs import Costs
from tianti.serving.grouping import choose_group

BATCHES, LENGTHS = (1, 2, 4, 8, 16, 32), (8, 16, 32, 64, 128)
# milliseconds of a call, and of each token in it with and without company: engines of all kinds
engines = st.tuples(st.floats(0.0, 1.0), st.floats(1e-3, 0.1), st.floats(0.05, 1.2))
waiting = st.lists(st.integers(1, 128), min_size=1, max_size=40).map(sorted)


def costs_of(call_ms: float, token_ms: float, company: float, most: int = 32) -> Costs:
    """A token costs `company` of what it costs alone, in the largest batches; in between on the way there."""
    batches = [batch for batch in BATCHES if batch <= most]
    share = [company + (1.0 - company) / batch for batch in batches]
    return Costs(
        batches,
        LENGTHS,
        [
            [call_ms + token_ms * part * batch * length for length in LENGTHS]
            for batch, part in zip(batches, share, strict=True)
        ],
    )


def gain(lengths: Sequence[int], group: range, costs: Costs) -> float:
    """How many times as fast as one by one."""
    alone_ms = sum(costs.call_ms(1, lengths[index]) for index in group)
    return alone_ms / costs.call_ms(len(group), lengths[group[-1]])


def best_gain(lengths: Sequence[int], urgent: int, costs: Costs) -> float:
    """Of all windows there are."""
    windows = (
        range(low, high + 1)
        for low in range(urgent + 1)
        for high in range(urgent, len(lengths))
        if high - low < costs.most
    )
    return max(gain(lengths, window, costs) for window in windows)


@given(waiting, st.integers(0, 39), engines, st.sampled_from(BATCHES))
def test_the_urgent_one_is_in_the_group_and_the_group_is_worth_it(
    lengths: list[int], at: int, engine: tuple[float, float, float], most: int
) -> None:
    urgent, costs = at % len(lengths), costs_of(*engine, most=most)
    group = choose_group(lengths, urgent, costs)
    assert urgent in group
    assert 0 <= group.start < group.stop <= len(lengths)
    assert 1 <= len(group) <= most
    assert gain(lengths, group, costs) >= 1.0 - 1e-9


def test_it_comes_close_to_the_best_of_all_windows() -> None:
    """It looks at as many windows as texts, not at their square; so it may miss the best."""
    chance, shares = random.Random(5), []
    for _ in range(600):
        lengths = sorted(chance.randint(1, 128) for _ in range(chance.randint(1, 40)))
        engine = chance.choice([0.0, chance.random()]), chance.uniform(1e-3, 0.1), chance.uniform(0.05, 1.2)
        urgent, costs = chance.randrange(len(lengths)), costs_of(*engine)
        found = gain(lengths, choose_group(lengths, urgent, costs), costs)
        shares.append(found / best_gain(lengths, urgent, costs))
    assert min(shares) >= 0.7
    assert statistics.mean(shares) >= 0.97


@given(waiting, st.integers(0, 39), st.floats(0.3, 1.0))
def test_no_more_is_padded_than_company_saves(lengths: list[int], at: int, company: float) -> None:
    """Where a call itself costs nothing, all that a group has to give is what a token costs less in company."""
    costs = costs_of(0.0, 0.01, company)
    group = choose_group(lengths, at % len(lengths), costs)
    real = sum(max(lengths[index], LENGTHS[0]) for index in group)  # shorter ones cost as the shortest measured
    padded = len(group) * max(lengths[group[-1]], LENGTHS[0])
    assert padded <= real / company + 1e-6


@given(waiting, st.integers(0, 39), st.floats(1.0, 1.5))
def test_where_company_does_not_pay_each_runs_alone(lengths: list[int], at: int, company: float) -> None:
    urgent = at % len(lengths)
    assert choose_group(lengths, urgent, costs_of(0.0, 0.01, company)) == range(urgent, urgent + 1)


@pytest.mark.parametrize("urgent", [0, 13, 63])
def test_where_a_call_is_what_costs_the_largest_group_is_taken(urgent: int) -> None:
    lengths = sorted([20, 22, 25, 31] * 16)
    assert len(choose_group(lengths, urgent, costs_of(1.0, 1e-4, 0.1))) == 32


def test_a_long_text_is_not_taken_along_by_short_ones_nor_they_by_it() -> None:
    lengths, costs = [8] * 12 + [128] * 2, costs_of(0.05, 0.01, 0.6)
    assert choose_group(lengths, 0, costs) == range(12)
    assert choose_group(lengths, 13, costs) == range(12, 14)


def test_what_pays_only_for_many_is_found_past_what_does_not_for_two() -> None:
    """Two take longer than one and one; eight take half of eight."""
    costs = Costs((1, 2, 8), (8, 16), [[1.0, 1.0], [2.5, 2.5], [4.0, 4.0]])
    assert len(choose_group([8] * 8, 3, costs)) == 8
    assert len(choose_group([8] * 2, 1, costs)) == 1
