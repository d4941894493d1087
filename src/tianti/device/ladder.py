"""The ladder inside somebody's program: `load()` a release, then ask it, synchronously or not.

The local model runs in the caller's thread. Only a text that has to climb goes to one private thread with an event
loop, which is started for the first such text; a ladder without upstream never has one.
Not here: who answers (`router`), HTTP (`runtimes.remote`), serving others (`serving`).
A ladder may come to another release while it answers (`swap`): a text that is under way ends where it began.
Invariants: no text is lost and none is answered after its deadline; importing this module loads no engine and no
network library.
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tianti.device.background import Background
from tianti.errors import RunError, UsageError
from tianti.package import find_release, read_release
from tianti.router import (
    AUDITS,
    Answer,
    Ask,
    Auditor,
    Departure,
    Egress,
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
from tianti.spec import Prediction, Reason, Tier
from tianti.telemetry.context import KEPT_BACK

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tianti.explain import Explanation, Here

IN_FLIGHT = 8
"""Most texts of one `predict_many` that climb at a time; the next one's clock starts when there is room."""
_RELEASES = Path(".tianti") / "releases"


class _Climbing(NamedTuple):
    """A text on its way up: its answer to come, and what is known here if it comes too late."""

    text: str
    node: Node
    departure: Departure
    future: "Future[Prediction]"
    here: Answer | RunError
    terms: Terms
    started_s: float


class Witness(Protocol):
    """Is told of every answer, and closed with the ladder: a decision log."""

    def write(self, prediction: Prediction, release: str, entry: Tier, deadline_ms: float, text: str) -> None:
        """An answer was given. Never raises and never waits."""
        ...

    def close(self) -> None:
        """There will be no more."""
        ...


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
    egress: str | Path | None = None,
    tracing: bool = False,
) -> "Ladder":
    """Make a release ready to answer.

    Args:
        release: a release's folder; or an id or `latest`, looked up in `.tianti/releases` of the current folder; or a
            device's folder (`tianti device enroll`), whose releases are then kept up to date while the program runs.
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
        egress: a file to which a JSON line is appended for each text that left this device or was held back here:
            types and counts of what was found, no value and no text.
        tracing: make spans of the program's OpenTelemetry traces, which the nodes that are asked go on with.

    Raises:
        MissingExtraError: tracing is wanted, and OpenTelemetry is not installed.
        PackageError: there is no such release, or it is malformed; an IntegrityError if its bytes are not its own.
        PrivacyError: a detector that the release names is not here, or is another.
        UpdateError: a device has no release yet, and its first one cannot be fetched.
        UsageError: the point is not certified, a URL is not one, what `trust` names cannot be used, the deadline is not
            a time, a log cannot be written.
    """
    if not 0.0 < deadline_ms < float("inf"):
        raise UsageError(f"deadline_ms: expected milliseconds above 0, got {deadline_ms}")
    urls = [upstream] if isinstance(upstream, str) else list(upstream or ())
    policy = Policy(point=point, laxest=laxest, per_day=per_day, audits=audits)
    if log_texts and log is None:
        raise UsageError("log_texts: expected a log to write them to, got none; name it as log=FILE")
    make: type[Ladder] = Ladder
    if tracing:
        from tianti.device.traced import TracedLadder

        make = TracedLadder
    if (Path(release) / "device.json").is_file():
        from tianti.device.updating import load_updating

        return load_updating(
            Path(release), urls, tier, policy, deadline_ms, trust, _journal(log, log_texts), make, _egress(egress)
        )
    found = read_release(find_release(str(release), _RELEASES))
    (upstreams,) = connect(urls, [found], trust)
    node = Node(found, tier, upstreams, policy=policy, egress=_egress(egress))
    return make(node, deadline_ms, _journal(log, log_texts))


def _journal(log: str | Path | None, texts: bool) -> Journal | None:
    return None if log is None else Journal(Path(log), texts)


def _egress(path: str | Path | None) -> Egress | None:
    return None if path is None else Egress(Path(path))


class Ladder:
    """Answers texts, on this machine where the certificate allows it. Safe to use from several threads.

    A context manager, `with` and `async with`; `close` it otherwise.
    """

    def __init__(self, node: Node, deadline_ms: float, witness: Witness | None = None) -> None:
        self._auditor = Auditor(node)
        self._upstreams = list(node.upstreams)
        self._deadline_ms = deadline_ms
        self._background = Background()
        self._witness = witness
        self._closed = False

    @property
    def _node(self) -> Node:
        return self._auditor.node

    def swap(self, auditor: Auditor) -> None:
        """Answer by this auditor's node from the next text on; what is under way ends on the old one, audits too."""
        self._upstreams += [upstream for upstream in auditor.node.upstreams if upstream not in self._upstreams]
        self._auditor = auditor

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

    def explain(self, text: str, prediction: Prediction | None = None) -> "Explanation":
        """Say which words decided, and why the answer comes from the tier that it comes from.

        The words are weighed with the model on this machine, in five or six times an answer's time (LiteRT: up to ten).
        Nothing is sent but what `predict` sends.

        Args:
            text: the text.
            prediction: what `predict` has answered to it; None: it is asked now, as `predict` asks.

        Raises:
            UsageError: as `predict`; or the answer is another ladder's, or of a release from before an update.
            RunError: as `predict`.
        """
        from tianti.explain import explain

        node = self._node  # of before the answer: an update may come meanwhile
        answer = self.predict(text) if prediction is None else self._given(text, prediction)
        try:
            return explain(text, answer, _here(node, text))
        except UsageError:
            if prediction is not None or self._node is node:
                raise
            return explain(text, answer, _here(self._node, text))  # it came just before the answer

    def _given(self, text: str, prediction: Prediction) -> Prediction:
        self._check_open()
        try:
            str.encode(text)
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError("expected the text (str, valid Unicode) that was answered, got another object") from error
        return prediction

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
        return self._witnessed(answer, step.node, step.text)

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
        if self._witness is not None:
            self._witness.close()
        self._node.door.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this ladder is closed; load the release again")

    def _begin(self, text: str) -> Prediction | _Climbing:
        """Run the local model; the answer, if it is kept, else what has been set going."""
        auditor = self._auditor
        node = auditor.node
        started_s = node.clock()
        self._check_open()
        terms, audited = node.entry_terms(self._deadline_ms, started_s), auditor.coin()
        here = node.answer(text)
        prediction = node.keep(here, terms, started_s)
        if prediction is None:
            departure = node.door.depart(text, terms.point)
            steps = node.climb(here, terms, started_s, departure)
            try:
                ask = next(steps)
            except StopIteration as done:
                prediction = done.value
        if prediction is not None:
            if audited and auditor.can(prediction):
                self._background.submit(auditor.begin(text, prediction))
            return prediction if self._witness is None else self._witnessed(prediction, node, text)
        assert departure is not None  # who is asked is asked with it
        answer = self._background.submit(_climb(steps, ask, departure, text, node, auditor if audited else None))
        return _Climbing(text, node, departure, answer, here, terms, started_s)

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
        return self._witnessed(answer, step.node, step.text)

    def _witnessed(self, prediction: Prediction, node: Node, text: str) -> Prediction:
        if self._witness is not None:
            self._witness.write(prediction, node.release, node.tier, self._deadline_ms, text)
        return prediction

    def _patience_s(self, step: _Climbing) -> float:
        """The climb keeps its deadline itself; half of the reserve later, its thread is not getting the processor."""
        until_s = step.started_s + step.terms.deadline_s - step.terms.reserve_s / 2
        return max(until_s - step.node.clock(), 0.0)

    def _give_up(self, step: _Climbing, reason: Reason) -> Prediction:
        node = step.node
        elapsed_s = node.clock() - step.started_s
        prediction = conclude(step.here, step.terms, reason, (node.tier,), elapsed_s, step.departure.redactions)
        node.control.answered(prediction)
        return prediction

    async def _close_upstreams(self) -> None:
        await self._auditor.aclose()
        for upstream in self._upstreams:
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


def _here(node: Node, text: str) -> "Here":
    from tianti.explain import Here

    ways = node.upstreams
    return Here(
        release=node.release,
        record=node.record,
        tier=node.tier,
        runtime=node.runtime,
        leaving=node.leave(text) if ways else None,
        asking_ms=ways[0].median_ms if ways else None,
    )


async def _climb(
    steps: Generator[Ask, Outcome, Prediction],
    ask: Ask,
    departure: Departure,
    text: str,
    node: Node,
    auditor: Auditor | None,
) -> Prediction:
    KEPT_BACK.set(departure.kept_back)
    prediction = await follow(steps, ask, departure.request, node.upstreams, node.clock)
    if auditor is not None:
        await auditor.begin(text, prediction)
    return prediction
