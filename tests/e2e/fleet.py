"""A whole fleet on this machine, each part a process of the real command line: hub, cloud, edges, devices.

Devices answer texts all the time (`tests.e2e.fleet_device`) and write each answer down. Any of them can be killed and
started again. A context manager that leaves no process behind.
"""

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tianti.package import Release, Rollout, bucket
from tianti.package.rollout import MILLION
from tianti.release import Standing, read_repository, read_rollout
from tianti.spec import TIERS
from tianti.update.home import read_home
from tianti.update.state import StateFile

PRODUCT = "tiny"
_ENVIRONMENT = {**os.environ, "TIANTI_PASSPHRASE": "a passphrase of six words or so", "OMP_NUM_THREADS": "1"}
_START_S, _STEP_S = 60.0, 0.25
_TOLD_LINES = 40
_PORTS = (
    10_000,
    32_000,
)  # Linux gives 32768 to 60999 to who connects (ip_local_port_range), others from 49152 (RFC 6335)


class Part:
    """A process that can be killed and started again."""

    def __init__(
        self, arguments: list[str], log: Path, ready: str | None = None, environment: dict[str, str] | None = None
    ) -> None:
        self._arguments, self._log, self._ready = arguments, log, ready
        self._environment = {**_ENVIRONMENT, **(environment or {})}
        self.url = ""
        self.start()

    def start(self) -> None:
        before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments], stdout=log, stderr=log, env=self._environment
            )
        if self._ready is None:
            return
        ready = re.compile(self._ready)
        end_s = time.monotonic() + _START_S
        while (found := ready.search(self._log.read_bytes()[before:].decode())) is None:
            assert self.process.poll() is None and time.monotonic() < end_s, self._log.read_text()[-3000:]
            time.sleep(0.05)
        self.url = found[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Answers:
    """What devices got in some time."""

    lines: list[dict[str, object]]

    @property
    def lost(self) -> list[dict[str, object]]:
        return [line for line in self.lines if "error" in line]

    @property
    def wrong(self) -> list[dict[str, object]]:
        return [line for line in self.lines if line.get("label") != line["expected"] and not line.get("degraded")]

    @property
    def uncertified(self) -> list[dict[str, object]]:
        return [line for line in self.lines if "tier" in line and not line["certified"] and not line["degraded"]]

    @property
    def degraded(self) -> list[dict[str, object]]:
        return [line for line in self.lines if line.get("degraded")]

    @property
    def cloud_share(self) -> float:
        return sum(line.get("tier") == "cloud" for line in self.lines) / max(len(self.lines), 1)


@dataclass
class Fleet:
    """Hub, cloud, `edges` edges and `devices` devices below `folder`; `environment`: of theirs, beside this one's."""

    folder: Path
    edges: int
    devices: int
    environment: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    def __enter__(self) -> "Fleet":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cli("keys", "init", self.folder / "keys", "--repository", self.repository)
        return self

    def __exit__(self, *error: object) -> None:
        for part in self.parts.values():
            part.process.kill()
        for part in self.parts.values():
            part.process.wait()

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def cli(self, *arguments: object) -> str:
        """Run a command of `tianti` to its end; gives its output."""
        command = [sys.executable, "-m", "tianti", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def sign(self, *arguments: object) -> str:
        """A command of `tianti release` that needs the keys."""
        return self.cli("release", *arguments, "--repository", self.repository, "--keys", self.folder / "keys")

    def publish(self, release: Release, *more: object) -> str:
        self.sign("publish", release.folder, *more)
        return release.id

    def start(self) -> None:
        """Start everything, from the hub down; each enrolls first."""
        hub = ["tianti", "hub", "--repository", str(self.repository), "--keys", str(self.folder / "keys")]
        hub += ["--db", str(self.folder / "hub.sqlite"), "--every", "1"]
        self.parts["hub"] = Part(
            [*hub, "--port", str(free_port())], self._log("hub"), r"hub ready on (\S+)", self.environment
        )
        url = self.parts["hub"].url
        for tier in TIERS:
            self._invite(tier)
        self._enroll("cloud", "cloud", url)
        self.parts["cloud"] = self._node("cloud", "cloud")
        for number in range(self.edges):
            name = f"edge-{number}"
            self._enroll(name, "edge", url)
            mirror = ["--mirror", f"{url}/repository", "--mirror-root", self.folder / "keys" / "root.json"]
            mirror += ["--mirror-folder", self.folder / f"{name}-mirror"]
            self.parts[name] = self._node(name, "edge", "--upstream", self.parts["cloud"].url, *mirror)
        for number in range(self.devices):
            name, above = f"device-{number}", self.parts[f"edge-{number % self.edges}"].url
            self._enroll(name, "device", above)
            self.parts[name] = self._device(name, above, number)

    def _invite(self, tier: str) -> None:
        ledger = self.folder / "hub.sqlite"
        token = self.cli(
            "fleet", "invite", "--db", ledger, "--tier", tier, "--product", PRODUCT, "--uses", self.devices
        )
        (self.folder / f"{tier}.token").write_text(token, encoding="utf-8")

    def _enroll(self, name: str, tier: str, hub: str) -> None:
        token = self.folder / f"{tier}.token"
        self.cli("device", "enroll", self.folder / name, "--hub", hub, "--token-file", token)

    def _node(self, name: str, tier: str, *more: object) -> Part:
        arguments = ["tianti", "serve", "--tier", tier, "--updates", self.folder / name, "--workers", 1, *more]
        arguments += ["--port", free_port()]
        return Part([str(each) for each in arguments], self._log(name), rf"{tier} ready on (\S+)", self.environment)

    def _device(self, name: str, above: str, seed: int) -> Part:
        arguments = ["tests.e2e.fleet_device", self.folder / name, above, self.folder / f"{name}.jsonl", seed]
        return Part([str(each) for each in arguments], self._log(name), environment=self.environment)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def answers(self, since_s: float, until_s: float = float("inf")) -> Answers:
        return Answers([line for line in self._lines() if since_s <= float(str(line["at"])) < until_s])

    def _lines(self) -> Iterator[dict[str, object]]:
        for number in range(self.devices):
            path = self.folder / f"device-{number}.jsonl"
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                try:
                    yield json.loads(line)
                except ValueError:  # what a killed device was writing
                    continue

    def running(self) -> Counter[str]:
        """How many devices run which release, by what each device's folder says; on trial is not yet."""
        found: Counter[str] = Counter()
        for number in range(self.devices):
            state = StateFile(self.folder / f"device-{number}").load()
            found["on trial" if state.trial else str(state.active)] += 1
        return found

    def refused(self, release: str) -> int:
        """How many devices have taken a release back, or not let it in."""
        return sum(release in StateFile(self.folder / f"device-{number}").load().bad for number in range(self.devices))

    def ring(self) -> int:
        """How many devices the statement is for: by shares of a hash, so not just as many as was asked for."""
        rollout = self.statement()
        places = [bucket(rollout.salt, read_home(self.folder / f"device-{n}").device) for n in range(self.devices)]
        return sum((place * MILLION) >> 64 < rollout.rings[0].ppm for place in places)

    def statement(self) -> Rollout:
        """What devices are told."""
        return self._standing().rollout

    def wait_for_first_step(self, within_s: float) -> None:
        """Until the hub has found that all nodes above hold the release."""
        self.wait_until(
            lambda: (self._standing().plan or {"at": 0})["at"] >= 0, within_s, "the hub takes the first step"
        )

    def wait_until(self, holds: Callable[[], bool], within_s: float, what: str) -> float:
        """Wait; gives the seconds that it took. What came to pass instead is in the error."""
        began_s = time.monotonic()
        while not holds():
            assert time.monotonic() - began_s < within_s, f"not within {within_s:.0f} s: {what}\n{self._described()}"
            time.sleep(_STEP_S)
        return time.monotonic() - began_s

    def _described(self) -> str:
        """Where everything stands: the statement, each device's state, the end of each part's log."""
        lines = [f"{self.statement()}", f"plan: {self._standing().plan}"]
        lines += [f"device-{n}: {StateFile(self.folder / f'device-{n}').load()}" for n in range(self.devices)]
        for name, part in self.parts.items():
            end = self._log(name).read_text(encoding="utf-8").splitlines()[-_TOLD_LINES:]
            ended = part.process.poll()
            lines += [f"== {name}: {'runs' if ended is None else f'exit {ended}'}", *end]
        return "\n".join(lines)

    def _standing(self) -> Standing:
        root = (self.folder / "keys" / "root.json").read_bytes()
        standing = read_rollout(read_repository(self.repository, root), PRODUCT, "stable")
        assert standing is not None
        return standing


def free_port() -> int:
    """A port that stays its part's own while that is killed: below those that the system gives to who connects, or a
    device that tries to come back would be given it, connect to itself, and keep its server from starting."""
    while True:
        with socket.socket() as opened, suppress(OSError):
            opened.bind(("127.0.0.1", random.randint(*_PORTS)))
            return int(opened.getsockname()[1])
