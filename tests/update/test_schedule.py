"""Polls spread out: in virtual time, with a fleet."""

import numpy as np
import pytest

from tianti.update.schedule import LONGEST_S, first_wait_s, next_wait_s

POLL_S, FLEET, OUTAGE = 900.0, 100_000, (4 * 3600, 5 * 3600)
UNTIL_S, BIN_S = 16 * 3600, 60


def polls_per_bin(jitter: bool = True, back_at_once: bool = False) -> np.ndarray:
    """How many polls of a fleet that was started at once fall in each minute, with an outage of one hour.

    Without jitter all were started at the same instant: the control.
    """
    random = np.random.default_rng(1)
    chances = random.random((4096,)) if jitter else np.full(4096, 0.5)
    at = np.array([first_wait_s(POLL_S, chance) for chance in random.random(FLEET)]) if jitter else np.zeros(FLEET)
    failures, counts = np.zeros(FLEET, dtype=int), np.zeros(UNTIL_S // BIN_S, dtype=int)
    waits = np.array([[next_wait_s(POLL_S, failed, chance) for chance in chances] for failed in range(8)])
    while (due := at < UNTIL_S).any():
        counts += np.bincount((at[due] // BIN_S).astype(int), minlength=len(counts))
        failed = (at >= OUTAGE[0]) & (at < OUTAGE[1])
        failures = np.where(failed, failures + 1, 0)
        following = at + waits[failures, random.integers(0, len(chances), FLEET)]
        if back_at_once:
            following = np.where(failed, np.maximum(OUTAGE[1], following - 2 * POLL_S), following)
        at = np.where(due, following, at)
    return counts


MEAN = FLEET * BIN_S / POLL_S


def test_after_an_hour_out_the_peak_is_at_most_twice_the_mean() -> None:
    counts = polls_per_bin()
    before, after = counts[: OUTAGE[0] // BIN_S], counts[OUTAGE[1] // BIN_S :]
    assert after.max() <= 2 * MEAN and before.max() <= 2 * MEAN
    assert after[-240:].mean() == pytest.approx(MEAN, rel=0.03)  # all of them came back


@pytest.mark.parametrize("kind", [{"jitter": False}, {"back_at_once": True}])
def test_control_without_jitter_or_when_all_come_back_at_once_it_is_more(kind: dict[str, bool]) -> None:
    assert polls_per_bin(**kind)[OUTAGE[1] // BIN_S :].max() > 4 * MEAN


def test_waits_are_within_a_fifth_and_grow_to_four_hours() -> None:
    assert [next_wait_s(900, 0, chance) for chance in (0, 0.5, 1)] == pytest.approx([720, 900, 1080])
    waits = [next_wait_s(900, failures, 0.5) for failures in range(100)]
    assert waits[:4] == pytest.approx([900, 1800, 3600, 7200])
    assert waits == sorted(waits) and waits[-1] == pytest.approx(LONGEST_S)
    assert next_wait_s(86_400, 9, 0.5) == pytest.approx(86_400)  # back-off never asks more often
    assert (first_wait_s(900, 0), first_wait_s(900, 0.5)) == (0, 450)
