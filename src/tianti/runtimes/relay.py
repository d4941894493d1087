"""Texts that climb at the same time go up together: many texts, few calls.

There is no timer. Texts that come in one turn of the event loop share a call; where as many calls are under way as
pays, the next ones wait for one that returns, and go together then.
Not here: bytes and sockets (`remote`), how many texts may climb at a time (`router.limit`).
Invariants: a text shares a call only with texts that agree in all that one request says of them, so a private one only
with private ones; each keeps its own deadline; one whose caller has left, or whose time is over, is not sent, and a
call that nobody waits for any more is given up; a text that is refused spoils only itself.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context

from tianti.errors import DeadlineError, TextRefusedError, UpstreamError
from tianti.protocols.infer import MAX_BATCH, MAX_TEXT_CHARS
from tianti.spec import Prediction, Request

CALLS = 4
"""Under way for texts that agree, beyond which others gather (`benchmarks.relay`)."""
_CHARS = MAX_TEXT_CHARS  # of one call: a body takes as many, however JSON escapes them

Key = tuple[object, ...]
Send = Callable[[Sequence[Request], float], Awaitable[Sequence[Prediction]]]


class _Climbing:
    """A text on its way up, in the context of its request; `answer` is also why there is none."""

    __slots__ = ("answer", "call", "context", "request", "until_s")

    def __init__(self, request: Request, until_s: float, answer: "asyncio.Future[Prediction | Exception]") -> None:
        self.request, self.until_s, self.answer = request, until_s, answer
        self.context = copy_context()
        self.call: _Call | None = None

    def tell(self, answer: Prediction | Exception) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class _Call:
    """One request to the node, for some texts."""

    def __init__(self, texts: Sequence[_Climbing]) -> None:
        self.texts = texts
        self.failed = False  # and one of its texts has been told
        self.task: asyncio.Task[None] | None = None

    def fail(self, error: UpstreamError) -> None:
        for climbing in self.texts:
            if not climbing.answer.done():
                climbing.tell(type(error)(str(error), shared=self.failed))
                self.failed = True


class _Group:
    """Texts that agree: those that wait, and the calls under way."""

    def __init__(self) -> None:
        self.waiting: list[_Climbing] = []
        self.calls: set[_Call] = set()
        self.woken = False


class Relay:
    """Gathers texts for one node. Used from one event loop.

    Args:
        name: of the node, for messages.
        send: asks it, within a time, for the predictions of texts that agree, in their order; raises an UpstreamError.
    """

    def __init__(self, name: str, send: Send) -> None:
        self._name, self._send = name, send
        self._groups: dict[Key, _Group] = {}

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        """The answer to one text; waiting for a call to return is part of its time.

        Raises:
            DeadlineError: not within `remaining_s`.
            UpstreamError: what `send` raised.
        """
        loop = asyncio.get_running_loop()
        group = self._groups.setdefault(key := _agreeing(request, remaining_s), _Group())
        climbing = _Climbing(request, loop.time() + remaining_s, loop.create_future())
        group.waiting.append(climbing)
        if not group.woken and len(group.calls) < CALLS:
            group.woken = True
            loop.call_soon(self._begin, key, group)
        try:
            async with asyncio.timeout(remaining_s):
                answer = await climbing.answer
        except TimeoutError:
            late = f"{self._name} did not answer within {remaining_s * 1e3:.0f} ms"
            raise DeadlineError(late, shared=_leave(climbing, group)) from None
        except asyncio.CancelledError:
            _leave(climbing, group)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _begin(self, key: Key, group: _Group) -> None:
        """Send what waits, in as many calls as there is room for."""
        loop = asyncio.get_running_loop()
        group.woken = False
        while len(group.calls) < CALLS and (texts := _take(group.waiting, loop.time())):
            call = _Call(texts)
            group.calls.add(call)
            for climbing in texts:
                climbing.call = call
            call.task = loop.create_task(self._run(call), context=texts[0].context)
            call.task.add_done_callback(lambda _task, call=call: self._returned(key, group, call))  # type: ignore[misc]
        if not group.calls and not group.waiting:
            self._groups.pop(key, None)

    def _returned(self, key: Key, group: _Group, call: _Call) -> None:
        group.calls.discard(call)
        call.fail(UpstreamError(f"{self._name} was left before it answered"))  # all others were told
        if not group.woken:
            self._begin(key, group)

    async def _run(self, call: _Call) -> None:
        """Ask for some texts, and tell each what came of it."""
        loop = asyncio.get_running_loop()
        remaining_s = max(climbing.until_s for climbing in call.texts) - loop.time()
        try:
            answers = await self._send([climbing.request for climbing in call.texts], remaining_s)
        except TextRefusedError as error:
            if len(call.texts) == 1:
                call.fail(error)
                return
            apart = [
                _Call([climbing]) for climbing in call.texts if not climbing.answer.done()
            ]  # which it was is not said
            await asyncio.gather(*(loop.create_task(self._run(one), context=one.texts[0].context) for one in apart))
        except UpstreamError as error:
            call.fail(error)
        except Exception as error:  # a fault of ours
            for climbing in call.texts:
                climbing.tell(error)
        else:
            for climbing, answer in zip(call.texts, answers, strict=True):
                climbing.tell(answer)

    def close(self) -> None:
        """Tell all that they are not answered."""
        for group in self._groups.values():
            for climbing in group.waiting:
                climbing.tell(UpstreamError(f"{self._name} is asked no longer"))
            for call in group.calls:
                if call.task is not None:
                    call.task.cancel()


def _agreeing(request: Request, remaining_s: float) -> Key:
    """What texts of one call have in common; their time too, within a factor of two: the last one holds up all."""
    asked = (request.release, request.point, request.passed_by, request.audit, request.priority, request.private)
    return (*asked, math.frexp(remaining_s)[1])


def _take(waiting: list[_Climbing], now_s: float) -> list[_Climbing]:
    """The texts of the next call, the oldest first; those that nobody waits for, or not long enough, are dropped."""
    texts: list[_Climbing] = []
    chars = passed = 0
    for climbing in waiting:
        if not climbing.answer.done() and climbing.until_s > now_s:
            chars += len(climbing.request.text)
            if len(texts) == MAX_BATCH or (texts and chars > _CHARS):
                break
            texts.append(climbing)
        passed += 1
    del waiting[:passed]
    return texts


def _leave(climbing: _Climbing, group: _Group) -> bool:
    """Wait no longer. True: that tells nothing of the node that others do not tell."""
    call = climbing.call
    if call is None:
        if climbing in group.waiting:
            group.waiting.remove(climbing)
        return True
    shared, call.failed = call.failed, True
    if call.task is not None and all(each.answer.done() for each in call.texts):
        call.task.cancel()
    return shared
