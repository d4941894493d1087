"""Told to stop with its hands full: who answers what was asked before the signal?

    python -m benchmarks.serving.drain --peers DIR [--rounds 10]

32 requests are under way; 40 ms later as many more connections as `--backlog` have a request written and have not been
accepted (the server is held by SIGSTOP while they are opened), and SIGTERM comes. An answer is a whole 200.
"""

import os
import signal
import socket
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from benchmarks.real_data import console
from benchmarks.serving.connections import read_answer
from benchmarks.serving.machine import describe
from benchmarks.serving.options import parse, parser_of
from benchmarks.serving.process import Running, StartError
from benchmarks.serving.servers import Server, missing
from benchmarks.serving.texts import make_texts

IN_FLIGHT, BACKLOG, WAIT_S = 32, 128, 0.04
_ROUNDS, _SMOKE_ROUNDS = 10, 1
_CONNECT_S, _ANSWER_S, _EXIT_S = 0.5, 20.0, 20.0


class Round(NamedTuple):
    """What came of one SIGTERM."""

    in_flight: int
    waiting: int
    waiting_of: int
    exit_s: float


def main() -> None:
    parser = parser_of("benchmarks.serving.drain", ["encoder"], ["tianti", "fastapi", "mlserver"], 0.0)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    options, servers = parse(parser)
    rounds = _SMOKE_ROUNDS if options.smoke else options.rounds
    console.print(describe(options.peers), highlight=False)
    for model in options.models:
        table = Table(title=f"{model}: SIGTERM {WAIT_S * 1e3:.0f} ms after {IN_FLIGHT} requests, {rounds} times")
        table.add_column("server")
        for column in ("under way, answered", "not accepted yet, answered", "worst round", "s to exit", "longest"):
            table.add_column(column, justify="right")
        for server in servers:
            shown = f"{server.shown} {server.mode}".strip()
            table.add_row(shown, *row_of(server, model, options.peers, rounds, options.backlog))
        console.print(table)


def row_of(server: Server, model: str, peers: Path, rounds: int, backlog: int) -> list[str]:
    """Its figures, or why there are none."""
    if missing(server, peers):
        return ["not installed"]
    try:
        return summary([stop_one(server, model, peers, backlog) for _ in range(rounds)])
    except StartError as error:
        return [str(error)]


def summary(found: list[Round]) -> list[str]:
    lost = [IN_FLIGHT + each.waiting_of - each.in_flight - each.waiting for each in found]
    return [
        f"{sum(each.in_flight for each in found)} of {IN_FLIGHT * len(found)}",
        f"{sum(each.waiting for each in found)} of {sum(each.waiting_of for each in found)}",
        f"{max(lost)} lost",
        f"{statistics.median(each.exit_s for each in found):.1f}",
        f"{max(each.exit_s for each in found):.1f}",
    ]


def stop_one(server: Server, model: str, peers: Path, backlog: int) -> Round:
    """Start it, fill it, stop it."""
    requests = server.requests(model, make_texts())
    with Running(server, model, requests[0], peers) as running:
        under_way = [open_asking(running.address, requests[index]) for index in range(IN_FLIGHT)]
        time.sleep(WAIT_S)
        os.kill(running.pid, signal.SIGSTOP)
        opened = (open_asking(running.address, requests[-1 - index % len(requests)]) for index in range(backlog))
        waiting = [each for each in opened if each is not None]
        os.kill(running.pid, signal.SIGTERM)
        os.kill(running.pid, signal.SIGCONT)
        start = time.monotonic()
        answered = [sum(was_answered(each) for each in group) for group in (under_way, waiting)]
        running.exited(max(0.0, start + _EXIT_S - time.monotonic()))
        return Round(answered[0], answered[1], len(waiting), time.monotonic() - start)


def open_asking(address: tuple[str, int], request: bytes) -> socket.socket | None:
    """A connection with a request written; None: there is no room for one more."""
    try:
        opened = socket.create_connection(address, timeout=_CONNECT_S)
    except OSError:
        return None
    opened.settimeout(_ANSWER_S)
    opened.sendall(request)
    return opened


def was_answered(opened: socket.socket | None) -> bool:
    if opened is None:
        return False
    got = b""
    try:
        with opened:
            while (status := read_answer(got)[0]) is None:
                if not (data := opened.recv(65536)):
                    return False
                got += data
    except OSError:
        return False
    return status == 200


if __name__ == "__main__":
    main()
