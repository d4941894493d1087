"""From state to state: a trial and its ends, what is never chosen again, what only goes up."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from tianti.package import Choice, Facts, Installed, Ring, Rollout
from tianti.update import machine
from tianti.update.contract import Said
from tianti.update.machine import MAX_TRIES
from tianti.update.state import Trial, UpdateState

A, B, C = "a" * 64, "b" * 64, "c" * 64
NOW_S = 1_800_000_000
FACTS = Facts(device_id="d", runtime="1.0", abi="x")
GOOD_A = UpdateState(active=A)


def rollout(release: str = B, counter: int = 2, **more: object) -> Rollout:
    said = {"product": "p", "channel": "c", "salt": "s", "rings": (Ring(ppm=1_000_000),)}
    return Rollout(release=release, counter=counter, **{**said, **more})  # type: ignore[arg-type]


def said(floor: int = 0, issued_s: int = NOW_S, **more: object) -> Said:
    return Said(rollout=rollout(), floor=floor, **{"versions": {"root": 1}, **more}, issued_s=issued_s)  # type: ignore[arg-type]


def test_a_trial_that_is_proved() -> None:
    trial = machine.began_trial(GOOD_A, B)
    assert trial == UpdateState(active=B, last_good=A, trial=Trial(B))
    assert machine.proved(trial) == UpdateState(active=B, last_good=A)


def test_a_trial_that_is_not_goes_back_and_is_never_chosen_again() -> None:
    back = machine.reverted(machine.began_trial(GOOD_A, B))
    assert back == UpdateState(active=A, last_good=A, bad=(B,))
    installed = Installed(A, 1)
    assert machine.choose(back, rollout(), FACTS, installed, NOW_S) == Choice(None, "failed here")
    assert machine.choose(GOOD_A, rollout(), FACTS, installed, NOW_S) == Choice(B, "selected")  # the control
    assert machine.choose(back, rollout(revoked=(B,)), FACTS, installed, NOW_S).reason == "revoked"


def test_a_release_that_fails_each_start_is_reverted_at_the_start_after_the_last_try() -> None:
    states = [machine.began_trial(GOOD_A, B)]
    while states[-1].trial is not None:
        states.append(machine.started(states[-1]))
    tries = [state.trial.tries for state in states if state.trial]
    assert tries == list(range(MAX_TRIES + 1))
    assert (states[-1].active, states[-1].bad) == (A, (B,))
    assert machine.started(states[-1]) == states[-1]  # good ones may start for ever


def test_another_release_in_a_trial_leaves_the_last_good_alone() -> None:
    state = machine.began_trial(machine.began_trial(GOOD_A, B), C)
    assert (state.active, state.last_good, state.trial) == (C, A, Trial(C))


def test_going_back_to_the_last_good_needs_no_trial() -> None:
    state = machine.began_trial(machine.proved(machine.began_trial(GOOD_A, B)), A)
    assert (state.active, state.trial) == (A, None)
    assert machine.reverted(state) == state


def test_a_first_release_that_fails_leaves_none_and_the_previous_is_taken() -> None:
    state = machine.reverted(machine.began_trial(UpdateState(), B))
    assert (state.active, state.bad) == (None, (B,))
    assert machine.choose(state, rollout(previous=A), FACTS, None, NOW_S) == Choice(A, "previous")
    assert machine.choose(replace(state, bad=(A, B)), rollout(previous=A), FACTS, None, NOW_S).release is None


def test_a_release_that_the_self_test_refused_is_bad_once() -> None:
    state = machine.refused(machine.refused(GOOD_A, B), B)
    assert state == replace(GOOD_A, bad=(B,))


def test_attempts_that_came_to_no_end_make_a_release_bad_and_those_that_did_do_not() -> None:
    state = UpdateState(active="old")
    for _ in range(5):
        state = machine.came_through(machine.attempted(state, "new"), "new")
    assert state.attempts == {}
    for _ in range(MAX_TRIES):
        state = machine.attempted(machine.attempted(state, "new"), "other")
        state = machine.came_through(state, "other")
    assert (state.bad, state.attempts) == ((), {"new": MAX_TRIES})
    assert machine.cleared(state, "new").attempts == machine.began_trial(state, "new").attempts == {}
    last = machine.attempted(state, "new")
    assert (last.bad, last.attempts) == (("new",), {})


def test_below_a_floor_that_was_ever_signed_nothing_is_chosen() -> None:
    state = machine.learned(GOOD_A, said(floor=3), None, NOW_S)
    state = machine.learned(state, said(floor=0), None, NOW_S)
    assert state.counter == 3
    assert machine.choose(state, rollout(), FACTS, Installed(A, 1), NOW_S).reason == "below the floor"
    assert machine.choose(state, rollout(counter=3), FACTS, Installed(A, 1), NOW_S).release == B


def test_what_the_online_key_says_of_the_floor_is_not_kept() -> None:
    """Whoever steals it could otherwise shut a device out for ever."""
    news = replace(said(), rollout=rollout(floor=2**53 - 1))
    assert machine.learned(GOOD_A, news, None, NOW_S).counter == 0


def test_the_time_floor_goes_up_only_unless_keys_were_taken_back() -> None:
    state = machine.learned(GOOD_A, said(), '"e"', NOW_S)
    assert (state.etag, state.floors, state.refreshed_s) == ('"e"', {"root": 1}, NOW_S)
    assert machine.learned(state, said(issued_s=5), None, NOW_S).time_floor_s == NOW_S
    assert machine.learned(state, said(issued_s=5, anew=True), None, NOW_S).time_floor_s == 5
    assert [machine.trusted_now_s(state, at) for at in (0, NOW_S - 1, NOW_S + 1.9)] == [NOW_S, NOW_S, NOW_S + 1]


def test_failures_are_counted_until_a_check_succeeds() -> None:
    states = [GOOD_A]
    for _ in range(3):
        states.append(machine.poll_failed(states[-1]))
    assert all(after.failures == before.failures + 1 for before, after in pairwise(states))
    assert machine.polled(states[-1]) == GOOD_A
    assert machine.learned(states[-1], said(), None, NOW_S).failures == 0
    assert machine.polled(GOOD_A) is GOOD_A  # nothing to save


def test_a_rollout_is_followed_once_its_release_serves_or_there_is_nothing_to_do() -> None:
    state = machine.learned(GOOD_A, said(versions={"rollout": 7}), None, NOW_S)
    assert (state.followed, machine.polled(state).followed) == (0, 0)
    assert machine.followed(state).followed == machine.began_trial(state, B).followed == 7
    assert machine.followed(followed := machine.followed(state)) is followed  # nothing to save
    assert machine.learned(followed, said(), None, NOW_S).followed == 7
    assert machine.learned(followed, said(anew=True), None, NOW_S).followed == 0  # versions may begin again
    assert machine.lost(followed).followed == 0  # what is gone may be fetched again


@pytest.mark.parametrize(("after_s", "due"), [(0, False), (86_399, False), (86_400, True), (-1, True)])
def test_metadata_are_verified_once_a_day_and_when_the_clock_went_back(after_s: int, due: bool) -> None:
    state = machine.learned(GOOD_A, said(), None, NOW_S)
    assert machine.refresh_is_due(state, NOW_S + after_s) is due
