"""A ring's guard in virtual time: healthy releases pass, regressions halt, and no single source decides."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tianti.errors import UsageError
from tianti.fleet import Count, Terms, Verdict, guard, judge

WINDOW = 20  # reports between two looks at the ring
REPORTS_A_SECOND = 0.1
MILLION = 10**6
counts = st.dictionaries(
    st.sampled_from("abcd"), st.builds(Count, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
)


def looks(rng: np.random.Generator, rate: float, reports: int, sources: int) -> Iterator[tuple[int, dict[str, Count]]]:
    """What is known after each window: devices report to sources at random and fail at this rate."""
    known = {str(source): Count() for source in range(sources)}
    at = rng.integers(0, sources, reports).tolist()
    fails = (rng.random(reports) < rate).tolist()
    for seen, (source, failed) in enumerate(zip(map(str, at), fails, strict=True), start=1):
        known[source] = Count(known[source].activated + 1, known[source].failed + failed)
        if seen % WINDOW == 0:
            yield seen, known


def ring(
    rng: np.random.Generator,
    rate: float,
    *,
    reports: int = 4_000,
    sources: int = 20,
    lies: dict[str, Count] | None = None,
) -> tuple[int, str]:
    """After how many reports a ring ended, and how; `hold` where it never did."""
    for seen, told in looks(rng, rate, reports, sources):
        now_s = seen / REPORTS_A_SECOND
        step = judge(told | (lies or {}), devices=10_000, since_s=0, now_s=now_s).step
        if step != "hold":
            return seen, step
    return reports, "hold"


@pytest.mark.parametrize("sources", [3, 20])
def test_2000_healthy_rollouts_are_never_halted(sources: int) -> None:
    rng = np.random.default_rng(1)
    ends = [ring(rng, 0.005, reports=2_000, sources=sources)[1] for _ in range(1_000)]
    assert ends.count("halt") == 0
    assert ends.count("advance") >= 850


def test_a_regression_to_four_times_the_failures_is_halted_soon() -> None:
    rng = np.random.default_rng(2)
    ends = [ring(rng, 0.02, sources=200) for _ in range(1_500)]
    halted = [seen for seen, step in ends if step == "halt"]
    assert len(halted) >= 0.99 * len(ends)  # all but `beta`
    assert np.quantile(halted, 0.95) <= 1_600


@pytest.mark.parametrize("lie", [Count(MILLION, MILLION), Count(500, 30), Count(10, 10)])
def test_one_lying_source_cannot_halt_a_healthy_release(lie: Count) -> None:
    """It saves the others a third of the way, which chance goes alone in fewer than 5 of 1,000 rollouts."""
    rng = np.random.default_rng(3)
    ends = [ring(rng, 0.005, reports=2_000, lies={"liar": lie})[1] for _ in range(400)]
    assert ends.count("halt") <= 2


@pytest.mark.parametrize("lie", [Count(MILLION, 0), Count(2_000, 1)])
def test_one_lying_source_cannot_promote_a_bad_release(lie: Count) -> None:
    """The honest ones alone pass one with probability `beta`, 1 in 100; a liar makes it no more, but for chance."""
    rng = np.random.default_rng(4)
    ends = [ring(rng, 0.02, lies={"liar": lie})[1] for _ in range(400)]
    assert ends.count("advance") <= 8
    assert ends.count("halt") >= 390


@pytest.mark.parametrize(("rate", "lie", "end"), [(0.005, MILLION, "halt"), (0.02, 0, "advance")])
def test_a_plain_sum_lets_one_source_decide(monkeypatch: pytest.MonkeyPatch, rate: float, lie: int, end: str) -> None:
    """The control: without the cap, the same lies do both."""
    monkeypatch.setattr(guard, "_halts", lambda evidence, terms: sum(evidence) >= terms.halts_at)
    monkeypatch.setattr(guard, "_passes", lambda evidence, terms: sum(evidence) <= terms.passes_at)
    rng = np.random.default_rng(5)
    ends = [ring(rng, rate, lies={"liar": Count(MILLION, lie)})[1] for _ in range(20)]
    assert ends.count(end) >= 15


@pytest.mark.parametrize("sources", [1, 2])
def test_two_sources_do_not_end_the_test_and_three_do(sources: int) -> None:
    for told, end in ((Count(1_000, 500), "halt"), (Count(1_000, 0), "advance")):
        few = {str(source): told for source in range(sources)}
        three = {str(source): told for source in range(3)}
        assert judge(few, devices=10_000, since_s=0, now_s=1e6).step == "hold"
        assert judge(three, devices=10_000, since_s=0, now_s=1e6).step == end


def test_a_third_source_must_say_the_same() -> None:
    clean, failing = Count(1_000, 0), Count(1_000, 500)
    assert judge({"a": failing, "b": failing, "c": Count(1, 0)}, devices=10_000, since_s=0, now_s=1e6).step == "hold"
    assert judge({"a": clean, "b": clean, "c": Count(9, 1)}, devices=10_000, since_s=0, now_s=1e6).step == "hold"


CLEAN = {str(source): Count(1_000, 0) for source in range(5)}
FAILING = {str(source): Count(100, 50) for source in range(5)}


def test_an_advance_takes_its_time() -> None:
    assert judge(CLEAN, devices=10_000, since_s=0, now_s=3_599) == Verdict("hold", "1 s of 3600 s are left")
    assert judge(CLEAN, devices=10_000, since_s=0, now_s=3_600).step == "advance"
    assert judge(CLEAN, devices=10_000, since_s=0, now_s=-1e6).step == "hold"  # a clock that was set back


def test_one_source_cannot_stop_an_advance() -> None:
    told = CLEAN | {"liar": Count(MILLION, MILLION)}
    assert judge(told, devices=10_000, since_s=0, now_s=1e6).step == "advance"


def test_a_halt_takes_none() -> None:
    assert judge(FAILING, devices=10_000, since_s=0, now_s=0).step == "halt"


def test_an_advance_takes_enough_reports_of_others_than_the_largest() -> None:
    told = {str(source): Count(100, 0) for source in range(5)} | {"large": Count(MILLION, 0)}
    short = told | {"0": Count(99, 0)}
    assert judge(told, devices=10_000, since_s=0, now_s=1e6).step == "advance"
    assert "got 499" in judge(short, devices=10_000, since_s=0, now_s=1e6).reason


def test_a_small_fleet_goes_by_time_and_an_operator() -> None:
    told = {str(source): Count(10, 0) for source in range(4)}
    assert "operator" in judge(told, devices=40, since_s=0, now_s=1e9).reason
    assert judge(FAILING, devices=40, since_s=0, now_s=0).step == "halt"  # which takes none of either


@given(counts)
def test_more_failures_than_devices_are_as_many_as_devices(told: dict[str, Count]) -> None:
    clipped = {source: replace(count, failed=min(count.activated, count.failed)) for source, count in told.items()}
    assert judge(told, devices=10**4, since_s=0, now_s=1e6) == judge(clipped, devices=10**4, since_s=0, now_s=1e6)


@pytest.mark.parametrize("wrong", [{"p0": 0.0}, {"p0": 0.02}, {"p1": 1.0}, {"alpha": 0.0}, {"beta": 0.5}])
def test_terms_out_of_order_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected 0 < p0 < p1 < 1"):
        Terms(**wrong)


def test_devices_on_trial_speak_against_a_halt_and_not_for_an_advance() -> None:
    """What fails is known before what does not: of 1,000 that began, 12 have failed and no other is through."""
    early = {str(source): Count(3, 3, began=250) for source in range(4)}
    assert judge(early, devices=10_000, since_s=0, now_s=0).step == "hold"
    assert judge({name: Count(3, 3) for name in early}, devices=10_000, since_s=0, now_s=0).step == "halt"
    trying = {str(source): Count(1, 0, began=1_000) for source in range(4)}
    assert "got 3" in judge(trying, devices=10_000, since_s=0, now_s=1e6).reason


@pytest.mark.parametrize(("failed", "step"), [(1, "halt"), (0, "hold")])
def test_three_devices_of_three_that_fail_are_enough_to_halt(failed: int, step: str) -> None:
    told = {str(source): Count(1, failed) for source in range(3)}
    assert judge(told, devices=5, since_s=0, now_s=0).step == step
    two = told | {"0": Count(1, 0)}
    assert judge(two, devices=5, since_s=0, now_s=0).step == "hold"
