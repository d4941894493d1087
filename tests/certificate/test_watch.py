"""The watch: finds drift, soon and late, and leaves a good stream alone."""

import math

import numpy as np
import pytest

from tianti.certificate import Watch, wilson
from tianti.certificate.watch import _FIRST, _weight


def first_alarm(watch: Watch, risk: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> int | None:
    for audit, harmful in enumerate(risk.tolist(), 1):
        watch = watch.after(harmful)
        if watch.alarmed:
            return audit
    return None


def test_the_weights_of_all_starts_are_one() -> None:
    assert sum(_weight(audits) for audits in range(200_000)) == pytest.approx(1.0, abs=1e-3)
    assert _weight(0) == _FIRST


def test_expected_wealth_never_grows_at_the_bound() -> None:
    """Exactly, over every stream of eight audits: no simulation could show it as well."""
    bound, length = 0.2, 8
    expected = 0.0
    for bits in range(2**length):
        stream = [bool(bits >> place & 1) for place in range(length)]
        watch = Watch(bound=bound, delta=1e-9)
        for harmful in stream:
            watch = watch.after(harmful)
        expected += math.prod(bound if harmful else 1 - bound for harmful in stream) * sum(watch.wealth)
    assert expected == pytest.approx(sum(_weight(audits) for audits in range(length)), rel=1e-12)


def test_double_risk_is_found_and_risk_at_the_bound_is_not() -> None:
    rng = np.random.default_rng(0)
    found = [first_alarm(Watch(bound=0.02), rng.random(3_000) < 0.04) for _ in range(400)]
    assert np.median([audit or 10**9 for audit in found]) <= 430
    false = sum(first_alarm(Watch(bound=0.02), rng.random(4_000) < 0.02) is not None for _ in range(60))
    assert wilson(false, 60)[0] <= 0.05


def test_drift_after_a_long_good_time_is_found_about_as_soon() -> None:
    rng = np.random.default_rng(1)
    late = []
    for _ in range(40):
        risk = np.concatenate([rng.random(2_000) < 0.012, rng.random(4_000) < 0.06])
        late.append((first_alarm(Watch(bound=0.02), risk) or 10**9) - 2_000)
    assert np.median(late) <= 600  # 1,050 where all is staked from the first audit


def test_an_alarm_is_for_good() -> None:
    watch = Watch(bound=0.01)
    for _ in range(20):
        watch = watch.after(True)
    assert watch.alarmed
    assert watch.after(False) == watch
