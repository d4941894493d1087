"""A fleet's story: a release spreads while parts are killed, is halted and goes on; a bad one comes and is taken back.

Told by `tests.e2e.test_fleet` small, by `benchmarks.fleet_rollout` with twenty devices.
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.fleet import PRODUCT, Answers, Fleet, wait_until
from tests.tiny_release import WORDS, make_release
from tianti.spec import Tier

_PATIENCE_S = 240.0
_STEADY_S, _WINDOW_S = 20.0, 20.0


@dataclass
class Told:
    """What came of it; `shares`: of answers by the cloud, in each window after `before`."""

    before: Answers
    after: Answers
    shares: list[float] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    exposed: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    good: str = ""


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


def tell(folder: Path, edges: int, devices: int, seed: int = 0) -> Told:
    """Play it."""
    with Fleet(folder, edges, devices) as fleet:
        first = fleet.publish("first", make_release(folder / "first"))
        fleet.sign("rollout", PRODUCT, first, "--steps", "100%", "--dwell", "1s", "--poll", "1m")
        fleet.start()
        seconds = {"all devices run the first release": _wait_for(fleet, first)}
        began_s = time.time()
        time.sleep(_STEADY_S)
        before, changes_s = fleet.answers(began_s), time.time()

        good = fleet.publish(
            "good", make_release(folder / "good", words={**WORDS, "alarms": ("alarm", "timer", "bell")})
        )
        with Killer(fleet, 4.0, seed) as killer:
            _spread(fleet, good, devices)
            seconds["the first ring runs the second release"] = wait_until(
                lambda: fleet.running()[good] > 0, _PATIENCE_S, "a device runs the second release"
            )
            fleet.sign("halt", PRODUCT)
            _spread(fleet, good, devices)
            for _ in range(2):
                fleet.sign("promote", PRODUCT, "--now")
            seconds["all devices run the second release"] = _wait_for(fleet, good)

        bad = fleet.publish("bad", make_release(folder / "bad", broken=Tier.DEVICE), "--force", "a test")
        _spread(fleet, bad, devices)
        seconds["the bad release is halted by the hub"] = wait_until(
            lambda: "[HALTED]" in fleet.cli("release", "show", "--repository", fleet.repository),
            _PATIENCE_S,
            "the hub halts the bad release",
        )
        fleet.sign("rollback", PRODUCT)
        _wait_for(fleet, good)
        until_s = time.time()
        told = Told(before, fleet.answers(changes_s, until_s), kills=killer.kills, seconds=seconds, good=good)
        told.exposed = fleet.met(bad)
        told.ended = fleet.running()
        told.shares = [
            fleet.answers(at_s, at_s + _WINDOW_S).cloud_share
            for at_s in range(int(changes_s), int(until_s - _WINDOW_S), int(_WINDOW_S))
        ]
        return told


def _spread(fleet: Fleet, release: str, devices: int) -> None:
    few = max(devices // 4, 1)
    steps = ["--steps", f"{few} devices", "--steps", "50%", "--steps", "100%"]
    fleet.sign("rollout", PRODUCT, release, *steps, "--enrolled", devices, "--dwell", "1s")
    fleet.wait_for_first_step(_PATIENCE_S)


def _wait_for(fleet: Fleet, release: str) -> float:
    return wait_until(lambda: fleet.running()[release] == fleet.devices, _PATIENCE_S, f"all devices run {release[:12]}")
