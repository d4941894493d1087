"""What a trial concludes from counts: kept, taken back at once, or not told yet; chance alone takes none back."""

import random

import pytest

from tianti.update.trial import ANSWERS, PROVED_S, Counts, judge

USUAL = Counts(answers=1000, unsure=200, p50_ms=1.0, p95_ms=2.0)


def test_enough_answers_prove_it_and_enough_time_with_one() -> None:
    assert judge(Counts(answers=ANSWERS - 1, unsure=20), USUAL).step == "wait"
    assert judge(Counts(answers=ANSWERS, unsure=20), USUAL).step == "prove"
    assert judge(Counts(answers=1, served_s=PROVED_S), USUAL).step == "prove"
    assert judge(Counts(answers=0, served_s=1e9), USUAL).step == "wait"  # nobody has asked it anything
    assert judge(Counts(answers=ANSWERS, unsure=ANSWERS), None).step == "prove"  # the first of all


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (Counts(failed=3), "failed on 3"),
        (Counts(answers=ANSWERS, failed=5), "failed on 5"),
        (Counts(answers=60, p95_ms=17.0), "17.0 ms"),
        (Counts(answers=60, unsure=60), "unsure of 100.0%"),
    ],
)
def test_a_fault_takes_it_back_before_it_is_proved(now: Counts, why: str) -> None:
    verdict = judge(now, USUAL)
    assert verdict.step == "revert" and why in verdict.reason


@pytest.mark.parametrize(
    "now",
    [
        Counts(answers=10, failed=2),  # the texts' fault, perhaps
        Counts(answers=60, p95_ms=15.0),
        Counts(answers=40, p95_ms=500.0, unsure=40),  # too few to tell
        Counts(answers=60, unsure=14, degraded=14),  # as many as usual: the network is out, no more
    ],
)
def test_what_is_no_fault(now: Counts) -> None:
    assert judge(now, USUAL).step == "wait"


def test_a_forerunner_that_failed_as_often_is_no_reason() -> None:
    assert judge(Counts(answers=90, failed=5), Counts(answers=1000, failed=60)).step == "wait"


def test_chance_alone_takes_nothing_back() -> None:
    """A release exactly as unsure as the one before it, judged after each answer: 1,000 trials."""
    chance = random.Random(6)
    for _ in range(1000):
        now = Counts()
        while (verdict := judge(now, USUAL)).step == "wait":
            now.answers += 1
            now.unsure += chance.random() < 0.2
        assert verdict.step == "prove"
