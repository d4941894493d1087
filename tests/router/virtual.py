"""An event loop whose clock jumps to the next timer, and a remote node that lives in it: outages without waiting."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tianti.errors import DeadlineError, UpstreamError
from tianti.spec import Decision, Prediction, Probabilities, Reason, Request, Tier

T = TypeVar("T")


class _NeverWaits(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` moves only when nothing is left to do but to wait; what is for other threads is done here at once."""

    def __init__(self) -> None:
        super().__init__(_NeverWaits())  # not even where the next timer turns out to be cancelled
        self._now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def jump(self, by_s: float) -> None:
        """The machine slept: all timers of that time are due now."""
        self._now_s += by_s

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now_s = max(self._now_s, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def now_s() -> float:
    return asyncio.get_running_loop().time()


def answer_of(tier: Tier, reason: Reason = Reason.TOP, label: str = "up") -> Prediction:
    decision = Decision(reason=reason, certified=True, tiers_tried=(tier,))
    return Prediction(
        label=label, score=0.9, probabilities=Probabilities.of({label: 0.9}), tier=tier, package="p", decision=decision
    )


class FakeRemote:
    """Answers after `delay_s`; between `down_s` = (from, to) it refuses, or is silent where `hangs`."""

    def __init__(
        self,
        name: str = "cloud",
        *,
        delay_s: float = 0.02,
        down_s: tuple[float, float] = (0.0, 0.0),
        hangs: bool = False,
        tier: Tier = Tier.CLOUD,
    ) -> None:
        self.name = name
        self.delay_s = delay_s
        self.down_s = down_s
        self.hangs = hangs
        self.tier = tier
        self.asked: list[float] = []  # when a user's request came
        self.requests: list[Request] = []
        self.failed: list[float] = []
        self.probed: list[float] = []

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        self.asked.append(now_s())
        self.requests.append(request)
        try:
            async with asyncio.timeout(remaining_s):
                await self._respond(self.delay_s)
        except TimeoutError:
            self.failed.append(now_s())
            raise DeadlineError("too late") from None
        except UpstreamError:
            self.failed.append(now_s())
            raise
        return answer_of(self.tier)

    async def probe(self) -> bool:
        self.probed.append(now_s())
        try:
            async with asyncio.timeout(1.0):
                await self._respond(0.001)
        except (TimeoutError, UpstreamError):
            return False
        return True

    async def aclose(self) -> None:
        pass

    async def _respond(self, delay_s: float) -> None:
        if self.down_s[0] <= now_s() < self.down_s[1]:
            if self.hangs:
                await asyncio.sleep(3600)
            raise UpstreamError("refused")
        await asyncio.sleep(delay_s)
