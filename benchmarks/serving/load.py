"""The load generator: a process of its own that asks over kept-alive connections and writes down what came back.

    python -m benchmarks.serving.load < JOB > RESULT     (both MessagePack; `generate` does it)

Closed loop: each connection asks again as soon as it is answered. Open loop (`rate`): requests come by a Poisson
process whatever the server does, each takes a free connection, and its time counts from when it was due.
It drives epoll itself, since an event loop would cost as much as the servers that it measures. Not here: what is asked.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np

from benchmarks.serving.connections import LOST, Connection, Connections

_GRACE_S = 10.0  # for answers that are under way at the end


class Job(msgspec.Struct, kw_only=True):
    """What to ask: `requests` are whole HTTP requests, taken in turn."""

    address: tuple[str, int]
    requests: list[bytes]
    connections: int
    seconds: float
    warm_up_s: float = 0.5
    rate: float | None = None
    deadline_s: float | None = None


class Load(msgspec.Struct, kw_only=True):
    """What came back. `statuses`, `p50_ms` and `p99_ms` are of the seconds after the warm-up.

    `answers` are all, the warm-up's too, as the server's CPU time is; `good` came within the deadline; `unsent` found
    no connection free within the deadline. The generator itself was `late_p99_ms` late and took `busy` of its core.
    """

    answers: int
    per_second: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    good: int = 0
    offered: int = 0
    unsent: int = 0
    late_p99_ms: float = 0.0
    busy: float = 0.0


def generate(job: Job, core: int) -> Load:
    """Run a job in a process of its own, on one core."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.load"],
        input=msgspec.msgpack.encode(job),
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return msgspec.msgpack.decode(done.stdout, type=Load)


class Notes:
    """Times and statuses of answers, as they come."""

    def __init__(self) -> None:
        self.due: list[float] = []
        self.done: list[float] = []
        self.status: list[int] = []

    def take(self, connection: Connection, status: int) -> None:
        self.due.append(connection.due)
        self.done.append(time.perf_counter())
        self.status.append(status)


def run_closed(job: Job, connections: Connections, start: float, notes: Notes) -> None:
    until = start + job.warm_up_s + job.seconds
    for connection in connections.all:
        connections.ask(connection, time.perf_counter())
    while connections.under_way and time.perf_counter() < until + _GRACE_S:
        for connection, status in connections.answers(until + _GRACE_S):
            notes.take(connection, status)
            now = notes.done[-1]
            if now < until:
                connections.ask(connection, now)


def run_open(job: Job, connections: Connections, start: float, notes: Notes) -> tuple[int, list[float]]:
    """How many found no connection; how late those were sent that did not have to wait for one."""
    assert job.rate is not None and job.deadline_s is not None
    until = start + job.warm_up_s + job.seconds
    times, free = _arrivals(job.rate, start, until), list(connections.all)
    unsent, late, room = 0, [], True
    due = next(times, None)
    while due is not None or connections.under_way:
        if (now := time.perf_counter()) >= until + _GRACE_S:
            break
        while due is not None and due <= now and (free or now - due > job.deadline_s):
            if now - due > job.deadline_s:
                unsent += due >= start + job.warm_up_s
            else:
                if room:
                    late.append(now - due)
                connections.ask(free.pop(), due)
            due = next(times, None)
        wake = until + _GRACE_S if due is None else due if free else due + job.deadline_s
        room = bool(free)
        for connection, status in connections.answers(wake):
            notes.take(connection, status)
            free.append(connection)
    return unsent, late


def _arrivals(rate: float, start: float, until: float) -> Iterator[float]:
    rng = random.Random(0)
    due = start + rng.expovariate(rate)
    while due < until:
        yield due
        due += rng.expovariate(rate)


def run(job: Job) -> Load:
    """Run a job here."""
    notes, unsent, late = Notes(), 0, [0.0]
    with Connections(job.address, job.requests, job.connections) as connections:
        start, cpu_s = time.perf_counter(), time.process_time()
        if job.rate is None:
            run_closed(job, connections, start, notes)
        else:
            unsent, late = run_open(job, connections, start, notes)
        busy = (time.process_time() - cpu_s) / (time.perf_counter() - start)
        unanswered = connections.under_way
    due, done, status = np.array(notes.due), np.array(notes.done), np.array(notes.status)
    begin = start + job.warm_up_s
    # closed: what was answered in the window; open: what was due in it
    kept = (due >= begin) if job.rate is not None else (done >= begin) & (done < begin + job.seconds)
    took_ms, ok = (done - due)[kept] * 1e3, status[kept] == 200
    p50, p99 = np.percentile(took_ms[ok], (50, 99)) if ok.any() else (np.nan, np.nan)
    return Load(
        answers=int((status != LOST).sum()),
        per_second=float(ok.sum() / job.seconds),
        p50_ms=float(p50),
        p99_ms=float(p99),
        statuses=dict(Counter(status[kept].tolist()) + Counter({LOST: unanswered})),
        good=int((ok & (took_ms <= (job.deadline_s or np.inf) * 1e3)).sum()),
        offered=int(kept.sum()) + unanswered + unsent,
        unsent=unsent,
        late_p99_ms=float(np.percentile(late, 99) * 1e3) if late else 0.0,
        busy=busy,
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.msgpack.encode(run(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job))))
