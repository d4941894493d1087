"""A node that devices are not before, with a cloud above it, in virtual time."""

import asyncio
from typing import Any

from tests.router.simulation import COSTS
from tests.router.virtual import FakeRemote, now_s
from tianti.package import Release
from tianti.protocols.infer import InferRequest
from tianti.router import Egress, Journal, Node, Policy, Upstream
from tianti.serving.desk import Desk
from tianti.serving.engine import Engine
from tianti.serving.lane import Lane
from tianti.spec import Prediction, Tier

TEXT = "luminaire"  # which only the cloud knows
LOCAL = "lamp lamp lamp"


class Entry:
    """Asked without HTTP; `faults` are those of the cloud, a `FakeRemote`."""

    def __init__(
        self,
        release: Release,
        cache: int = 100,
        journal: Journal | None = None,
        *,
        tier: Tier = Tier.DEVICE,
        egress: Egress | None = None,
        audits: float = 0.0,
        **faults: Any,
    ) -> None:
        self.remote = FakeRemote(**{"delay_s": 0.05, **faults})
        self.upstream = Upstream(self.remote, now_s, lambda: 0.5)
        self.node = Node(release, tier, [self.upstream], now_s, Policy(audits=audits), egress)
        self.engine = Engine(now_s)
        self.desk = Desk(Lane(self.node, COSTS), self.engine, journal, cache)

    def ask(self, text: str = TEXT, *, known: bool = True, **more: Any) -> "asyncio.Task[Prediction]":
        async def one() -> Prediction:
            (answer,) = await self.desk.infer(InferRequest(texts=(text,), **more), known)
            return answer

        return asyncio.create_task(one())

    @property
    def cached(self) -> dict[str, int]:
        return {name[1]: count for name, count in self.desk.tally._counters.items() if name[0] == "cache"}

    @property
    def flights(self) -> int:
        assert self.desk._sharing is not None
        return len(self.desk._sharing._flights)
