"""What follows from what happens to a device: pure functions from one state to the next.

    nothing -> trial (began_trial) -> good (proved)
                 └-> last good (reverted, or started too often), and the release is bad

Not here: saving (`state`), doing (`updates`). Invariants: a release that failed is never chosen again; `active` is on
trial or has proved itself; what is known of versions, counters and time only goes up, unless a key was taken back.
"""

from msgspec.structs import replace

from tianti.package import Choice, Facts, Installed, Rollout, decide
from tianti.update.contract import Said
from tianti.update.state import Trial, UpdateState

MAX_TRIES = 3
REFRESH_EVERY_S = 24 * 3600  # a root rotation changes no timestamp


def learned(state: UpdateState, said: Said, etag: str | None, now_s: int) -> UpdateState:
    """After metadata were verified, by the clock at `now_s`; `etag` is that of the poll before."""
    return replace(
        state,
        floors=said.versions,
        counter=max(state.counter, said.floor),
        time_floor_s=said.issued_s if said.anew else max(state.time_floor_s, said.issued_s),
        online_keys=said.online_keys,
        refreshed_s=now_s,
        etag=etag,
        failures=0,
        followed=0 if said.anew else state.followed,
        poll_s=said.rollout.poll_s,
    )


def polled(state: UpdateState) -> UpdateState:
    """After a check that came to its end."""
    return replace(state, failures=0) if state.failures else state


def followed(state: UpdateState) -> UpdateState:
    """Nothing is left to do about what the rollout says. What ends before is to be gone on with at the next start."""
    known = state.floors.get("rollout", 0)
    return state if state.followed == known else replace(state, followed=known)


def poll_failed(state: UpdateState) -> UpdateState:
    """After a check that came to nothing."""
    return replace(state, failures=state.failures + 1)


def refresh_is_due(state: UpdateState, now_s: int) -> bool:
    """Whether metadata are to be verified though the timestamp is the same; so too where the clock went back."""
    return not 0 <= now_s - state.refreshed_s < REFRESH_EVERY_S


def trusted_now_s(state: UpdateState, clock_s: float) -> int:
    """The time, as far as is known: a clock that is behind what was signed is wrong."""
    return max(int(clock_s), state.time_floor_s)


def choose(state: UpdateState, rollout: Rollout, facts: Facts, installed: Installed | None, now_s: int) -> Choice:
    """What to do about a rollout: what `decide` says, never going to what failed here or is below a signed floor.

    Raises:
        UsageError: the device's id cannot be written in UTF-8.
    """
    running = None if installed is None else installed.release
    failed = {release for release in state.bad if release != running} - set(rollout.revoked)
    guarded = replace(rollout, revoked=(*rollout.revoked, *sorted(failed)), floor=max(rollout.floor, state.counter))
    choice = decide(guarded, facts, installed, now_s)
    return Choice(None, "failed here") if choice.reason == "revoked" and rollout.release in failed else choice


def began_trial(state: UpdateState, release: str) -> UpdateState:
    """The release is to serve from now on; one that was the last good needs no trial."""
    state = followed(cleared(state, release))
    if release == state.last_good:
        return replace(state, active=release, trial=None)
    good = state.last_good if state.trial else state.active
    return replace(state, active=release, last_good=good, trial=Trial(release))


def started(state: UpdateState) -> UpdateState:
    """Before a process serves; a release on trial that was started MAX_TRIES times did not prove itself."""
    if state.trial is None:
        return state
    if state.trial.tries >= MAX_TRIES:
        return reverted(state)
    return replace(state, trial=replace(state.trial, tries=state.trial.tries + 1))


def ended(state: UpdateState) -> UpdateState:
    """After a process ended in order: its start does not count among those of a release that crashes."""
    if state.trial is None:
        return state
    return replace(state, trial=replace(state.trial, tries=max(0, state.trial.tries - 1)))


def attempted(state: UpdateState, release: str) -> UpdateState:
    """Before a release is tested, or runs beside; one that was MAX_TRIES times, and came to no end, is bad."""
    tries = state.attempts.get(release, 0)
    if tries >= MAX_TRIES:
        return refused(state, release)
    return _with_attempts(state, release, tries + 1)


def came_through(state: UpdateState, release: str) -> UpdateState:
    """The last attempt came to its end: it does not count among those that did not."""
    return _with_attempts(state, release, state.attempts.get(release, 0) - 1)


def cleared(state: UpdateState, release: str) -> UpdateState:
    """No attempt is held against a release any more."""
    return _with_attempts(state, release, 0)


def _with_attempts(state: UpdateState, release: str, tries: int) -> UpdateState:
    others = {other: count for other, count in state.attempts.items() if other != release}
    return replace(state, attempts={**others, release: tries} if tries > 0 else others)


def proved(state: UpdateState) -> UpdateState:
    """The release on trial is good."""
    return replace(state, trial=None)


def reverted(state: UpdateState) -> UpdateState:
    """The release on trial is not good: back to the last one that was; without a trial, there is nothing to revert."""
    if state.trial is None:
        return state
    return refused(replace(state, active=state.last_good, trial=None), state.trial.release)


def lost(state: UpdateState) -> UpdateState:
    """The release that serves is no more whole on this disk: the last good one serves, the other may come again."""
    good = state.last_good if state.last_good != state.active else None
    return replace(state, active=good, last_good=good, trial=None, followed=0)


def refused(state: UpdateState, release: str) -> UpdateState:
    """A release failed before it served, and is not tried again."""
    state = cleared(state, release)
    return state if release in state.bad else replace(state, bad=(*state.bad, release))
