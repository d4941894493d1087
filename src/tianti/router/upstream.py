"""A higher node with its breaker: asked by requests, probed in the background while it is out. And the async driver.

Not here: bytes and sockets (`runtimes.remote`), the breaker's rules (`breaker`).
Invariant: its methods run on one event loop, which alone changes the breaker; other threads only read `is_open`.
"""

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from tianti.errors import UpstreamError
from tianti.router.breaker import Breaker
from tianti.router.climb import Ask, Outcome
from tianti.spec import Prediction, Request

if TYPE_CHECKING:
    import asyncio


class Remote(Protocol):
    """A node that is asked over some network."""

    name: str

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        """The node's answer within the time.

        Raises:
            UpstreamError: there is none, whatever the cause; a DeadlineError if it took too long.
        """
        ...

    async def probe(self) -> bool:
        """Is the node there? Never raises, and takes a second at most."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class Upstream:
    """One way up (a `climb.Way`)."""

    def __init__(self, remote: Remote, clock: Callable[[], float] = time.perf_counter) -> None:
        self.name = remote.name
        self._remote = remote
        self._clock = clock
        self._breaker = Breaker()
        self._prober: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """The node is known to be out."""
        return self._breaker.is_open

    async def ask(self, request: Request, remaining_s: float) -> Prediction | UpstreamError:
        """Ask the node, and remember how it went."""
        try:
            prediction = await self._remote.ask(request, remaining_s)
        except UpstreamError as error:
            self._breaker.failed(self._clock())
            self._ensure_probing()
            return error
        self._breaker.succeeded()
        return prediction

    async def aclose(self) -> None:
        """Stop probing and close the connections."""
        if self._prober is not None:
            self._prober.cancel()
        await self._remote.aclose()

    def _ensure_probing(self) -> None:
        import asyncio

        if self._breaker.is_open and (self._prober is None or self._prober.done()):
            self._prober = asyncio.get_running_loop().create_task(self._probe_until_closed())

    async def _probe_until_closed(self) -> None:
        import asyncio

        while (due_s := self._breaker.probe_at_s) is not None:
            await asyncio.sleep(max(due_s - self._clock(), 0.0))
            self._breaker.probed(await self._remote.probe(), self._clock())


def connect(urls: Sequence[str], model: str) -> list[Upstream]:
    """The nodes at these URLs, which answer for a model of this name; nothing is sent yet.

    Raises:
        UsageError: a URL is not one.
    """
    if not urls:  # a ladder of one rung never loads the network library
        return []
    from tianti.runtimes.remote import RemoteRung

    return [Upstream(RemoteRung(url, model)) for url in urls]


async def follow(
    steps: Generator[Ask, Outcome, Prediction],
    ask: Ask,
    request: Request,
    upstreams: Sequence[Upstream],
    clock: Callable[[], float],
) -> Prediction:
    """Drive a climb from its first ask to its end; `request` is what goes up, with the time that is left.

    Raises:
        RunError: no tier gave a usable answer.
    """
    while True:
        sent = msgspec.structs.replace(request, deadline_ms=ask.remaining_s * 1e3)
        result = await upstreams[ask.way].ask(sent, ask.remaining_s)
        try:
            ask = steps.send(Outcome(result, clock()))
        except StopIteration as done:
            return done.value
