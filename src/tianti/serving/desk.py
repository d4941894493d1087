"""What a node answers with: its releases side by side, and the one thread that runs their models.

Not here: HTTP (`app`), routing (`router`).
Invariants: models run in one thread, so that the event loop (health above all) stays live; a text whose deadline
passed while it queued is not run; a request that names an unknown release is answered by the newest, `certified` false.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tianti.errors import DeadlineError, RunError, UsageError
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.router import Answer, Auditor, Journal, Node, Status, Upstream, follow
from tianti.spec import Prediction, Request

DEADLINE_MS = 500.0
"""Of a request that names none."""


class Desk:
    """Nodes of one tier and one model name, newest release first. They share the upstreams.

    Raises:
        UsageError: the releases are of different models.
    """

    def __init__(self, nodes: Sequence[Node], upstreams: Sequence[Upstream], journal: Journal | None = None) -> None:
        names = sorted({node.name for node in nodes})
        if len(names) != 1:
            raise UsageError(f"a node serves releases of one model; expected one name, got {', '.join(names)}")
        self.model = names[0]
        self.releases = tuple(node.release for node in nodes)
        self._nodes = {node.release: node for node in nodes}
        self._auditors = {node.release: Auditor(node) for node in nodes}
        self._newest = nodes[0]
        self._upstreams = upstreams
        self._journal = journal
        self._engine = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tianti-engine")

    def labels(self, release: str | None) -> tuple[str, ...]:
        """The labels of a release, or of the newest."""
        return (self._newest if release is None else self._nodes[release]).labels

    def status(self) -> dict[str, Status]:
        """What each release has done for requests that entered the ladder here."""
        return {node.release: node.control.status() for node in self._nodes.values()}

    def warm_up(self) -> None:
        """Run every model once, so that the first request does not pay for it."""
        for node in self._nodes.values():
            if isinstance(answer := node.answer("warm up"), RunError):
                raise answer

    async def infer(self, asked: InferRequest) -> InferResponse:
        """Answer a batch; every text has the request's deadline.

        Raises:
            DeadlineError: the deadline passed before the model could run.
            RunError: no tier gave a usable answer to one of the texts.
        """
        node = self._nodes.get(asked.release or self._newest.release, self._newest)
        predictions = await asyncio.gather(*(self._predict(node, text, asked) for text in asked.texts))
        return InferResponse(model=self.model, release=node.release, predictions=tuple(predictions), id=asked.id)

    async def _predict(self, node: Node, text: str, asked: InferRequest) -> Prediction:
        started_s = node.clock()
        deadline_ms = asked.deadline_ms or DEADLINE_MS
        known = asked.release in (None, node.release)
        enters = asked.point is None and asked.passed_by is None and not asked.audit
        audited = enters and self._auditors[node.release].coin()
        if enters and known:
            terms = node.entry_terms(deadline_ms, started_s)
        else:
            terms = node.terms(asked.point, deadline_ms, passed_by=asked.passed_by, known=known, audit=asked.audit)
        here = await asyncio.get_running_loop().run_in_executor(
            self._engine, _answer, node, text, started_s + terms.deadline_s
        )
        steps = node.climb(here, terms, started_s, enters=enters)
        # up goes what came: release and point are the entry node's choice
        up = Request(
            text=text,
            release=asked.release or node.release,
            point=asked.point or terms.point,
            passed_by=node.tier,
            audit=asked.audit,
        )
        try:
            ask = next(steps)
        except StopIteration as done:
            prediction: Prediction = done.value
        else:
            prediction = await follow(steps, ask, up, node.upstreams, node.clock)
        if audited:
            await self._auditors[node.release].begin(text, prediction)
        if enters and self._journal is not None:
            self._journal.write(prediction, node.release, node.tier, deadline_ms, text)
        return prediction

    async def aclose(self) -> None:
        """Close what leads upward, and end the engine's thread."""
        for auditor in self._auditors.values():
            await auditor.aclose()
        for upstream in self._upstreams:
            await upstream.aclose()
        self._engine.shutdown(cancel_futures=True)  # waits for the one text that is running


def _answer(node: Node, text: str, deadline_s: float) -> Answer | RunError:
    if node.clock() >= deadline_s:
        raise DeadlineError("the deadline passed while the request waited for the model; send fewer or allow more time")
    return node.answer(text)
