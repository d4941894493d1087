"""The one engine of a process: it takes what waits whenever it is free, most urgent first, in groups.

There is no timer: a text that comes alone runs alone, at once; while a call runs, others gather for the next one.
Short work runs on the event loop itself, since handing it to a thread takes longer; longer work runs in one thread, so
that the loop (health above all) stays live.
Not here: which texts share a call (`grouping`), HTTP, routing.
Invariants: one call at a time; nothing is accepted that is not expected to end in time; a text whose deadline passed
or whose caller has left is not run.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter

from tianti.errors import DeadlineError, OverloadError, RunError
from tianti.router import Answer
from tianti.runtimes import Encoded
from tianti.serving.lane import Job, Lane, Receiver
from tianti.spec import Priority

_INLINE_MS = 8.0  # what waits takes no longer: done on the loop
_SLICE_MS = 4.0  # groups are run until this is over, then answers go out
_POOL = 128  # texts that are tokenised and wait: enough to find some of like length
_LONGEST_WAIT_S = 5.0  # in the queue, however far the deadline is
_SHARE = {0: 0.9, 1: 0.5, 2: 0.25}  # of its time that a text may be expected to take, by rank
_LEARN = 0.05  # share of the newest turn in what is known of the speed
_PRIOR_MS = 20.0  # of a turn that never was: what was measured is believed until turns say otherwise
_SURPRISE = 50.0  # times as long as thought: what took even longer stood still, and says nothing of the speed
_LATE = "the deadline passed while the request waited for the model; send fewer or allow more time"
_ORDER = attrgetter("order")


def rank_of(priority: Priority, audit: bool) -> int:
    """Who is first: 0 before 1 before 2."""
    return 2 if audit else int(priority is Priority.BATCH)


class Engine:
    """Runs the texts of all lanes. Used from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tianti-engine")
        self._numbers = itertools.count()
        self._fresh = tuple(deque[Job]() for _ in _SHARE)  # by rank: neither tokenised nor seen by the engine yet
        self._lanes: dict[Lane, None] = {}  # that have texts waiting
        self._busy = False
        self._seen = 0  # of those that are fresh, how many were there when the loop last looked for more
        self._crowd = False  # several came to the last turn: more may be at the door
        self._backlog_ms = [0.0] * len(_SHARE)  # as expected, of all that waits or runs, by rank
        self._done_ms = self._took_ms = _PRIOR_MS  # of a turn, on average: as expected, and really
        self._ended_s = 0.0  # of the last turn, where another one follows it

    @property
    def speed(self) -> float:
        """Expected milliseconds that are done in one: averages' ratio, since a ratio's average tells too much."""
        return self._done_ms / self._took_ms

    @property
    def backlog_ms(self) -> float:
        """When what waits now is expected to be done."""
        return sum(self._backlog_ms) / self.speed

    def submit(
        self, lane: Lane, text: str, until_s: float, rank: int = 0, encoded: Encoded | None = None
    ) -> "asyncio.Future[Answer | RunError]":
        """Have a text answered; cancel the future to give it up. The rest is as of `tell`."""
        future: asyncio.Future[Answer | RunError] = asyncio.get_running_loop().create_future()
        self.tell(future, lane, text, until_s, rank, encoded)
        return future

    def tell(
        self,
        receiver: Receiver,
        lane: Lane,
        text: str,
        until_s: float,
        rank: int = 0,
        encoded: Encoded | None = None,
    ) -> None:
        """Have a text answered, for a receiver that is told on the event loop.

        Args:
            receiver: who is told.
            lane: whose model.
            text: what, unless it comes `encoded`.
            until_s: its deadline, on the engine's clock.
            rank: see `rank_of`.
            encoded: its tokens, where it comes as them.

        Raises:
            OverloadError: it is not expected to be answered in time.
        """
        now_s = self.clock()
        job = Job(lane, text, encoded, (rank, next(self._numbers)), now_s, until_s, receiver)
        left_s = min(until_s - now_s, _LONGEST_WAIT_S)
        ahead_ms = sum(self._backlog_ms[: rank + 1])
        wait_s = (ahead_ms + job.cost_ms) / self.speed / 1e3
        if wait_s > _SHARE[rank] * left_s and ahead_ms > 0.0:
            raise OverloadError(f"this node is {wait_s * 1e3:.0f} ms behind, {left_s * 1e3:.0f} are left", wait_s)
        self._backlog_ms[rank] += job.cost_ms
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._turn)
        self._fresh[rank].append(job)

    def close(self) -> None:
        """End the thread, once what it runs is done."""
        self._thread.shutdown(cancel_futures=True)

    def _turn(self) -> None:
        """Run something, or stop being busy; but first let in who is at the door, while they keep coming."""
        waiting = sum(map(len, self._fresh))
        if self._crowd and self._seen < waiting < _POOL:
            self._seen = waiting
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._seen = 0
        fresh = self._take_fresh()
        if not fresh and not self._lanes:
            self._rest()
            return
        began_s = self.clock()
        if sum(self._backlog_ms) <= _INLINE_MS:
            self._deliver(self._work(fresh), began_s)
            return
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, self._work, fresh)
        running.add_done_callback(lambda done: self._deliver(done.result(), began_s))

    def _work(self, fresh: list[Job]) -> "list[tuple[Job, Answer | Exception]]":
        """Tokenise, then run groups for a slice of time. Never raises: what failed is told to whom it concerns."""
        answers: list[tuple[Job, Answer | Exception]] = []
        for lane in {job.lane: None for job in fresh}:
            answers += _add(lane, [job for job in fresh if job.lane is lane])
            if lane:
                self._lanes[lane] = None
        done_ms = 0.0
        while self._lanes and done_ms < _SLICE_MS:
            urgent = min((lane.urgent() for lane in self._lanes), key=_ORDER)
            lane = urgent.lane
            group = lane.take(urgent)
            if not lane:
                del self._lanes[lane]
            try:
                answers += zip(group, lane.run(group), strict=True)
            except Exception as error:
                answers += ((job, error) for job in group)
            done_ms += sum(job.cost_ms for job in group)
        return answers

    def _deliver(self, answers: "Sequence[tuple[Job, Answer | Exception]]", began_s: float) -> None:
        done_ms = 0.0
        for job, answer in answers:
            done_ms += job.cost_ms
            self._backlog_ms[job.order[0]] -= job.cost_ms
            if job.receiver.done():
                continue
            if isinstance(answer, (Answer, RunError)):  # a higher tier may answer what the model here could not
                job.receiver.set_result(answer)
            else:
                job.receiver.set_exception(answer)
        now_s = self.clock()
        took_ms = min((now_s - (self._ended_s or began_s)) * 1e3, _SURPRISE * done_ms / self.speed)
        self._done_ms += (done_ms - self._done_ms) * _LEARN
        self._took_ms += (took_ms - self._took_ms) * _LEARN
        self._ended_s = now_s
        self._crowd = len(answers) > 1
        if self._crowd or self._lanes or any(self._fresh):
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._rest()  # who comes alone is not made to wait for a look at the door

    def _rest(self) -> None:
        """Nothing waits."""
        self._busy, self._ended_s = False, 0.0
        self._backlog_ms = [0.0] * len(_SHARE)  # whatever rounding has left

    def _take_fresh(self) -> list[Job]:
        """Let go what nobody waits for; then those who are next, as many as may be tokenised."""
        now_s = self.clock()
        for lane in list(self._lanes):
            if unwanted := {job for job in lane.jobs() if self._is_unwanted(job, now_s)}:
                lane.drop(unwanted)
                if not lane:
                    del self._lanes[lane]
        room = _POOL - sum(map(len, self._lanes))
        fresh: list[Job] = []
        for waiting in self._fresh:
            while waiting:
                if self._is_unwanted(waiting[0], now_s):
                    waiting.popleft()
                elif len(fresh) < room:
                    fresh.append(waiting.popleft())
                else:
                    break
        return fresh

    def _is_unwanted(self, job: Job, now_s: float) -> bool:
        """Its caller has left, or its deadline passed: that is said here."""
        if job.receiver.done():
            job.lane.tally.abandoned()
        elif now_s < job.until_s:
            return False
        else:
            job.receiver.set_exception(DeadlineError(_LATE))
        self._backlog_ms[job.order[0]] -= job.cost_ms
        return True


def _add(lane: Lane, jobs: list[Job]) -> list[tuple[Job, Exception]]:
    """Let them wait; those that cannot be tokenised are given back, with why."""
    try:
        lane.add(jobs)
    except Exception as error:
        if len(jobs) == 1:
            return [(jobs[0], error)]
        return [failed for job in jobs for failed in _add(lane, [job])]
    return []
