"""Whole rollouts in virtual time: what a bad release reaches, who comes back from it, and that a good one arrives."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fleet import simulation
from tests.fleet.simulation import MILLION, WINDOW_S, halt, places_of, roll_out
from tianti.fleet import Count, Terms, guard, parse_steps

LARGE = parse_steps(["0.2%", "5%", "25%", "100%"])
MIDDLE = parse_steps(["10%", "25%", "50%", "100%"])
SMALL = parse_steps(["5 devices", "5%", "25%", "100%"], enrolled=300)
LONGEST_WAIT_S = 900 * 1.2
HEALTHY = 0.005


@pytest.fixture(scope="module")
def million() -> NDArray[np.int64]:
    return places_of(MILLION)


@pytest.fixture(scope="module")
def middle() -> NDArray[np.int64]:
    return places_of(20_000)


@pytest.fixture(scope="module")
def small() -> NDArray[np.int64]:
    return places_of(300)


@pytest.mark.parametrize("failing", [0.02, 0.5])
def test_of_a_million_a_bad_release_reaches_the_first_ring_and_all_come_back(
    million: NDArray[np.int64], failing: float
) -> None:
    ended = roll_out(million, steps=LARGE, failing=failing, seed=1, sources=1_000, watched=100)
    assert (ended.how, ended.step) == ("halted", 0)
    assert ended.exposed <= ended.ring < 0.0022 * MILLION
    assert ended.left == 0
    assert ended.whole_s - ended.at_s <= LONGEST_WAIT_S + WINDOW_S


def test_a_halt_that_takes_nothing_back_leaves_devices_on_the_bad_release(million: NDArray[np.int64]) -> None:
    """The control: those on which it does not fail would keep it until an operator comes."""
    ended = roll_out(million, steps=LARGE, failing=0.5, seed=1, sources=1_000, hours=3, stop=halt)
    assert ended.how == "halted"
    assert ended.left > 0.2 * ended.exposed


def test_without_a_guard_a_bad_release_reaches_everybody(
    middle: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_halts", lambda evidence, terms: False)
    ended = roll_out(middle, steps=MIDDLE, failing=0.02, seed=1, operator=lambda now_s: True)
    assert (ended.how, ended.exposed) == ("done", len(middle))


def test_a_good_release_arrives_everywhere_in_as_many_hours_as_steps(middle: NDArray[np.int64]) -> None:
    ends = [roll_out(middle, steps=MIDDLE, failing=HEALTHY, seed=seed, watched=3) for seed in range(12)]
    assert {ended.how for ended in ends} == {"done"}
    assert all(ended.exposed == len(middle) for ended in ends)
    assert max(ended.at_s for ended in ends) <= len(MIDDLE) * (Terms().dwell_s + 3 * WINDOW_S)


def test_a_good_release_is_halted_where_devices_on_trial_are_not_counted(
    million: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the few that fail tell so at once, the others ten minutes later."""
    monkeypatch.setattr(simulation, "Count", lambda activated, failed, began: Count(activated, failed))
    assert roll_out(million, steps=LARGE[1:], failing=HEALTHY, seed=1, sources=1_000, hours=3).how == "halted"


def test_of_300_a_release_that_fails_everywhere_is_halted_after_a_handful(small: NDArray[np.int64]) -> None:
    ends = [roll_out(small, steps=SMALL, failing=1.0, seed=seed, sources=16, watched=300) for seed in range(20)]
    assert all(ended.exposed <= ended.ring <= 8 and ended.left == 0 for ended in ends)
    assert [ended.how for ended in ends].count("halted") >= 18  # the others never left the first step


def test_a_handful_of_failures_halts_nothing_without_the_test_of_gross_ones(
    small: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_gross", lambda terms: terms)
    assert roll_out(small, steps=SMALL, failing=1.0, seed=1, sources=16).how == "hold"


def test_300_good_devices_go_by_time_and_an_operator(small: NDArray[np.int64]) -> None:
    alone = roll_out(small, steps=SMALL, failing=0.0, seed=1, sources=16)
    assert (alone.how, alone.step) == ("hold", 0)
    asked = roll_out(small, steps=SMALL, failing=0.0, seed=1, sources=16, operator=lambda now_s: True)
    assert (asked.how, asked.left) == ("done", 300)
    assert asked.at_s >= len(SMALL) * Terms().dwell_s


def test_a_device_that_chooses_for_itself_as_the_many_do_not_is_found(small: NDArray[np.int64]) -> None:
    """The control of the arrays: places of other devices."""
    with pytest.raises(AssertionError, match="chooses"):
        roll_out(small[::-1].copy(), steps=MIDDLE, failing=0.0, seed=1, watched=300)
