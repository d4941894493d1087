"""The keeper of the point: laxer only while pressure lasts, back when it is gone, stricter on an alarm for good."""

from hypothesis import given
from hypothesis import strategies as st

from tianti.router.pressure import FALL_S, RISE_S, PointKeeper

CERTIFIED = (0.005, 0.01, 0.02)


def keeper(point: float = 0.01, laxest: float = 0.02) -> PointKeeper:
    return PointKeeper(CERTIFIED, point, laxest, now_s=0.0)


def test_lasting_pressure_moves_to_the_laxer_point_and_back() -> None:
    kept = keeper()
    seen = [kept.update(1.0 if now_s < 10 else 0.1, float(now_s)) for now_s in range(30)]
    assert seen.index(0.02) <= RISE_S + 1
    assert seen[-1] == 0.01
    assert seen[10:].index(0.01) <= FALL_S + 1


def test_a_spike_moves_nothing() -> None:
    kept = keeper()
    pressures = [0.1, 1.0, 0.1] * 20
    assert {kept.update(pressure, 0.4 * step) for step, pressure in enumerate(pressures)} == {0.01}


def test_without_leave_it_never_moves() -> None:
    kept = keeper(laxest=0.01)
    assert {kept.update(1.0, float(now_s)) for now_s in range(100)} == {0.01}


def test_an_alarm_is_for_good_and_ends_at_the_strictest() -> None:
    kept = keeper()
    kept.alarm(0.01)
    assert kept.point == 0.005 and not kept.broken
    assert {kept.update(1.0, float(now_s)) for now_s in range(100)} == {0.005}
    kept.alarm(0.005)
    assert kept.point == 0.005 and kept.broken


def test_the_mean_bound_is_weighted_by_time() -> None:
    kept = keeper()
    for now_s in range(100):
        kept.update(1.0, float(now_s))
    assert 0.0195 < kept.mean_bound < 0.02


@given(st.lists(st.tuples(st.floats(-5, 30), st.floats(0, 1), st.booleans()), max_size=200))
def test_only_certified_points_are_used_whatever_happens(events: list[tuple[float, float, bool]]) -> None:
    kept, now_s = keeper(), 0.0
    for step_s, pressure, alarms in events:
        now_s += step_s  # which may be the clock set back
        if alarms and pressure > 0.99:
            kept.alarm(kept.point)
        point = kept.update(pressure, now_s)
        assert point in CERTIFIED
        assert 0.005 - 1e-9 <= kept.mean_bound <= 0.02 + 1e-9
