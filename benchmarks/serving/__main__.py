"""How much of the in-process limit each server gives, for each model and concurrency.

    python -m benchmarks.serving.install DIR
    python -m benchmarks.serving --peers DIR [--models small,encoder] [--only tianti,fastapi] [--seconds 1.5] [--smoke]

One server process on one core, the load generator on another. Ratios are within this run: `of limit` by texts a second,
`by CPU` by CPU time per text, which holds when another program takes a core away. Not here: overload
(`benchmarks.serving.overload`) and the end of a server (`benchmarks.serving.drain`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from rich.table import Table

from benchmarks.real_data import console
from benchmarks.serving.bf16 import why_not
from benchmarks.serving.load import Job, generate
from benchmarks.serving.machine import bf16_unit, describe
from benchmarks.serving.measure import Row, measure_all
from benchmarks.serving.models import BF16, NAMES
from benchmarks.serving.options import parse, parser_of
from benchmarks.serving.process import LOAD_CORE, SERVER_CORE, free_port
from benchmarks.serving.servers import OURS, SERVERS
from benchmarks.serving.targets import judge

CONNECTIONS = (64, 8, 1)


def main() -> None:
    known = [server.name for server in SERVERS]
    options, servers = parse(parser_of("benchmarks.serving", [*NAMES, *BF16], known, 1.5))
    console.print(describe(options.peers), highlight=False)
    print_generator(options.seconds)
    for model in options.models:
        if model in BF16 and (why := why_not()):
            console.print(f"{model}: skipped: {why}", markup=False, highlight=False)
            continue
        rows, asked = [], [server for server in servers if server.name == OURS or model not in BF16]
        for row in measure_all(model, asked, options.peers, CONNECTIONS, options.seconds):
            rows.append(row)
            console.print(f"  {model}: {row.server.shown} {row.server.mode} {row.why or 'done'}", style="dim")
        print_table(model, rows)
        if model in BF16 and bf16_unit() != "AMX":
            console.print(f"  not judged: the target is for AMX, this is {bf16_unit()}")
            continue
        for line in judge(model, rows):
            console.print(line, highlight=False)


def print_generator(seconds: float) -> None:
    """What the load generator does against a server that answers at once."""
    address = ("127.0.0.1", free_port())
    command = [sys.executable, "-m", "benchmarks.serving.trivial", str(address[1])]
    with subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE})) as server:
        try:
            time.sleep(0.5)
            request = SERVERS[0].requests("none", ["a text of a usual length, " * 5])
            load = generate(Job(address=address, requests=request, connections=64, seconds=seconds), LOAD_CORE)
        finally:
            server.kill()
    each_us = load.busy / load.per_second * 1e6
    console.print(f"load generator: {load.per_second:,.0f} requests/s at most, {each_us:.1f} us of its core each")


def print_table(model: str, rows: Sequence[Row]) -> None:
    limit = max((row.limit for row in rows), key=lambda limit: limit.per_second)
    single = min(row.single.call_p50_ms for row in rows)
    in_process = f"{limit.per_second:,.0f} texts/s in batches of {limit.batch}, one text p50 {single:.3f} ms"
    table = Table(title=f"{model}; in process {in_process}")
    table.add_column("server")
    for column in ("at once", "texts/s", "of limit", "by CPU", "p50 ms", "p99 ms", "CPU us", "PSS MB", "not 200"):
        table.add_column(column, justify="right")
    for row in rows:
        shown = f"{row.server.shown} {row.server.mode}".strip()
        if not row.cells:
            table.add_row(shown, row.why)
        for cell in row.cells:
            load = cell.load
            table.add_row(
                shown,
                str(cell.connections),
                f"{load.per_second:,.0f}",
                f"{load.per_second / row.limit.per_second:.2f}",
                f"{row.limit.cpu_us / cell.cpu_us:.2f}" if cell.cpu_us else "-",
                f"{load.p50_ms:.2f}",
                f"{load.p99_ms:.2f}",
                f"{cell.cpu_us:,.0f}",
                f"{cell.pss_bytes / 1e6:.0f}",
                str(sum(count for status, count in load.statuses.items() if status != 200)),
            )
            shown = ""
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()
