"""Input from strangers for minutes: each operation of a node, damaged requests, and every reader of bytes alone.

A node with a tiny release in a process of its own; the code is that of `tests/fuzz`, where it runs for seconds. Another
round has other input, until the time is up; what was found is printed with its round's seed. 503 and 504 answer
deadlines that cannot be met, other 5xx are faults. At the end the node holds no more than after the first round.

    python -m benchmarks.fuzz [--minutes 3] [--seed 1]
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.table import Column, Table
from tests.fuzz.decoder import Tally, fuzz
from tests.fuzz.decoders import DECODERS
from tests.fuzz.hosts import call_operations, call_repository, run_node
from tests.fuzz.usage import Usage, growth, usage_of
from tests.fuzz.wire import send_damaged
from tests.node_process import NodeProcess

from benchmarks.real_data import console

EXAMPLES = 50  # of each operation and round
BODIES = 200  # of each reader
REQUESTS = 3000
HANGS_MS = 5000.0
ANSWERED = {"503", "504"}


class Round:
    """One seed's input; adds to `tallies`, and gives findings."""

    def __init__(self, node: NodeProcess, seed: int, tallies: dict[str, Tally]) -> None:
        self._node, self._seed, self._tallies = node, seed, tallies
        self.findings: list[str] = []

    def call_operations(self) -> None:
        for call in (call_operations, call_repository):
            report = call(self._node.url, EXAMPLES, self._seed)
            self.findings += report.findings
            self.findings += [f"{name}: never answered with 200" for name in report.unanswered]
            for name, tally in report.tallies.items():
                self._tally(name).add(tally)

    def send_requests(self) -> None:
        self.findings += send_damaged(self._node.url, REQUESTS, self._seed, self._tally("damaged requests"))

    def try_readers(self) -> None:
        for name, decoder in DECODERS.items():
            try:
                fuzz(decoder, BODIES, self._seed, self._tally(name))
            except Exception as error:
                notes = "\n".join(getattr(error, "__notes__", ()))
                self.findings.append(f"{name}: {error!r}\n{notes}")

    def _tally(self, name: str) -> Tally:
        return self._tallies.setdefault(name, Tally())


def run(node: NodeProcess, minutes: float, seed: int) -> tuple[dict[str, Tally], list[str]]:
    """Rounds until the time is up, one at least."""
    until_s, tallies, findings = time.monotonic() + minutes * 60.0, {}, []
    before: Usage | None = None
    while before is None or time.monotonic() < until_s:
        this = Round(node, seed, tallies)
        for step in (this.call_operations, this.send_requests, this.try_readers):
            if before is None or time.monotonic() < until_s:
                step()
        findings += [f"seed {seed}: {each}" for each in this.findings]
        before = before or usage_of(node.process.pid)
        seed += 1
    findings += [f"the node holds more: {each}" for each in growth(node.process.pid, before)]
    late = [name for name, tally in tallies.items() if tally.slowest_ms > HANGS_MS]
    return tallies, findings + [f"{name}: took {tallies[name].slowest_ms:.0f} ms" for name in late]


def table_of(tallies: Mapping[str, Tally]) -> Table:
    table = Table(Column("operation or reader", overflow="fold"), "calls", "statuses", "5xx", "slowest, ms")
    for name, tally in tallies.items():
        statuses = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(tally.outcomes.items()))
        faults = sum(n for outcome, n in tally.outcomes.items() if outcome[0] == "5" and outcome not in ANSWERED)
        table.add_row(name, str(sum(tally.outcomes.values())), statuses, str(faults), f"{tally.slowest_ms:.0f}")
    return table


def main() -> None:
    """Print the table, and what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable()  # readers warn of what they refuse
    with tempfile.TemporaryDirectory() as folder, run_node(Path(folder)) as node:
        tallies, findings = run(node, given.minutes, given.seed)
    console.print(table_of(tallies))
    for each in findings:
        console.print(each, markup=False, soft_wrap=True)
    console.print(f"{sum(sum(t.outcomes.values()) for t in tallies.values())} calls, {len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
