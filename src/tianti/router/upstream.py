"""A higher node with its breaker, limit and retries: asked by requests, probed while it is out. And the async driver.

Not here: bytes and sockets (`runtimes.remote`), the rules (`breaker`, `limit`, `allowances`).
Invariant: its methods run on one event loop, which alone changes them; other threads only read (`refusal`).
"""

import math
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Protocol

import msgspec

from tianti.errors import BusyError, DeadlineError, TextRefusedError, UnaskedError, UpstreamError
from tianti.package import Release
from tianti.router.allowances import Retries
from tianti.router.breaker import MAX_WAIT_S, Breaker
from tianti.router.climb import Ask, Outcome
from tianti.router.limit import Limit
from tianti.runtimes.trust import Trust
from tianti.spec import Prediction, Reason, Request, Tier
from tianti.telemetry.context import TRACE

if TYPE_CHECKING:
    import asyncio


class Remote(Protocol):
    """A node that is asked over some network."""

    name: str

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        """The node's answer within the time.

        Raises:
            UpstreamError: there is none, whatever the cause; a DeadlineError if it took too long, a BusyError if the
                node says that it has more to do than it can.
        """
        ...

    async def probe(self) -> bool:
        """Is the node there? Never raises, and takes a second at most."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


_BASE_WAIT_S = 0.05  # before the first retry at most (full jitter), doubled for the next
_RECENT = 64  # answers that tell how long one usually takes
_RECENT_S = 30.0  # and how old they may be: one that has become slow is tried again after that
_TELLING = 20  # fewer tell nothing
_FULL_S = 0.5  # after a request found no room, or no answer in time


class Upstream:
    """One way up (a `climb.Way`)."""

    def __init__(
        self,
        remote: Remote,
        clock: Callable[[], float] = time.perf_counter,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = remote.name
        self._remote = remote
        self._clock = clock
        self._jitter = jitter
        self._breaker = Breaker(jitter)
        self._limit, self._audits = Limit(jitter), Limit(jitter)
        self._retries = Retries()
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # (when, how long)
        self._usual_s = 0.0
        self._full_at_s = -math.inf
        self._prober: asyncio.Task[None] | None = None

    @property
    def room(self) -> int:
        """How many requests may be under way to it at a time."""
        return int(self._limit.limit)

    @property
    def use(self) -> float:
        """Share of what it can take that is under way; 1 for a while after it was too much."""
        if 0.0 <= self._clock() - self._full_at_s < _FULL_S:
            return 1.0
        return self._limit.use

    @property
    def median_ms(self) -> float | None:
        """How long its recent answers took, for people to read; None: there are too few to tell."""
        took_s = [took_s for _, took_s in self._recent.copy()]  # the event loop may append to it meanwhile
        return 1e3 * statistics.median(took_s) if len(took_s) >= _TELLING else None

    def refusal(self, remaining_s: float) -> Reason | None:
        """Why not to ask it: it is out, or nineteen of twenty recent answers took longer than there is time for."""
        if self._breaker.is_open:
            return Reason.BREAKER_OPEN
        if self._usual_s > remaining_s and self._recent and 0.0 <= self._clock() - self._recent[-1][0] < _RECENT_S:
            return Reason.DEADLINE
        return None

    def retry_in_s(self, attempt: int) -> float | None:
        """Full jitter (Brooker 2015), within the budget of retries."""
        return self._jitter() * math.ldexp(_BASE_WAIT_S, attempt - 1) if self._retries.take() else None

    async def ask(self, request: Request, remaining_s: float) -> Prediction | UpstreamError:
        """Ask the node, and remember how it went; audits come last there, take no request's place and tell nothing."""
        if self._breaker.is_open:  # since a retry began to wait
            return UnaskedError(f"{self.name} is out; it was not asked")
        limit = self._audits if request.audit else self._limit
        if not limit.enter():
            self._was_full(request)
            return UnaskedError(f"{self.name} has as much under way as it can take; it was not asked")
        began_s, took_s = self._clock(), None
        try:
            asking, trace = self._remote.ask(request, remaining_s), TRACE.get()
            prediction = await (asking if trace is None else trace.ask(self.name, request, asking))
            took_s = self._clock() - began_s
        except TextRefusedError as error:  # it is there, and has answered
            took_s = self._clock() - began_s
            self._breaker.succeeded()
            return error
        except BusyError as error:  # neither a failure nor a success; the limit shrinks until it says so no more
            self._was_full(request)
            return error
        except UpstreamError as error:
            if not error.shared:  # one call that fails is one failure, however many texts it took along
                self._breaker.failed(self._clock())
                self._ensure_probing()
            if isinstance(error, DeadlineError):
                self._was_full(request)
            return error
        finally:  # also where the caller gave up
            limit.left(took_s, self._clock())
        self._breaker.succeeded()
        self._retries.succeeded()
        if not request.audit:
            self._remember(took_s)
        return prediction

    def _was_full(self, request: Request) -> None:
        if not request.audit:
            self._full_at_s = self._clock()

    def _remember(self, took_s: float) -> None:
        self._recent.append((self._clock(), took_s))
        if len(self._recent) >= _TELLING:
            self._usual_s = sorted(took for _, took in self._recent)[len(self._recent) // 20]

    async def aclose(self) -> None:
        """Stop probing and close the connections."""
        if self._prober is not None:
            self._prober.cancel()
        await self._remote.aclose()

    def _ensure_probing(self) -> None:
        import asyncio

        if self._breaker.is_open and (self._prober is None or self._prober.done()):
            # a context of its own: probes belong to no request, whoever found out that they are needed
            probing = self._probe_until_closed()
            self._prober = asyncio.get_running_loop().create_task(probing, context=Context())

    async def _probe_until_closed(self) -> None:
        import asyncio

        while (due_s := self._breaker.probe_at_s) is not None:
            await asyncio.sleep(min(max(due_s - self._clock(), 0.0), MAX_WAIT_S))
            self._breaker.probed(await self._remote.probe(), self._clock())


def connect(
    names: Sequence[str],
    releases: Sequence[Release],
    trust: Trust | None = None,
    known: dict[tuple[str, str], Upstream] | None = None,
    heard: Callable[[int], None] | None = None,
) -> list[list[Upstream]]:
    """What each release may ask; nothing is sent yet.

    Args:
        names: URLs of our nodes, which all releases share; `cloud` for the server that a release names as its cloud,
            and `cloud=URL` for the same model at another place.
        releases: all of one model name.
        trust: how our nodes are known, and what they are shown; a called cloud is shown none of it.
        known: those that there are already, by name and by what they are asked for; new ones are added.
        heard: is told, on the event loop, of the rollout's version that a node of ours names.

    Raises:
        UsageError: a URL is not one, what the trust names cannot be used, or the cloud's secret is missing.
        PackageError: a release holds its cloud's model, so there is no server to call.
    """
    known = {} if known is None else known
    return [[_upstream(name, release, trust, known, heard) for name in names] for release in releases]


def _upstream(
    name: str,
    release: Release,
    trust: Trust | None,
    known: dict[tuple[str, str], Upstream],
    heard: Callable[[int], None] | None,
) -> Upstream:
    called = _is_cloud(name)
    key = (name, release.id if called else release.record.name)
    if key not in known:
        known[key] = Upstream(_cloud(name, release) if called else _node(name, release, trust, heard))
    return known[key]


def _is_cloud(name: str) -> bool:
    return name.partition("=")[0] == Tier.CLOUD


def _node(url: str, release: Release, trust: Trust | None, heard: Callable[[int], None] | None) -> Remote:
    from tianti.runtimes.remote import RemoteRung  # a ladder of one rung never loads the network library

    return RemoteRung(url, release.record.name, trust, heard)


def _cloud(name: str, release: Release) -> Remote:
    from tianti.runtimes.endpoint import EndpointRung

    return EndpointRung(release.package(Tier.CLOUD), release.id, name.partition("=")[2] or None)


async def follow(
    steps: Generator[Ask, Outcome, Prediction],
    ask: Ask,
    request: Request,
    upstreams: Sequence[Upstream],
    clock: Callable[[], float],
) -> Prediction:
    """Drive a climb from its first ask to its end; `request` is what goes up, with the time that is left.

    The time that passes is the event loop's, so that a `clock` which is set meanwhile makes nobody wait.

    Raises:
        RunError: no tier gave a usable answer.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    ahead_s = clock() - loop.time()
    try:
        while True:
            if ask.wait_s > 0.0:
                await asyncio.sleep(ask.wait_s)
            remaining_s = ask.remaining_s - ask.wait_s
            sent = msgspec.structs.replace(request, deadline_ms=remaining_s * 1e3)
            result = await upstreams[ask.way].ask(sent, remaining_s)
            ask = steps.send(Outcome(result, loop.time() + ahead_s))
    except StopIteration as done:
        return done.value
    finally:
        steps.close()  # now, where the request was cancelled: what it came to is logged
