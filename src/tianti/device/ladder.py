"""The ladder inside somebody's program: `load()` a release, then ask it, synchronously or not.

The local model runs in the caller's thread. Only a text that has to climb goes to one private thread with an event
loop, which is started for the first such text; a ladder without upstream never has one.
Not here: who answers (`router`), HTTP (`runtimes.remote`), serving others (`serving`).
Invariants: no text is lost and none is answered after its deadline; importing this module loads no engine and no
network library.
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tianti.device.background import Background
from tianti.errors import RunError, UsageError
from tianti.package import find_release, read_release
from tianti.router import (
    AUDITS,
    Answer,
    Ask,
    Auditor,
    Journal,
    Node,
    Outcome,
    Policy,
    Status,
    Terms,
    conclude,
    connect,
    follow,
)
from tianti.runtimes.trust import Trust
from tianti.spec import Prediction, Reason, Request, Tier

if TYPE_CHECKING:
    from concurrent.futures import Future

IN_FLIGHT = 8
"""Most texts of one `predict_many` that climb at a time; the next one's clock starts when there is room."""
_RELEASES = Path(".tianti") / "releases"


class _Climbing(NamedTuple):
    """A text on its way up: its answer to come, and what is known here if it comes too late."""

    text: str
    future: "Future[Prediction]"
    here: Answer | RunError
    terms: Terms
    started_s: float


def load(
    release: str | Path,
    upstream: str | Sequence[str] | None = None,
    *,
    tier: Tier = Tier.DEVICE,
    point: float | None = None,
    laxest: float | None = None,
    per_day: float | None = None,
    audits: float = AUDITS,
    deadline_ms: float = 500.0,
    trust: Trust | None = None,
    log: str | Path | None = None,
    log_texts: bool = False,
) -> "Ladder":
    """Make a release ready to answer.

    Args:
        release: a release's folder; or an id or `latest`, looked up in `.tianti/releases` of the current folder.
        upstream: URL of the next higher node, or `cloud` for the server that the release has as its cloud (`cloud=URL`
            where it has moved); of several, each is asked where those before it are out.
        tier: the tier whose model runs here.
        point: the alpha to answer under; default: 1 % if certified, else the nearest below, else the smallest.
        laxest: up to which certified alpha load, budget or the program's own pressure may move the point; default: it
            stays. An alarm of the audits moves it to a stricter one in any case.
        per_day: money for higher tiers in any 24 hours, at the release's prices; what is past it is answered here.
        audits: share of texts whose answer is compared with the cloud's, later and unseen: 0 for none.
        deadline_ms: within which every text is answered, counted from its `predict`.
        trust: how the nodes above are known, and what they are shown: a private authority, a certificate, a token.
        log: a file to which a JSON line for each answer is appended: scores, times, who answered (`tianti replay`).
        log_texts: write the raw texts to that file too.

    Raises:
        PackageError: there is no such release, or it is malformed; an IntegrityError if its bytes are not its own.
        UsageError: the point is not certified, a URL is not one, what `trust` names cannot be used, the deadline is not
            a time, the log cannot be written.
    """
    if not 0.0 < deadline_ms < float("inf"):
        raise UsageError(f"deadline_ms: expected milliseconds above 0, got {deadline_ms}")
    found = read_release(find_release(str(release), _RELEASES))
    urls = [upstream] if isinstance(upstream, str) else list(upstream or ())
    policy = Policy(point=point, laxest=laxest, per_day=per_day, audits=audits)
    if log_texts and log is None:
        raise UsageError("log_texts: expected a log to write them to, got none; name it as log=FILE")
    (upstreams,) = connect(urls, [found], trust)
    node = Node(found, tier, upstreams, policy=policy)
    return Ladder(node, deadline_ms, None if log is None else Journal(Path(log), log_texts))


class Ladder:
    """Answers texts, on this machine where the certificate allows it. Safe to use from several threads.

    A context manager, `with` and `async with`; `close` it otherwise.
    """

    def __init__(self, node: Node, deadline_ms: float, journal: Journal | None = None) -> None:
        self._node = node
        self._auditor = Auditor(node)
        self._deadline_ms = deadline_ms
        self._background = Background()
        self._journal = journal
        self._closed = False

    def predict(self, text: str) -> Prediction:
        """Answer one text.

        Raises:
            UsageError: it is not a text, or the ladder is closed.
            RunError: no tier gave a usable answer.
        """
        step = self._begin(text)
        return step if isinstance(step, Prediction) else self._wait(step)

    def predict_many(self, texts: Iterable[str]) -> list[Prediction]:
        """Answer texts, in their order. Each has the whole deadline, from when its turn comes. Raises as `predict`."""
        answers: dict[int, Prediction] = {}
        climbing: deque[tuple[int, _Climbing]] = deque()

        def settle_down_to(left: int) -> None:
            while len(climbing) > left:
                index, step = climbing.popleft()
                answers[index] = self._wait(step)

        try:
            for index, text in enumerate(texts):
                settle_down_to(self._room() - 1)
                step = self._begin(text)
                if isinstance(step, Prediction):
                    answers[index] = step
                else:
                    climbing.append((index, step))
            settle_down_to(0)
        finally:
            for _, step in climbing:  # none, unless a text could not be answered
                step.future.cancel()
        return [answers[index] for index in range(len(answers))]

    async def apredict(self, text: str) -> Prediction:
        """`predict` for an event loop, which is never blocked: the local model runs in a worker thread."""
        import asyncio

        step = await asyncio.to_thread(self._begin, text)
        if isinstance(step, Prediction):
            return step
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(step.future), self._patience_s(step))
        except TimeoutError:
            answer = self._give_up(step, Reason.DEADLINE)
        return self._logged(answer, step.text)

    async def apredict_many(self, texts: Iterable[str]) -> list[Prediction]:
        """`predict_many` for an event loop."""
        import asyncio

        asked: list[asyncio.Task[Prediction]] = []
        pending: set[asyncio.Task[Prediction]] = set()
        try:
            for text in texts:
                while len(pending) >= self._room():
                    _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                asked.append(asyncio.create_task(self.apredict(text)))
                pending.add(asked[-1])
            return await asyncio.gather(*asked)
        finally:
            for task in asked:  # done, unless a text could not be answered
                task.cancel()

    def _room(self) -> int:
        """How many texts of one call may climb at a time: one who can wait need not meet an upstream that is full."""
        return min(IN_FLIGHT, max((upstream.room for upstream in self._node.upstreams), default=IN_FLIGHT))

    def status(self) -> Status:
        """The point in use and why, who answered how often, and what audits have found."""
        return self._node.control.status()

    def press(self, name: str, pressure: float) -> None:
        """Tell of pressure on the program's own side, such as `battery` or `heat`: 0 = none, 1 = all that there is.

        Where `laxest` allows it, lasting pressure moves to a certified point that asks less of higher tiers.

        Raises:
            UsageError: it is not from 0 to 1.
        """
        self._node.control.press(name, pressure)

    def close(self) -> None:
        """End the private thread, if there is one; what is climbing is answered here. Closing twice does no harm."""
        self._closed = True
        self._background.close(self._close_upstreams())
        if self._journal is not None:
            self._journal.close()

    def _begin(self, text: str) -> Prediction | _Climbing:
        """Run the local model; the answer, if it is kept, else what has been set going."""
        node = self._node
        started_s = node.clock()
        if self._closed:
            raise UsageError("this ladder is closed; load the release again")
        terms, audited = node.entry_terms(self._deadline_ms, started_s), self._auditor.coin()
        here = node.answer(text)
        prediction = node.keep(here, terms, started_s)
        if prediction is None:
            steps = node.climb(here, terms, started_s)
            try:
                ask = next(steps)
            except StopIteration as done:
                prediction = done.value
        if prediction is not None:
            if audited and self._auditor.can(prediction):
                self._background.submit(self._auditor.begin(text, prediction))
            return prediction if self._journal is None else self._logged(prediction, text)
        request = Request(
            text=text,
            release=node.release,
            point=terms.point,
            passed_by=node.tier,
            deadline_ms=self._deadline_ms,
        )
        answer = self._background.submit(self._climb(steps, ask, request, audited))
        return _Climbing(text, answer, here, terms, started_s)

    async def _climb(
        self, steps: Generator[Ask, Outcome, Prediction], ask: Ask, request: Request, audited: bool
    ) -> Prediction:
        prediction = await follow(steps, ask, request, self._node.upstreams, self._node.clock)
        if audited:
            await self._auditor.begin(request.text, prediction)
        return prediction

    def _wait(self, step: _Climbing) -> Prediction:
        from concurrent.futures import CancelledError

        try:
            answer = step.future.result(self._patience_s(step))
        except TimeoutError:
            answer = self._give_up(step, Reason.DEADLINE)
        except CancelledError:  # by `close`
            answer = self._give_up(step, Reason.UPSTREAM_DOWN)
        finally:
            step.future.cancel()
        return self._logged(answer, step.text)

    def _logged(self, prediction: Prediction, text: str) -> Prediction:
        if self._journal is not None:
            self._journal.write(prediction, self._node.release, self._node.tier, self._deadline_ms, text)
        return prediction

    def _patience_s(self, step: _Climbing) -> float:
        """The climb keeps its deadline itself; half of the reserve later, its thread is not getting the processor."""
        until_s = step.started_s + step.terms.deadline_s - step.terms.reserve_s / 2
        return max(until_s - self._node.clock(), 0.0)

    def _give_up(self, step: _Climbing, reason: Reason) -> Prediction:
        elapsed_s = self._node.clock() - step.started_s
        prediction = conclude(step.here, step.terms, reason, (self._node.tier,), elapsed_s)
        self._node.control.answered(prediction)
        return prediction

    async def _close_upstreams(self) -> None:
        await self._auditor.aclose()
        for upstream in self._node.upstreams:
            await upstream.aclose()

    def __enter__(self) -> "Ladder":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> "Ladder":
        return self

    async def __aexit__(self, *error: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)
