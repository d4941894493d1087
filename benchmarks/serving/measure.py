"""Measure one server with one model at several concurrencies, beside the in-process limit of the same minutes.

Of both the best of some rounds counts: other work on the machine only ever takes away, and never from both alike.
Invariant: a server whose answers are not those of the model gives no figures.
"""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.bf16 import classifier_of
from benchmarks.serving.limit import BATCHES, Limit
from benchmarks.serving.limit import measure as measure_limit
from benchmarks.serving.load import Job, Load, generate
from benchmarks.serving.models import package_of
from benchmarks.serving.process import LOAD_CORE, SERVER_CORE, Running, StartError, ask
from benchmarks.serving.servers import Server, missing
from benchmarks.serving.texts import make_texts

ROUNDS = 3
_CHECKED = 16


@dataclass(frozen=True)
class Cell:
    """One server at one concurrency."""

    server: Server
    connections: int
    load: Load
    cpu_us: float
    pss_bytes: int


@dataclass(frozen=True)
class Row:
    """A server's cells, or why there are none; the limit is the better of before and after."""

    server: Server
    cells: tuple[Cell, ...]
    limit: Limit
    single: Limit
    why: str = ""


def measure_all(
    model: str, servers: Sequence[Server], peers: Path, connections: Sequence[int], seconds: float
) -> Iterator[Row]:
    """A row for each server, in turn, with the limit measured between them."""
    package = str(package_of(model))
    before = measure_limit(package, min(seconds, 1.0), SERVER_CORE, BATCHES)
    best = max(before, key=lambda limit: limit.per_second).batch
    for server in servers:
        cells, why = (), "not installed"
        if not missing(server, peers):
            try:
                cells, why = tuple(measure_server(model, server, peers, connections, seconds)), ""
            except (StartError, subprocess.CalledProcessError) as error:
                why = str(error)
        after = measure_limit(package, min(seconds, 1.0), SERVER_CORE, (1, best)) if cells else before
        both = [*before, *after]
        single = min((limit for limit in both if limit.batch == 1), key=lambda limit: limit.call_p50_ms)
        yield Row(server, cells, _best(both), single, why)
        before = after


def _best(limits: Sequence[Limit]) -> Limit:
    """Each figure the better of all, whichever measurement it is from."""
    fastest = max(limits, key=lambda limit: limit.per_second)
    return Limit(fastest.batch, fastest.per_second, min(limit.cpu_us for limit in limits), fastest.call_p50_ms)


def measure_server(
    model: str, server: Server, peers: Path, connections: Sequence[int], seconds: float
) -> Iterator[Cell]:
    """One cell for each concurrency, of one process of the server: the best of `ROUNDS`."""
    texts = make_texts()
    requests = server.requests(model, texts)
    with Running(server, model, requests[0], peers) as running:
        check_answers(model, texts, requests, running)
        rounds = [[_measure(server, running, requests, count, seconds) for count in connections] for _ in range(ROUNDS)]
    for cells in zip(*rounds, strict=True):
        yield max(cells, key=lambda cell: cell.load.per_second)


def _measure(server: Server, running: Running, requests: Sequence[bytes], count: int, seconds: float) -> Cell:
    job = Job(address=running.address, requests=requests, connections=count, seconds=seconds)
    job.warm_up_s = min(0.5, seconds)
    before = running.cpu_s()
    load = generate(job, LOAD_CORE)
    cpu_us = (running.cpu_s() - before) / max(load.answers, 1) * 1e6
    return Cell(server, count, load, cpu_us, running.pss_bytes())


def check_answers(model: str, texts: Sequence[str], requests: Sequence[bytes], running: Running) -> None:
    """Compare the labels of some answers with the model's own.

    Raises:
        StartError: one is another.
    """
    classifier = classifier_of(str(package_of(model)), padded=True)
    for text, request in list(zip(texts, requests, strict=True))[:_CHECKED]:
        label, (status, got) = classifier.classify([text])[0]["label"], ask(running.address, request)
        if status != 200 or f'"{label}"'.encode() not in got:
            raise StartError(f"wrong answer: expected {label}, got {status} {got[-200:]!r}")
