"""A fleet's story: a release spreads while parts are killed, is halted and goes on; a bad one comes and is taken back.

Told by `tests.e2e.test_fleet` small, by `benchmarks.fleet_rollout` with twenty devices.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.fleet import PRODUCT, Answers, Fleet
from tests.tiny_release import WORDS, make_release
from tianti.spec import Tier

_PATIENCE_S = 900.0
_STEADY_S, _WINDOW_S = 20.0, 20
_KILL_EVERY_S, _HUB_S = 4.0, 45.0


@dataclass
class Told:
    """What came of it. `shares`: of answers by the cloud in each window after `before`; `exposed`: devices that came to
    the bad release, of the `ring` that it was for; `ended`: how many run what at the end."""

    before: Answers
    after: Answers
    shares: list[float]
    seconds: dict[str, float]
    kills: Counter[str]
    exposed: int
    ring: int
    taken_back_by: str
    ended: Counter[str]
    good: str


class Killer:
    """Kills a part with SIGKILL every few seconds, and starts it again. Each device twice at most: a trial of a release
    that was started three times without an end is over."""

    def __init__(self, fleet: Fleet, every_s: float, seed: int) -> None:
        self._fleet, self._every_s, self._chance = fleet, every_s, random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.kills: Counter[str] = Counter()

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            names = [name for name in self._fleet.parts if self.kills[name] < 2]
            if not names:
                return
            name = self._chance.choice(names)
            self.kills[name] += 1
            self._fleet.parts[name].kill()
            time.sleep(0.5)
            self._fleet.parts[name].start()


def tell(folder: Path, edges: int, devices: int, *, ring: str, bad_ring: str, seed: int = 0) -> Told:
    """Play it; `ring` and `bad_ring`: the first step of the good and of the bad release."""
    with Fleet(folder, edges, devices) as fleet:
        first = fleet.publish(make_release(folder / "first"))
        fleet.sign("rollout", PRODUCT, first, "--steps", "100%", "--dwell", "1s", "--poll", "1m")
        fleet.start()
        seconds = {"all devices run the first release": _wait_for(fleet, first)}
        began_s = time.time()
        time.sleep(_STEADY_S)
        before, changes_s = fleet.answers(began_s), time.time()

        words = {**WORDS, "alarms": ("alarm", "timer", "bell")}
        good = fleet.publish(make_release(folder / "good", words=words))
        with Killer(fleet, _KILL_EVERY_S, seed) as killer:
            seconds["the first ring runs the second release"] = _spread(fleet, good, ring, "75%", "100%")
            fleet.sign("halt", PRODUCT)
            _spread(fleet, good, ring, "75%", "100%")  # the same devices: a release keeps its salt
            for _ in range(2):
                fleet.sign("promote", PRODUCT, "--now")
            seconds["all devices run the second release"] = _wait_for(fleet, good)

        bad = fleet.publish(make_release(folder / "bad", broken=Tier.DEVICE), "--force", "a test")
        _spread(fleet, bad, bad_ring, "100%", wait=False)
        reached = fleet.ring()
        seconds["whoever got the bad release has refused it"] = fleet.wait_until(
            lambda: fleet.refused(bad) >= reached or fleet.statement().release == good, _PATIENCE_S, "it is refused"
        )
        taken_back_by = "hub"
        if not _comes_true(lambda: fleet.statement().release == good, _HUB_S):  # too few devices may have told it
            taken_back_by = "operator"
            fleet.sign("rollback", PRODUCT)
        seconds["all devices run the second release again"] = _wait_for(fleet, good)
        until_s = time.time()
        return Told(
            before,
            fleet.answers(changes_s, until_s),
            [
                fleet.answers(at_s, at_s + _WINDOW_S).cloud_share
                for at_s in range(int(changes_s), int(until_s - _WINDOW_S), _WINDOW_S)
            ],
            seconds,
            killer.kills,
            fleet.refused(bad),
            reached,
            taken_back_by,
            fleet.running(),
            good,
        )


def _comes_true(holds: Callable[[], bool], within_s: float) -> bool:
    end_s = time.monotonic() + within_s
    while not holds() and time.monotonic() < end_s:
        time.sleep(0.5)
    return holds()


def _spread(fleet: Fleet, release: str, *steps: str, wait: bool = True) -> float:
    """Begin to roll out, and wait for the first ring; gives the seconds that it took."""
    words = [word for step in steps for word in ("--steps", step)]
    began_s = time.monotonic()
    fleet.sign("rollout", PRODUCT, release, *words, "--enrolled", fleet.devices, "--dwell", "1s")
    fleet.wait_for_first_step(_PATIENCE_S)
    if wait:
        fleet.wait_until(lambda: fleet.running()[release] >= fleet.ring(), _PATIENCE_S, "the first ring runs it")
    return time.monotonic() - began_s


def _wait_for(fleet: Fleet, release: str) -> float:
    return fleet.wait_until(
        lambda: fleet.running()[release] == fleet.devices, _PATIENCE_S, f"all devices run {release[:12]}"
    )
