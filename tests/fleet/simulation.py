"""A fleet in virtual time: devices poll, install, try and report; a hub counts, judges and publishes.

Real are the statement, each device's place in it, its state and choice, the wait for its next poll, the guard and the
plan. Made up are the times that things take, and on which devices a release fails. Not here: signatures, networks,
disks. Devices are rows of arrays, since a million objects would take an hour: all that are in one state and on one side
of the ring's edge share one choice, made for one of them; the first `watched` devices each make their own and must
agree.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tianti.fleet import Count, Plan, Step, Terms, judge, next_step
from tianti.package import Facts, Installed, Ring, Rollout, bucket
from tianti.update.machine import began_trial, choose, proved, reverted
from tianti.update.schedule import first_wait_s, next_wait_s
from tianti.update.state import UpdateState

OLD, NEW = "a" * 64, "b" * 64
SALT = NEW[:16]
MILLION = 1_000_000
WINDOW_S = 60.0
"""Edges pass on what they were told so often, and the guard then looks."""
INSTALL_S, FAILS_IN_S, TRIAL_S = (5.0, 60.0), 5.0, 600.0
"""From a poll to the trial; from there until a failing release is taken back, and until another one is kept."""

Rows = NDArray[np.int64]
_GOOD_OLD = UpdateState(active=OLD, last_good=OLD)
_TRIES_NEW = began_trial(_GOOD_OLD, NEW)


def named(row: int) -> Facts:
    """What a device knows of itself."""
    return Facts(device_id=f"device-{row}", runtime="1.0", abi="linux-x86_64")


def places_of(devices: int) -> Rows:
    """Where each device stands in the rollout, in parts per million."""
    return np.array([bucket(SALT, named(row).device_id) * MILLION >> 64 for row in range(devices)])


class Devices:
    """What each device runs. On a share `failing` NEW fails its trial; the others go on with it, however bad it is."""

    def __init__(self, places: Rows, failing: float, poll_s: int, sources: int, watched: int, seed: int) -> None:
        self.rng, self.places, self.watched = np.random.default_rng(seed), places, watched
        count = len(places)
        self.source = self.rng.integers(0, sources, count)
        self.fails = self.rng.random(count) < failing
        self.new, self.exposed, self.bad = (np.zeros(count, dtype=bool) for _ in range(3))
        self.polls_at = first_wait_s(poll_s, self.rng.random(count))
        self.trial_ends = np.full(count, np.inf)
        self.told = np.zeros((3, sources), dtype=np.int64)  # activated, failed, began

    def run(self, statement: Rollout, until_s: float) -> None:
        """Polls and trials up to then, with one statement."""
        while len(due := np.flatnonzero(self.polls_at < until_s)):
            at = self.polls_at[due]
            self.obey(due, at, statement)
            self.polls_at[due] = at + next_wait_s(statement.poll_s, 0, self.rng.random(len(due)))
        self.end_trials(until_s)

    def obey(self, due: Rows, at: NDArray[np.float64], statement: Rollout) -> None:
        going = self.decided(due, statement, int(at[0]))
        forward, back = due[going == 1], due[going == -1]
        begins = at[going == 1] + self.rng.uniform(*INSTALL_S, len(forward))
        self.new[forward] = self.exposed[forward] = True
        self.trial_ends[forward] = begins + np.where(self.fails[forward], FAILS_IN_S, TRIAL_S)
        self.tell(2, forward)
        self.new[back], self.trial_ends[back] = False, np.inf

    def decided(self, due: Rows, statement: Rollout, now_s: int) -> NDArray[np.int64]:
        """For each: 1, it goes to NEW; -1, back to OLD; 0, it stays."""
        inside = self.places[due] < statement.rings[0].ppm
        kind = inside + 2 * self.bad[due] + 4 * self.new[due] + 8 * (self.trial_ends[due] < np.inf)
        going = np.zeros(len(due), dtype=np.int64)
        for one in np.unique(kind):
            same = kind == one
            going[same] = self.asked(int(due[same][-1]), statement, now_s)
        for place in np.flatnonzero(due < self.watched):
            alone = self.asked(int(due[place]), statement, now_s)
            assert going[place] == alone, f"device {due[place]} is said to go {going[place]}, chooses {alone}"
        return going

    def asked(self, row: int, statement: Rollout, now_s: int) -> int:
        state = self.state_of(row)
        installed = Installed(NEW, 2) if state.active == NEW else Installed(OLD, 1)
        chosen = choose(state, statement, named(row), installed, now_s).release
        return {None: 0, NEW: 1, OLD: -1}[chosen]

    def state_of(self, row: int) -> UpdateState:
        if self.bad[row]:
            return reverted(_TRIES_NEW)
        if not self.new[row]:
            return _GOOD_OLD
        return _TRIES_NEW if self.trial_ends[row] < np.inf else proved(_TRIES_NEW)

    def end_trials(self, until_s: float) -> None:
        ended = np.flatnonzero(self.trial_ends < until_s)
        failed = ended[self.fails[ended]]
        self.new[failed], self.bad[failed] = False, True
        self.trial_ends[ended] = np.inf
        self.tell(0, ended)
        self.tell(1, failed)

    def tell(self, what: int, rows: Rows) -> None:
        self.told[what] += np.bincount(self.source[rows], minlength=self.told.shape[1])


class Ended(NamedTuple):
    """How a rollout ended. `ring` is how many devices the last step that was taken is for; `left` still run NEW."""

    how: str
    at_s: float
    step: int
    ring: int
    exposed: int
    left: int
    whole_s: float


def halt(statement: Rollout) -> Rollout:
    """Nobody goes on; who runs it keeps it."""
    return replace(statement, halt=True)


def take_back(statement: Rollout) -> Rollout:
    """Everybody goes back to the release before, as `release.rollback` says it."""
    everybody = (Ring(ppm=MILLION),)
    return replace(
        statement, release=OLD, counter=1, salt=OLD[:16], rings=everybody, previous=OLD, previous_counter=1, force=True
    )


def roll_out(
    places: Rows,
    *,
    steps: tuple[Step, ...],
    failing: float,
    seed: int,
    sources: int = 50,
    poll_s: int = 900,
    watched: int = 0,
    hours: float = 24.0,
    operator: Callable[[float], bool] = lambda now_s: False,
    stop: Callable[[Rollout], Rollout] = take_back,
    terms: Terms | None = None,
) -> Ended:
    """One rollout of NEW, until it is done, taken back everywhere, or time is up."""
    devices = Devices(places, failing, poll_s, sources, watched, seed)
    plan = Plan(steps=steps, terms=terms or Terms())
    statement = Rollout(
        product="p",
        channel="stable",
        release=NEW,
        counter=2,
        salt=SALT,
        rings=(Ring(ppm=0),),
        previous=OLD,
        previous_counter=1,
        poll_s=poll_s,
    )
    how, at_s, before = "hold", np.inf, devices.told.copy()
    for now_s in np.arange(WINDOW_S, hours * 3600, WINDOW_S):
        devices.run(statement, now_s)
        if how == "hold":
            step = _look(devices.told - before, devices, plan, now_s)
            if step == "hold" and now_s - plan.since_s >= plan.terms.dwell_s and operator(now_s):
                step = "advance"  # as `tianti release promote` takes it
            if step == "advance" and plan.done:
                how, at_s = "done", now_s
            elif step == "advance":
                plan, before = next_step(plan, int(now_s)), devices.told.copy()
                statement = replace(statement, rings=(Ring(ppm=plan.step.ppm),))
            elif step == "halt":
                how, at_s, statement = "halted", now_s, stop(statement)
        if how == "done" or (how == "halted" and not devices.new.any()):
            break
    ring = int((places < plan.step.ppm).sum())
    return Ended(how, at_s, plan.at, ring, int(devices.exposed.sum()), int(devices.new.sum()), now_s)


def _look(told: Rows, devices: Devices, plan: Plan, now_s: float) -> str:
    if plan.at < 0:
        return "advance"
    counts = {str(source): Count(*map(int, told[:, source])) for source in np.flatnonzero(told[2])}
    inside = int((devices.places < plan.step.ppm).sum())
    return judge(counts, devices=inside, since_s=plan.since_s, now_s=now_s, terms=plan.terms).step
