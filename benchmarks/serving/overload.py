"""Three times what a server can do, each request with a deadline: how much is still answered in time?

    python -m benchmarks.serving.overload --peers DIR [--times 3]

`can`: texts a second at 64 at once, just before. `good`: 200 within the deadline, counted from when the request was
due. Requests come by a Poisson process; those that found no connection free within the deadline were never sent.
`after`: the same as `can`, just after. Our node is told the deadline; the others have no way to hear it.
"""

import math
import subprocess
from pathlib import Path

from rich.table import Table

from benchmarks.real_data import console
from benchmarks.serving.connections import LOST
from benchmarks.serving.load import Job, Load, generate
from benchmarks.serving.machine import describe
from benchmarks.serving.options import parse, parser_of
from benchmarks.serving.process import LOAD_CORE, Running, StartError
from benchmarks.serving.servers import Server, missing
from benchmarks.serving.texts import make_texts

DEADLINE_S = {"small": 0.1, "encoder": 0.5, "minilm": 1.0}
TIMES = 3.0
_AT_ONCE, _MOST_CONNECTIONS = 64, 8000
_COLUMNS = (
    "can",
    "good",
    "good / can",
    "p50 ms",
    "p99 ms",
    "late",
    "refused",
    "lost",
    "unsent",
    "after",
    "own delay ms",
)


def main() -> None:
    parser = parser_of("benchmarks.serving.overload", ["encoder", "small"], ["tianti", "fastapi", "litserve"], 5.0)
    parser.add_argument("--times", type=float, default=TIMES, help="what is offered, over what it can do")
    options, servers = parse(parser)
    console.print(describe(options.peers), highlight=False)
    for model in options.models:
        title = f"{model}: {options.times:g} times what each can do, deadline {DEADLINE_S[model] * 1e3:.0f} ms"
        table = Table(
            title=title, caption="shares of what was offered; times of the 200s; own delay: the generator's, p99"
        )
        table.add_column("server")
        for column in _COLUMNS:
            table.add_column(column, justify="right")
        for server in servers:
            shown = f"{server.shown} {server.mode}".strip()
            table.add_row(shown, *row_of(server, model, options.peers, options.seconds, options.times))
        console.print(table)


def row_of(server: Server, model: str, peers: Path, seconds: float, times: float) -> list[str]:
    """Its figures, or why there are none."""
    if missing(server, peers):
        return ["not installed"]
    try:
        return overload(server, model, peers, seconds, times)
    except (StartError, subprocess.CalledProcessError) as error:
        return [str(error)]


def overload(server: Server, model: str, peers: Path, seconds: float, times: float) -> list[str]:
    """Measure what a server can do, then ask for more, then measure again."""
    texts, deadline_s = make_texts(), DEADLINE_S[model]
    patient = server.requests(model, texts)
    with Running(server, model, patient[0], peers) as running:
        usual = Job(address=running.address, requests=patient, connections=_AT_ONCE, seconds=seconds)
        can = generate(usual, LOAD_CORE).per_second
        rate = times * can
        job = Job(
            address=running.address,
            requests=server.requests(model, texts, deadline_s * 1e3),
            # as many as callers hold who all wait out their deadline
            connections=min(_MOST_CONNECTIONS, math.ceil(1.2 * rate * deadline_s) + _AT_ONCE),
            seconds=seconds,
            warm_up_s=min(2 * deadline_s, seconds),
            rate=rate,
            deadline_s=deadline_s,
        )
        load = generate(job, LOAD_CORE)
        after = generate(usual, LOAD_CORE).per_second
    return [f"{can:,.0f}", *_shown(load, can, seconds), f"{after / can:.2f}", f"{load.late_p99_ms:.1f}"]


def _shown(load: Load, can: float, seconds: float) -> list[str]:
    good = load.good / seconds
    ok, lost = load.statuses.get(200, 0), load.statuses.get(LOST, 0)
    refused = sum(load.statuses.values()) - ok - lost
    shares = (ok - load.good, refused, lost, load.unsent)
    times = (f"{load.p50_ms:.0f}", f"{load.p99_ms:.0f}")
    return [f"{good:,.0f}", f"{good / can:.2f}", *times, *(f"{share / load.offered:.0%}" for share in shares)]


if __name__ == "__main__":
    main()
