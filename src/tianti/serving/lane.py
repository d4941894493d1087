"""One release's model as the engine runs it: what its texts cost, and which of them wait.

Not here: when it is its turn (`engine`), which texts share a call (`grouping`).
Invariant: texts are tokenised once; those that wait are in the order of their lengths.
"""

import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Protocol

from tianti.errors import RunError
from tianti.router import Answer, Node
from tianti.runtimes import Encoded
from tianti.serving.costs import Costs, measure
from tianti.serving.grouping import choose_group
from tianti.telemetry.context import TRACE
from tianti.telemetry.tally import Tally

_TEXTS = 16  # of the package's own, to learn from
_MATES = 16  # or more where that pays: of those that wait, who may share a call with the most urgent one
_ORDER, _LENGTH = attrgetter("order"), attrgetter("length")
_LEARN = 0.05  # share of the newest text in what is known of texts


class Receiver(Protocol):
    """Who is told what the model says: a future, or what several requests wait for (`flights`)."""

    def done(self) -> bool:
        """Does nobody wait any more?"""
        ...

    def set_result(self, answer: Answer | RunError, /) -> None:
        """What it says, or why it cannot."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """It was not run."""
        ...


class Job:
    """A text on its way through the engine; `order`: who is first."""

    __slots__ = ("came_s", "cost_ms", "encoded", "lane", "length", "order", "receiver", "text", "trace", "until_s")

    def __init__(
        self,
        lane: "Lane",
        text: str,
        encoded: Encoded | None,
        order: tuple[int, int],
        came_s: float,
        until_s: float,
        receiver: Receiver,
    ) -> None:
        self.lane, self.text, self.encoded, self.order = lane, text, encoded, order
        self.came_s, self.until_s, self.receiver = came_s, until_s, receiver
        self.trace = TRACE.get()
        self.length = 0  # in tokens, padded as when it runs alone, once they are counted
        self.cost_ms = lane.expected_ms(text, encoded)


class Lane:
    """Texts for one node's model.

    Raises:
        RunError: the model does not run.
    """

    def __init__(self, node: Node, costs: Costs | None = None, tally: Tally | None = None) -> None:
        self.node = node
        self.tally = tally or Tally(node.tier)
        runtime = node.runtime
        texts = [golden.text for golden in node.goldens()[:_TEXTS]] or ["warm up"]
        for text in texts:
            if isinstance(answer := node.answer(text), RunError):
                raise answer
        self.costs = costs or measure(runtime, texts)
        tokens = sum(len(encoded.ids) for encoded in runtime.encode_many(texts))
        self._tokenizing_ms = min(_time_ms(lambda: runtime.encode_many(texts)) for _ in range(3)) / max(tokens, 1)
        self._tokens_per_char = tokens / max(sum(map(len, texts)), 1)
        self._step = runtime.length_step
        self._waiting: list[Job] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def expected_ms(self, text: str, encoded: Encoded | None) -> float:
        """What a text costs the engine in company, before its tokens are counted, tokenising included."""
        costs = self.costs
        if encoded is not None:
            return costs.call_ms(costs.most, len(encoded.ids)) / costs.most
        tokens = int(self._tokens_per_char * len(text)) + 1
        length = tokens if tokens < costs.longest else costs.longest
        return costs.call_ms(costs.most, length) / costs.most + tokens * self._tokenizing_ms

    def add(self, jobs: Sequence[Job]) -> None:
        """Tokenise what is not yet, and let all wait; raises what the tokenizer raises, and then none waits."""
        fresh = [job for job in jobs if job.encoded is None]
        for job, encoded in zip(fresh, self.node.runtime.encode_many([job.text for job in fresh]), strict=True):
            job.encoded = encoded
            if job.text and not encoded.truncated:
                self._tokens_per_char += (len(encoded.ids) / len(job.text) - self._tokens_per_char) * _LEARN
        for job in jobs:
            assert job.encoded is not None
            job.length = -(-len(job.encoded.ids) // self._step) * self._step
        self._waiting.extend(jobs)
        self._waiting.sort(key=_LENGTH)

    def jobs(self) -> Sequence[Job]:
        """Those that wait."""
        return self._waiting

    def urgent(self) -> Job:
        """Who is first of those that wait."""
        return min(self._waiting, key=_ORDER)

    def take(self, urgent: Job) -> list[Job]:
        """The group of the next call, which `urgent` is in; it waits no longer.

        Its mates are of those who came first: whoever has a common length would be taken along by each that is ahead,
        and one of a rare length wait twice as long as the others.
        """
        mates, most = self._waiting, max(_MATES, self.costs.enough)
        if len(mates) > most:
            last = sorted(map(_ORDER, mates))[most - 1]
            mates = [job for job in mates if job.order <= last]
        group = choose_group([job.length for job in mates], mates.index(urgent), self.costs)
        taken = mates[group.start : group.stop]
        self.drop(set(taken))
        return taken

    def drop(self, unwanted: set[Job]) -> None:
        """Let these wait no longer."""
        self._waiting = [job for job in self._waiting if job not in unwanted]

    def run(self, group: Sequence[Job]) -> list[Answer | RunError]:
        """The model's answers, in order; where a call with several texts fails, each is run alone."""
        encoded = [job.encoded for job in group if job.encoded is not None]
        began_s = time.perf_counter()
        try:
            answers = self.node.answer_rows(encoded)
        except RunError as error:
            return [error] if len(group) == 1 else [self.run([job])[0] for job in group]
        self._count(group, encoded, began_s, time.perf_counter())
        return answers

    def _count(self, group: Sequence[Job], encoded: Sequence[Encoded], began_s: float, ended_s: float) -> None:
        lengths = [len(each.ids) for each in encoded]
        waits_s = [began_s - job.came_s for job in group]
        self.tally.ran(len(group), len(group) * group[-1].length, sum(lengths), waits_s, ended_s - began_s)
        for job in group:
            if job.trace is not None:
                job.trace.ran(job.came_s, began_s, ended_s, len(group))


def _time_ms(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e3
