"""A small world in virtual time: entry nodes of the real parts, an upstream with a capacity and faults, and a stream.

Real: `serving.Desk` (what an HTTP node answers with) and all of `router`, on a real release. Not real: the time,
and the upstream's inside. What it is asked is kept, so that a check can tell what an answer should have said.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from tests.router.virtual import answer_of, now_s, run
from tianti.errors import DeadlineError, UpstreamError
from tianti.package import Release
from tianti.protocols.infer import InferRequest
from tianti.router import Node, Policy, Upstream
from tianti.serving.costs import Costs
from tianti.serving.desk import Desk
from tianti.serving.engine import Engine
from tianti.serving.lane import Lane
from tianti.spec import Level, Prediction, Request, Tested, Tier

DEADLINE_S = 0.5
POINTS = {0.005: 0.95, 0.01: 0.9, 0.02: 0.5}
"""Certified alphas, and the score from which the device then answers."""
NOT_CERTIFIED = 0.05
TEXTS = {"sure": "lamp lamp lamp", "middling": "lamp of some kind", "unsure": "lantern"}
"""Scored .99, .57 and 0 once each has got a number behind it."""
COSTS = Costs([1], [8], [[0.001]])
"""Of the device's model; nothing, in virtual time."""
LABEL = "lights"
"""What the cloud says to all of them."""


def with_points(release: Release) -> Release:
    """The release with POINTS certified, and another level that is not."""
    path = tuple(Tested(device=score, edge=score, harmful=0, disagreeing=20) for score in POINTS.values())
    share = dict.fromkeys(Tier, 1 / 3)
    levels = [Level(alpha=alpha, point=place, share=share) for place, alpha in enumerate(POINTS)]
    levels.append(Level(alpha=NOT_CERTIFIED, point=None, share=share, rows_needed=10))
    certificate = msgspec.structs.replace(release.record.certificate, path=path, levels=tuple(levels))
    record = msgspec.structs.replace(release.record, certificate=certificate)
    return msgspec.structs.replace(release, record=record)


class Fault(Enum):
    NONE = "none"
    REFUSED = "refused"
    BLACK_HOLE = "black hole"  # takes what is sent, and is silent


class Server:
    """Works on `slots` requests at a time, each for `service_s`; the rest waits. `fault` says how it fares when."""

    def __init__(
        self, slots: int = 4, service_s: float = 0.05, fault: Callable[[float], Fault] = lambda _now_s: Fault.NONE
    ) -> None:
        self.service_s = service_s
        self.fault = fault
        self.arrived: list[float] = []
        self.probed: list[float] = []
        self._free_at_s = [0.0] * slots

    async def work(self) -> None:
        self.arrived.append(now_s())
        await self._fail()
        slot = self._free_at_s.index(min(self._free_at_s))
        self._free_at_s[slot] = max(self._free_at_s[slot], now_s()) + self.service_s
        await asyncio.sleep(self._free_at_s[slot] - now_s())

    async def say_ready(self) -> None:
        self.probed.append(now_s())
        await self._fail()
        await asyncio.sleep(0.001)

    async def _fail(self) -> None:
        fault = self.fault(now_s())
        if fault is Fault.REFUSED:
            raise UpstreamError("refused")
        if fault is Fault.BLACK_HOLE:
            await asyncio.sleep(1e6)


class Line:
    """From one entry node to a server (a `Remote`). Keeps what became of each try of each text, audits apart."""

    def __init__(self, server: Server, *, keeps_time: bool = True) -> None:
        self.name = "cloud"
        self.tries: dict[str, list[str]] = {}
        self.failed_s: list[float] = []
        self.audits: list[Request] = []
        self.sent_s: list[float] = []
        self.points: set[float | None] = set()
        self._server = server
        self._keeps_time = keeps_time

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        came_of: list[str] = []
        self.sent_s.append(now_s())
        if request.audit:
            self.audits.append(request)
        else:
            came_of = self.tries.setdefault(request.text, [])
            self.points.add(request.point)
        try:
            async with asyncio.timeout(remaining_s if self._keeps_time else None):
                await self._server.work()
        except TimeoutError:
            came_of.append("late")
            self.failed_s.append(now_s())
            raise DeadlineError("too late") from None
        except UpstreamError:
            came_of.append("refused")
            self.failed_s.append(now_s())
            raise
        came_of.append("answered")
        return answer_of(Tier.CLOUD, label=LABEL)

    async def probe(self) -> bool:
        try:
            async with asyncio.timeout(1.0):
                await self._server.say_ready()
        except (TimeoutError, UpstreamError):
            return False
        return True

    async def aclose(self) -> None:
        pass


class Seen(NamedTuple):
    """A request as its caller saw it."""

    text: str
    came_s: float
    took_s: float
    answer: Prediction


class Entry:
    """An entry node, and all that it answered."""

    def __init__(
        self,
        release: Release,
        server: Server,
        policy: Policy | None = None,
        *,
        seed: int = 0,
        jitter: Callable[[], float] | None = None,
        clock: Callable[[], float] = now_s,
        keeps_time: bool = True,
    ) -> None:
        self.rng = random.Random(seed)
        self.line = Line(server, keeps_time=keeps_time)
        self.upstream = Upstream(self.line, clock, jitter or self.rng.random)
        policy = policy or Policy(laxest=0.02, audits=0.0)
        self.node = Node(release, Tier.DEVICE, [self.upstream], clock, policy)
        self.desk = Desk(Lane(self.node, COSTS), Engine(now_s))
        self.seen: list[Seen] = []
        self._numbers = itertools.count()

    async def predict(self, text: str) -> None:
        came_s = now_s()
        (answer,) = await self.desk.infer(InferRequest(texts=(text,), deadline_ms=DEADLINE_S * 1e3), known=True)
        self.seen.append(Seen(text, came_s, now_s() - came_s, answer))

    async def live(
        self,
        per_s: Callable[[float], float],
        until_s: float,
        mix: Sequence[float] = (1, 3, 1),
        *,
        beat: bool = False,
    ) -> None:
        """Requests at random times, so many a second, or at an even beat; `mix`: weights of the kinds of TEXTS."""
        async with asyncio.TaskGroup() as group:
            while now_s() < until_s:
                (kind,) = self.rng.choices(list(TEXTS.values()), mix)
                group.create_task(self.predict(f"{kind} n{next(self._numbers)}"))
                await asyncio.sleep(1 / per_s(now_s()) if beat else self.rng.expovariate(per_s(now_s())))
        await self.desk.aclose()
        await self.upstream.aclose()


def live(
    make: Callable[[], Sequence[Entry]], per_s: Callable[[float], float], until_s: float, **how: object
) -> Sequence[Entry]:
    """Let entry nodes live side by side; each gets its share of the requests."""

    async def scene() -> Sequence[Entry]:
        entries = make()
        async with asyncio.TaskGroup() as group:
            for entry in entries:
                group.create_task(entry.live(lambda at_s: per_s(at_s) / len(entries), until_s, **how))
        return entries

    return run(scene())


def between(seen: Sequence[Seen], from_s: float, to_s: float) -> list[Seen]:
    return [each for each in seen if from_s <= each.came_s < to_s]
