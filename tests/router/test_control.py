"""The entry node's control over all requests: points under pressure and budget, audits and their alarms, its status."""

import logging
import random

import msgspec
import pytest

from tests.router.virtual import answer_of
from tianti import spec
from tianti.errors import UsageError
from tianti.router import Policy
from tianti.router.control import Control
from tianti.spec import Certificate, Level, Reason, Tier

PRICES = {"edge": 20.0, "cloud": 180.0}  # so that a request to the cloud costs .2


def make_certificate(alphas: tuple[float, ...] = (0.005, 0.01, 0.02), disagreeing: int | None = 15) -> Certificate:
    """Points of 2,000 rows; the k-th disagreed with the cloud on (k + 1) times as many."""
    path = tuple(
        spec.Tested(
            device=0.9 - 0.1 * step,
            edge=0.9 - 0.1 * step,
            harmful=0,
            disagreeing=None if disagreeing is None else disagreeing * (step + 1),
        )
        for step in range(len(alphas))
    )
    levels = tuple(
        Level(alpha=alpha, point=step, share=dict.fromkeys(Tier, 1 / 3)) for step, alpha in enumerate(alphas)
    )
    return Certificate(risk="harm", confidence=0.95, n=2000, path=path, levels=levels, out_of_scope_share=0.0, bound={})


def make(policy: Policy | None = None, certificate: Certificate | None = None, seed: int = 0) -> Control:
    chance = random.Random(seed).random
    return Control(certificate or make_certificate(), policy or Policy(), PRICES, 0.0, chance)


def test_the_default_point_is_one_per_cent_and_stays() -> None:
    control = make()
    assert {control.point(1.0, float(now_s)) for now_s in range(60)} == {(0.01, True)}
    assert control.status().mean_bound == pytest.approx(0.01)


def test_a_load_step_moves_to_the_cheaper_point_within_five_seconds_and_back() -> None:
    control = make(Policy(laxest=0.02))
    seen = [control.point(1.0 if 100 <= step < 300 else 0.2, step / 10)[0] for step in range(500)]
    assert set(seen[:100]) == {0.01}
    assert 0.02 in seen[100:150]
    assert set(seen[150:300]) == {0.02}
    assert set(seen[360:]) == {0.01}
    bound = control.status().mean_bound
    assert bound is not None and 0.013 < bound < 0.016  # 20 to 25 of 50 seconds at twice the alpha


def test_battery_and_heat_press_like_load() -> None:
    control = make(Policy(laxest=0.02))
    control.press("battery", 0.9)
    assert control.point(0.0, 0.0) == (0.01, True)
    assert control.point(0.0, 2.0) == (0.02, True)
    assert control.status().pressure == {"battery": 0.9, "load": 0.0}
    with pytest.raises(UsageError, match="battery"):
        control.press("battery", 1.1)


def test_a_budget_that_runs_out_presses_and_then_refuses() -> None:
    control = make(Policy(laxest=0.02, per_day=24.0))  # an hour's worth is 1.0: five requests to the cloud
    paid = [control.reserve(0.0) for _ in range(7)]
    assert paid == [True] * 5 + [False] * 2
    control.point(0.0, 0.0)
    assert control.point(0.0, 2.0) == (0.02, True)
    control.settle(answer_of(Tier.EDGE), 2.0)  # which cost .02, not .2
    assert not control.reserve(2.0)
    control.settle(answer_of(Tier.EDGE), 2.0)
    assert control.reserve(2.0)


def test_the_coin_falls_as_often_as_asked_for_and_never_without_a_certificate() -> None:
    control = make(Policy(audits=0.05))
    assert sum(control.coin() for _ in range(20_000)) == pytest.approx(1_000, abs=100)
    assert not any(make(Policy(audits=1.0), make_certificate(())).coin() for _ in range(100))
    assert not any(make(Policy(audits=0.0)).coin() for _ in range(1_000))


def audit(control: Control, risk: float, times: int, rng: random.Random) -> None:
    for _ in range(times):
        point, _ = control.point(0.0, 0.0)
        assert point is not None
        control.audited(point, rng.random() < risk)


def test_disagreement_as_certified_raises_no_alarm() -> None:
    control = make()
    audit(control, 0.01, 5_000, random.Random(1))
    status = control.status()
    assert (status.point, status.alarms, status.audited) == (0.01, [], 5_000)
    assert status.audit_bound is not None and 0.015 < status.audit_bound < 0.03


def test_disagreement_beyond_it_moves_to_a_stricter_point_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    control = make(Policy(laxest=0.02))
    with caplog.at_level(logging.WARNING, "tianti"):
        rng = random.Random(2)
        for _ in range(2_000):
            if control.status().alarms:
                break
            audit(control, 0.08, 1, rng)
    assert control.point(1.0, 1e6) == control.point(1.0, 2e6) == (0.005, True)
    assert control.status().alarms == [0.01]
    assert "contradict the certificate at 1%" in caplog.text
    assert "now at 0.5%" in caplog.text


def test_when_the_strictest_is_contradicted_too_answers_are_not_certified() -> None:
    control = make()
    audit(control, 0.3, 2_000, random.Random(3))
    assert control.point(0.0, 0.0) == (0.005, False)
    assert control.status().alarms == [0.005, 0.01]


def test_a_certificate_without_counted_disagreement_is_not_watched() -> None:
    control = make(certificate=make_certificate(disagreeing=None))
    audit(control, 1.0, 100, random.Random(4))
    assert control.status().audit_bound is None
    assert control.status().alarms == []


def test_what_was_answered_is_counted() -> None:
    control = make()
    for tier in (Tier.DEVICE, Tier.DEVICE, Tier.CLOUD):
        control.answered(answer_of(tier))
    lost = answer_of(Tier.DEVICE, Reason.BUSY)
    control.answered(msgspec.structs.replace(lost, decision=msgspec.structs.replace(lost.decision, degraded=True)))
    status = control.status()
    assert (status.answered, status.degraded) == ({Tier.DEVICE: 3, Tier.CLOUD: 1}, 1)
    assert msgspec.json.encode(status)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(point=0.03),
        Policy(laxest=0.005),
        Policy(laxest=0.5),
        Policy(audits=-0.1),
        Policy(audits=2.0),
        Policy(per_day=0.0),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy: Policy) -> None:
    with pytest.raises(UsageError):
        make(policy)
