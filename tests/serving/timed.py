"""An engine in virtual time: real packages whose calls take as long as they are told, on a clock that they move."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tests.router.virtual import VirtualLoop
from tianti.errors import RunError
from tianti.package import Release
from tianti.router import Answer, Node
from tianti.serving.costs import Costs
from tianti.serving.engine import Engine
from tianti.serving.lane import Job, Lane
from tianti.spec import Tier

T = TypeVar("T")
COST_MS = 10.0


class TimedLane(Lane):
    """Each text is expected to take `COST_MS`; a call takes `took_ms` of its texts. `ran`: the texts of each call."""

    def __init__(
        self,
        release: Release,
        took_ms: Callable[[int], float] = lambda texts: COST_MS * texts,
        costs: Costs | None = None,
    ) -> None:
        super().__init__(Node(release, Tier.CLOUD), costs or Costs((1,), (8,), [[COST_MS]]))
        self._tokenizing_ms = 0.0
        self.took_ms = took_ms
        self.ran: list[list[str]] = []
        self.fails: Callable[[Sequence[Sequence[int]]], None] = lambda _rows: None
        self._run_rows = self.node.runtime.run_rows
        self.node.runtime.run_rows = self.timed  # type: ignore[method-assign]

    def timed(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        loop = running_loop()
        loop.jump(self.took_ms(len(rows)) / 1e3)
        self.fails(rows)
        return self._run_rows(rows)

    def run(self, group: Sequence[Job]) -> list[Answer | RunError]:
        self.ran.append([job.text for job in group])
        return super().run(group)


def running_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def in_virtual_time(work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
    """With an engine on the loop's clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        engine = Engine(runner.get_loop().time)
        try:
            return runner.run(work(engine))
        finally:
            engine.close()
