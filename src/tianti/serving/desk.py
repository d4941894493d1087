"""What a node answers with: one release of one model, and the ways up from it.

Not here: HTTP (`app`), routing (`router`), which release a request is for (`models`).
Invariant: a batch is answered whole or not at all; what is given up half-way is not run further.
"""

import asyncio
from collections.abc import Generator

from tianti.errors import RunError
from tianti.protocols.infer import InferRequest
from tianti.router import Answer, Ask, Auditor, Journal, Outcome, Terms, follow
from tianti.serving.engine import Engine, rank_of
from tianti.serving.lane import Lane
from tianti.spec import Prediction, Request

DEADLINE_MS = 500.0
"""Of a request that names none."""


class Desk:
    """A release, ready to answer."""

    def __init__(self, lane: Lane, engine: Engine, journal: Journal | None = None) -> None:
        self.node, self.tally = lane.node, lane.tally
        self._engine = engine
        self._lane = lane
        self._auditor = Auditor(lane.node)
        self._journal = journal

    async def infer(self, asked: InferRequest, known: bool) -> tuple[Prediction, ...]:
        """Answer a batch; every text has the request's deadline. `known`: this is the release that it names.

        Raises:
            UsageError: token ids that the model cannot take.
            OverloadError: there is no time for it.
            DeadlineError: the deadline passed before the model could run.
            RunError: no tier gave a usable answer to one of the texts.
        """
        node = self.node
        started_s = node.clock()
        deadline_ms = asked.deadline_ms or DEADLINE_MS
        enters = asked.point is None and asked.passed_by is None and not asked.audit
        if enters and known:
            terms = node.entry_terms(deadline_ms, started_s)
        else:
            terms = node.terms(asked.point, deadline_ms, passed_by=asked.passed_by, known=known, audit=asked.audit)
        futures = self._submit(asked, self._engine.clock() + terms.deadline_s)
        texts = asked.texts or (None,) * len(asked.ids)
        try:
            if len(futures) == 1:
                return (await self._answer(asked, texts[0], futures[0], terms, started_s, enters),)
            answers = (
                self._answer(asked, text, future, terms, started_s, enters)
                for text, future in zip(texts, futures, strict=True)
            )
            return tuple(await asyncio.gather(*answers))
        finally:
            for future in futures:
                future.cancel()  # those that are done stay so

    def _submit(self, asked: InferRequest, until_s: float) -> "list[asyncio.Future[Answer | RunError]]":
        rank = rank_of(asked.priority, asked.audit)
        encoded = [self.node.runtime.check_ids(ids) for ids in asked.ids]
        futures: list[asyncio.Future[Answer | RunError]] = []
        try:
            futures.extend(self._engine.submit(self._lane, text, until_s, rank) for text in asked.texts)
            futures.extend(self._engine.submit(self._lane, "", until_s, rank, row) for row in encoded)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return futures

    async def _answer(
        self,
        asked: InferRequest,
        text: str | None,
        future: "asyncio.Future[Answer | RunError]",
        terms: Terms,
        started_s: float,
        enters: bool,
    ) -> Prediction:
        """One text's answer; None: it came as token ids, which no other model understands."""
        node = self.node
        audited = enters and text is not None and self._auditor.coin()
        here = await future
        prediction = node.keep(here, terms, started_s, enters=enters)
        if prediction is None:
            ways = node.upstreams if text is not None else ()
            steps = node.climb(here, terms, started_s, enters=enters, ways=ways)
            prediction = await self._climb(asked, text or "", terms, steps)
        if text is not None and audited:
            await self._auditor.begin(text, prediction)
        if enters and self._journal is not None:
            self._journal.write(prediction, node.release, node.tier, terms.deadline_s * 1e3, text or "")
        return prediction

    async def _climb(
        self, asked: InferRequest, text: str, terms: Terms, steps: Generator[Ask, Outcome, Prediction]
    ) -> Prediction:
        node = self.node
        try:
            ask = next(steps)
        except StopIteration as done:
            return done.value
        up = Request(  # up goes what came: release and point are the entry node's choice
            text=text,
            release=asked.release or node.release,
            point=asked.point or terms.point,
            passed_by=node.tier,
            audit=asked.audit,
            priority=asked.priority,
            private=asked.private,
        )
        return await follow(steps, ask, up, node.upstreams, node.clock)

    async def aclose(self) -> None:
        """End the audits that are under way."""
        await self._auditor.aclose()
