"""Audits: some requests that were answered below the cloud are asked there too, later, and the answers compared.

Not here: what follows (`Control.report`).
Invariants: nobody waits for an audit; whether there is one is decided before anything is known of the request, so that
audits speak for all requests that may leave; while IN_FLIGHT are under way none is begun; one that the cloud did not
answer says nothing; what the cloud is asked goes through the node's door.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tianti.errors import UnaskedError
from tianti.router.door import beside
from tianti.router.node import Node
from tianti.spec import Prediction, Tier

if TYPE_CHECKING:
    import asyncio

IN_FLIGHT = 4
_PATIENCE_S = 5.0


class Auditor:
    """Audits the answers of one entry node, on the running event loop.

    `heard` is told of each audit: the text, the answer that was given, and the cloud's label.
    """

    def __init__(self, node: Node, heard: Callable[[str, Prediction, str], None] | None = None) -> None:
        self.node = node
        self._heard = heard
        self._tasks: set[asyncio.Task[None]] = set()

    def coin(self) -> bool:
        """Is the next request audited? Not where many audits are under way: whatever its answer will be."""
        return len(self._tasks) < IN_FLIGHT and self.node.control.coin()

    def can(self, prediction: Prediction) -> bool:
        """Is there something to compare, and somebody to ask? So that what would come to nothing is not set going."""
        return prediction.decision.certified and any(
            upstream.refusal(_PATIENCE_S) is None for upstream in self.node.upstreams
        )

    async def begin(self, text: str, prediction: Prediction) -> None:
        """Audit an answer, in the background. One that the certificate does not cover is left alone."""
        point = prediction.decision.point
        if point is None or not prediction.decision.certified:
            return
        if prediction.tier is Tier.CLOUD:
            self._found(text, prediction, point, prediction.label)
            return
        import asyncio

        task = asyncio.get_running_loop().create_task(self._compare(text, prediction, point))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Drop what is under way; the egress log has it then."""
        import asyncio

        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _compare(self, text: str, prediction: Prediction, point: float) -> None:
        node = self.node
        departure = await beside(node.door, text, partial(node.door.depart, text, point, audit=True))
        if departure is None:
            return
        asked: list[str] = []
        try:
            for upstream in () if departure.held else node.upstreams:
                if upstream.refusal(_PATIENCE_S) is not None or not node.control.reserve(node.clock()):
                    continue
                asked.append(upstream.name)  # first, for the audit may be dropped
                above = await upstream.ask(departure.request, _PATIENCE_S)
                if isinstance(above, UnaskedError):
                    asked.pop()
                node.control.settle(above if isinstance(above, Prediction) else None, node.clock())
                if isinstance(above, Prediction) and above.tier is Tier.CLOUD:
                    self._found(text, prediction, point, above.label)
                    return
        finally:
            node.door.log(departure, asked)

    def _found(self, text: str, prediction: Prediction, point: float, label: str) -> None:
        self.node.control.report(point, label != prediction.label)
        if self._heard is not None:
            self._heard(text, prediction, label)
