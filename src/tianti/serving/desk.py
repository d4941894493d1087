"""What a node answers with: one release of one model, and the ways up from it.

Not here: HTTP (`app`), routing (`router`), which release a request is for (`models`).
Invariants: a batch is answered whole or not at all; what is given up half-way is not run further; nothing is kept of a
private request.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from tianti.errors import RunError
from tianti.privacy import Leaving
from tianti.protocols.infer import InferRequest
from tianti.router import Answer, Auditor, Departure, Journal, Terms, beside, follow
from tianti.serving.answers import Answers, Kept, give_again, is_exact
from tianti.serving.engine import Engine, rank_of
from tianti.serving.flights import Flight, Result, Seat, Sharing
from tianti.serving.lane import Lane
from tianti.spec import Prediction

DEADLINE_MS = 500.0
"""Of a request that names none."""


class _Asking(NamedTuple):
    """A request, and what it is answered under; `until_s` is its deadline on the engine's clock."""

    asked: InferRequest
    terms: Terms
    started_s: float
    enters: bool
    until_s: float
    rank: int


_Coming = asyncio.Future[Answer | RunError] | Flight[_Asking] | Seat | Kept
"""What a text waits for: the model's answer for it alone, one that is shared, or nothing at all."""


class Desk:
    """A release, ready to answer.

    Args:
        lane: its model.
        engine: runs it.
        journal: takes a line for each answer.
        cache: how many exact answers to keep; with any, equal texts that are under way share one answer.
    """

    def __init__(self, lane: Lane, engine: Engine, journal: Journal | None = None, cache: int = 0) -> None:
        self.node, self.tally = lane.node, lane.tally
        self._engine = engine
        self._lane = lane
        self._auditor = Auditor(lane.node)
        lane.node.door.count = self._count
        self._journal = journal
        answers = Answers(self.node.tier, cache, self.node.clock) if cache else None
        self._sharing = None if answers is None else Sharing(answers, self.tally, self._run, self._go_on)

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
        until_s = self._engine.clock() + terms.deadline_s
        asking = _Asking(asked, terms, started_s, enters, until_s, rank_of(asked.priority, asked.audit))
        comings: list[_Coming] = []
        answers: list[asyncio.Task[Prediction]] = []
        try:
            self._submit(asking, comings, self._sharing if known else None)
            texts = asked.texts or (None,) * len(asked.ids)
            if len(comings) == 1:
                return (await self._answer(asking, texts[0], comings[0]),)
            start = asyncio.get_running_loop().create_task
            answers.extend(start(self._answer(asking, *each)) for each in zip(texts, comings, strict=True))
            return tuple(await asyncio.gather(*answers))
        finally:
            for answer in answers:
                answer.cancel()  # where one has failed, the others climb for nobody
            for each in comings:
                if not isinstance(each, Kept):
                    each.cancel()  # those that are done stay so

    def _submit(self, asking: _Asking, comings: list[_Coming], sharing: "Sharing[_Asking] | None") -> None:
        asked, terms, _, _, until_s, rank = asking
        submit, lane = self._engine.submit, self._lane
        if sharing is None or asked.private or asked.audit:
            comings.extend(submit(lane, text, until_s, rank) for text in asked.texts)
        else:
            comings.extend(sharing.take(text, asked, terms, rank, asking) for text in asked.texts)
        encoded = [self.node.runtime.check_ids(ids) for ids in asked.ids]
        comings.extend(submit(lane, "", until_s, rank, row) for row in encoded)

    def _run(self, flight: Flight[_Asking], asking: _Asking, text: str) -> None:
        self._engine.tell(flight, self._lane, text, asking.until_s, asking.rank)

    async def _answer(self, asking: _Asking, text: str | None, coming: _Coming) -> Prediction:
        """One text's answer; None: it came as token ids, which no other model understands."""
        node, enters = self.node, asking.enters
        told = enters and not asking.asked.private
        audited = told and text is not None and self._auditor.coin()
        if isinstance(coming, Kept):
            prediction = self._again(asking, coming.prediction, coming.here)
        elif isinstance(coming, Flight):
            result = await coming.result
            if not isinstance(result, Prediction):
                raise result
            prediction = result
        elif isinstance(coming, Seat):
            prediction = await self._from_seat(asking, text or "", coming)
        else:
            prediction = await self._alone(asking, text, await coming)
        if text is not None and audited:
            await self._auditor.begin(text, prediction)
        if told and self._journal is not None:
            self._journal.write(prediction, node.release, node.tier, asking.terms.deadline_s * 1e3, text or "")
        return prediction

    async def _from_seat(self, asking: _Asking, text: str, seat: Seat) -> Prediction:
        """What others wait for too, if it is exact and comes in time; else it goes on alone."""
        result: Result | None = None
        terms, clock = asking.terms, self.node.clock
        with suppress(TimeoutError):
            async with asyncio.timeout(asking.started_s + terms.deadline_s - terms.reserve_s - clock()):
                result = await seat.result
        here = seat.flight.here
        if isinstance(result, Prediction) and is_exact(result, self.node.tier):
            return self._again(asking, result, here)
        if here is None:
            here = await self._engine.submit(self._lane, text, asking.until_s, asking.rank)
        return await self._alone(asking, text, here)

    def _again(self, asking: _Asking, prediction: Prediction, here: Answer | RunError | None) -> Prediction:
        given = give_again(prediction, (self.node.clock() - asking.started_s) * 1e3)
        if asking.enters:
            self.node.control.answered(given, here)
        return given

    async def _alone(self, asking: _Asking, text: str | None, here: Answer | RunError) -> Prediction:
        following = self._go_on(asking, text, here)
        return following if isinstance(following, Prediction) else await following

    def _go_on(
        self, asking: _Asking, text: str | None, here: Answer | RunError
    ) -> Prediction | Coroutine[Any, Any, Prediction]:
        """The local answer if it is kept, else the climb."""
        prediction = self.node.keep(here, asking.terms, asking.started_s, enters=asking.enters)
        return self._climb(asking, text, here) if prediction is None else prediction

    async def _climb(self, asking: _Asking, text: str | None, here: Answer | RunError) -> Prediction:
        node = self.node
        departure = None if text is None else await self._depart(asking, text)
        steps = node.climb(here, asking.terms, asking.started_s, departure, enters=asking.enters)
        try:
            ask = next(steps)
        except StopIteration as done:
            prediction: Prediction = done.value
            return prediction
        assert departure is not None  # who is asked is asked with it
        return await follow(steps, ask, departure.request, node.upstreams, node.clock)

    async def _depart(self, asking: _Asking, text: str) -> Departure | None:
        asked = asking.asked  # of a text from below, up goes what came: release and point are the entry node's choice
        depart = partial(
            self.node.door.depart,
            text,
            asked.point or asking.terms.point,
            passed_by=asked.passed_by,
            release=asked.release,
            audit=asked.audit,
            priority=asked.priority,
            private=asked.private,
        )
        return await beside(self.node.door, text, depart)

    def _count(self, leaving: Leaving, left: bool) -> None:
        if left:
            self.tally.redacted(self.node.door.places(leaving))
        else:
            self.tally.held(leaving.held)

    async def aclose(self) -> None:
        """End the audits that are under way, and keep no answers."""
        if self._sharing is not None:
            self._sharing.answers.clear()
        await self._auditor.aclose()
