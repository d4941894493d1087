"""A rollout's next step, decided in virtual time."""

from typing import Any

from tianti.fleet import Known, Met, Plan, Step, Terms, Told, Verdict, decide_step, next_step
from tianti.package import Beside, Report
from tianti.spec import Tier

NEW, OLD = "a" * 64, "b" * 64
STEPS = (Step(2_000), Step(100_000), Step(1_000_000))
TERMS = Terms(dwell_s=100)


def plan_at(at: int, steps: tuple[Step, ...] = STEPS, since_s: int = 0) -> Plan:
    return Plan(steps=steps, at=at, since_s=since_s, terms=TERMS)


def decide(plan: Plan, now_s: int = 1_000, **more: Any) -> Verdict:
    return decide_step(Known(release=NEW, plan=plan, **{"devices": 1_000_000} | more), now_s)


def node(name: str, holds: tuple[str, ...], heard_s: int) -> Told:
    report = Report(
        device=name, product="p", channel="c", tier=Tier.EDGE, number=1, at_s=0, runtime="1", holds=holds
    )  # fmt: skip
    return Told(report, name, heard_s)


def fates(activated: int, failed: int, sources: int = 4, groups: int = 8) -> list[Met]:
    parts = sources * groups
    return [
        Met(str(source), str(group), fate, count // parts)
        for source in range(sources)
        for group in range(groups)
        for fate, count in (("activated", activated), ("reverted", failed))
    ]  # type: ignore[misc]


def audits(
    texts: int = 8_000, kept: int = 4_000, agreeing: int = 3_900, audited: int = 2_000, differing: int = 4
) -> Any:
    part = Beside(
        texts=texts // 4, kept=kept // 4, agreeing=agreeing // 4, audited=audited // 4, differing=differing // 4
    )  # fmt: skip
    return dict.fromkeys("abcd", part)


def test_the_first_step_waits_for_the_nodes_above() -> None:
    lags = [node("e1", (OLD,), 900), node("e2", (OLD, NEW), 900)]
    held = decide(plan_at(-1), nodes=lags)
    assert held == Verdict("hold", "1 of 2 nodes above do not hold it yet, such as e1")
    assert decide(plan_at(-1), nodes=[lags[1], node("e1", (OLD, NEW), 950)]).step == "advance"


def test_a_node_that_fell_silent_is_not_waited_for() -> None:
    lags = [node("e1", (OLD,), 900)]
    assert decide(plan_at(-1), now_s=900 + 3_599, nodes=lags).step == "hold"
    assert decide(plan_at(-1), now_s=900 + 3_600, nodes=lags).step == "advance"


def test_a_healthy_ring_advances_and_a_bad_one_is_halted() -> None:
    assert decide(plan_at(0), fates=fates(2_016, 0)).step == "advance"
    assert decide(plan_at(0), fates=fates(1_792, 224)).step == "halt"
    assert decide(plan_at(0), now_s=50, fates=fates(2_016, 0)).step == "hold"  # it has not dwelled
    assert decide(plan_at(0), now_s=50, fates=fates(1_792, 224)).step == "halt"  # that does not matter


def test_releases_that_are_still_on_trial_say_nothing() -> None:
    staged = [Met(name, name, fate, 9_000) for name in "abcd" for fate in ("trial", "staged")]  # type: ignore[arg-type]
    assert decide(plan_at(0), fates=staged).step == "hold"


def test_devices_on_trial_speak_against_a_halt() -> None:
    trials = [met._replace(fate="trial") for met in fates(16_000, 0) if met.fate == "activated"]
    few = fates(0, 32)
    assert decide(plan_at(0), fates=few).step == "halt"
    assert decide(plan_at(0), fates=[*few, *trials]).step == "hold"


def test_a_small_fleet_goes_by_dwell_and_promote() -> None:
    few = {"devices": 300, "fates": fates(32, 0)}
    assert "an operator promotes" in decide(plan_at(0), **few).reason


def test_only_the_devices_that_a_step_adds_can_tell_something_new() -> None:
    narrow = (Step(500_000), Step(500_100), Step(1_000_000))
    assert "100 devices are too few" in decide(plan_at(1, narrow)).reason
    assert "500100 devices" not in decide(plan_at(0, narrow)).reason


def test_a_rollout_that_is_halted_or_done_stays() -> None:
    assert decide(plan_at(0), halted=True, fates=fates(2_016, 0)) == Verdict("hold", "it is halted")
    assert decide(plan_at(2), fates=fates(2_016, 0)) == Verdict("hold", "it has taken its last step")
    assert decide(plan_at(2), fates=fates(1_792, 224)).step == "halt"


SHADOW = (Step(10_000, shadow=True), *STEPS)


def test_a_shadow_ring_advances_by_audits_and_texts() -> None:
    assert decide(plan_at(0, SHADOW), bound=0.01, beside=audits()).step == "advance"
    assert decide(plan_at(0, SHADOW), now_s=50, bound=0.01, beside=audits()).step == "hold"
    few = decide(plan_at(0, SHADOW), bound=0.01, beside=audits(texts=400, kept=200, agreeing=200))
    assert few == Verdict("hold", "expected 500 texts, got 400")
    assert decide(plan_at(0, SHADOW), bound=0.01, beside=audits(audited=400)).step == "hold"


def test_a_shadow_ring_is_halted_where_audits_contradict_the_certificate() -> None:
    verdict = decide(plan_at(0, SHADOW), bound=0.01, beside=audits(differing=120))
    assert verdict.step == "halt"
    assert "120 of 2000 audited answers" in verdict.reason
    assert decide(plan_at(0, SHADOW), bound=0.05, beside=audits(differing=100)).step != "halt"  # that one is allowed it


def test_a_shadow_that_answers_otherwise_takes_an_operator() -> None:
    other = {"bound": 0.01, "beside": audits(agreeing=2_000)}
    assert decide(plan_at(0, SHADOW), **other).reason == "2000 of 4000 answers are as they were: an operator promotes"


def test_without_a_certificate_a_shadow_takes_an_operator() -> None:
    assert "an operator promotes" in decide(plan_at(0, SHADOW), beside=audits()).reason


def test_a_whole_healthy_rollout_in_virtual_time() -> None:
    plan, now_s, taken = plan_at(-1, SHADOW), 0, []
    while not plan.done:
        told = {"fates": fates(2_016, 0)} if now_s - plan.since_s >= 60 else {}
        verdict = decide(plan, now_s, bound=0.01, beside=audits(), **told)
        if verdict.step == "advance":
            plan = next_step(plan, now_s)
            taken.append((plan.at, now_s))
        assert verdict.step != "halt"
        now_s += 10
    assert taken == [(0, 0), (1, 100), (2, 200), (3, 300)]


def test_few_edges_alone_never_advance_a_ring_but_their_devices_halt_it() -> None:
    for sources in (1, 2):
        assert decide(plan_at(0), fates=fates(4_000, 0, sources)).step == "hold"
        assert decide(plan_at(0), fates=fates(0, 4_000, sources)).step == "halt"
        assert decide(plan_at(0), fates=fates(0, 4_000, sources, groups=2)).step == "hold"  # hardly more than devices


def test_where_there_are_enough_edges_one_alone_does_not_halt() -> None:
    healthy = [met._replace(source=f"ok-{met.source}") for met in fates(2_016, 0)]
    assert decide(plan_at(0), fates=[*healthy, *fates(0, 4_000, sources=1)]).step != "halt"
