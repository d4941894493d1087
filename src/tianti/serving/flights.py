"""A text that several requests ask for at the same time is run once, and climbs once; for later ones it is kept.

Not here: what is kept (`answers`), running and climbing (`desk`).
Invariants: nobody's leaving ends what others wait for, and what nobody waits for is given up; nobody waits for what is
less urgent.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from tianti.errors import RunError
from tianti.protocols.infer import InferRequest
from tianti.router import Answer, Terms
from tianti.serving.answers import Answers, Kept
from tianti.spec import Prediction
from tianti.telemetry.tally import Tally

Asking = TypeVar("Asking")
"""A request as the desk knows it."""
Result = Prediction | BaseException
Following = Prediction | Coroutine[Any, Any, Prediction]


class Flight(Generic[Asking]):
    """A text under way; the engine tells it what the local model says, as it would a future (`lane.Receiver`).

    `result` is for the request that it began with, under whose terms it is; others wait in seats of their own. `rank`
    is how urgent it is, 0 first; `here` what the local model said, None: it has not run.
    """

    def __init__(self, sharing: "Sharing[Asking]", key: bytes, rank: int, asking: Asking, text: str) -> None:
        self._sharing, self._key, self._asking, self._text, self.rank = sharing, key, asking, text, rank
        self.result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.here: Answer | RunError | None = None
        self.seats: list[Seat] | None = []  # None: it is over
        self._waiting = 1
        self._climb: asyncio.Task[Prediction] | None = None
        self._context = copy_context()

    def join(self) -> "Seat":
        """Wait for it too."""
        self._waiting += 1
        seat = Seat(self)
        assert self.seats is not None
        self.seats.append(seat)
        return seat

    def cancel(self) -> None:
        """The request that it began with waits no longer; to be called once, whatever came of it."""
        self.result.cancel()
        self.leave()

    def leave(self) -> None:
        """One of those who waited does so no longer."""
        self._waiting -= 1
        if not self._waiting and self.seats is not None:
            self._end(None)
            if self._climb is not None:
                self._climb.cancel()

    def done(self) -> bool:
        """Need the model not be asked any more?"""
        return self.seats is None

    def set_exception(self, error: Exception, /) -> None:
        """The model was not run."""
        self._end(error)

    def set_result(self, here: Answer | RunError, /) -> None:
        """What the model says."""
        self.here = here
        try:
            following = self._sharing.go_on(self._asking, self._text, here)
        except Exception as fault:
            self._end(fault)
            return
        if isinstance(following, Prediction):
            self._end(following)
            return
        self._climb = asyncio.get_running_loop().create_task(following, context=self._context)
        self._climb.add_done_callback(self._climbed)

    def _climbed(self, climb: "asyncio.Task[Prediction]") -> None:
        if climb.cancelled():
            self._end(asyncio.CancelledError())  # the node ends
        else:
            self._end(climb.exception() or climb.result())

    def _end(self, result: Result | None) -> None:
        """Tell all what came of it; None: nobody waits."""
        seats, self.seats = self.seats, None  # what points in a circle would live on, with the text
        if seats is None:
            return
        self._sharing.land(self._key, self, result)
        if result is None:
            return
        if not self.result.done():
            self.result.set_result(result)
        for seat in seats:
            if not seat.result.done():
                seat.result.set_result(result)


class Seat:
    """One more request's place in a flight; `cancel` once, whatever came of it."""

    __slots__ = ("flight", "result")

    def __init__(self, flight: Flight[Any]) -> None:
        self.flight = flight
        self.result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def cancel(self) -> None:
        """Wait no longer."""
        self.result.cancel()
        self.flight.leave()


class Sharing(Generic[Asking]):
    """All texts of one desk that are under way and may be shared, and the answers that were given.

    Args:
        answers: given before.
        tally: counts.
        run: asks the model, for a flight; raises an OverloadError where there is no time for it.
        go_on: what follows from the model's answer: the text's answer, or a climb.
    """

    def __init__(
        self,
        answers: Answers,
        tally: Tally,
        run: "Callable[[Flight[Asking], Asking, str], object]",
        go_on: Callable[[Asking, str, Answer | RunError], Following],
    ) -> None:
        self.answers, self.go_on = answers, go_on
        self._tally, self._run = tally, run
        self._flights: dict[bytes, Flight[Asking]] = {}

    def take(
        self, text: str, asked: InferRequest, terms: Terms, rank: int, asking: Asking
    ) -> "Flight[Asking] | Seat | Kept":
        """An answer of before, a seat with those who wait already, or a new flight.

        Raises:
            OverloadError: there is none, and no time for one.
        """
        key = self.answers.key(text, asked, terms)
        if (kept := self.answers.find(key)) is not None:
            self._tally.cached("hit")
            return kept
        flight = self._flights.get(key)
        if flight is not None and flight.rank <= rank:
            self._tally.cached("coalesced")
            return flight.join()
        flight = Flight(self, key, rank, asking, text)
        self._run(flight, asking, text)
        self._flights[key] = flight
        self._tally.cached("miss")
        return flight

    def land(self, key: bytes, flight: Flight[Asking], result: Result | None) -> None:
        """A flight is over."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        if isinstance(result, Prediction):
            self.answers.keep(key, result, flight.here)
