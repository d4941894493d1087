"""What do callers get while the upstream misbehaves? Tianti, and Sedna's joint inference on the same faults.

    python -m benchmarks.faults [PYTHON_WITH_SEDNA]

A raw server on loopback (`tests.fault_server`) does one thing wrong at a time. Tianti: 40 texts that only the cloud
knows, in turn, deadline 500 ms. Sedna has no deadline; one hard example each, since one takes it seconds, given up
after 30; its time is compared with the same deadline. `called good`: answers that were certified or not degraded; the
first row is the control, a healthy upstream, where all of them should be. Sedna's result says whose it is; `taken for
good` is a fault's reply that it passed on as the big model's.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from tests.fault_server import FAULTS, HEALTHY, LABEL, fault_server, nobody
from tests.tiny_release import make_release

from benchmarks.real_data import console
from tianti.device import load

DEADLINE_S = 0.5
TEXTS = 40
PATIENCE_S = 30.0
_CLIENT = Path(__file__).parent / "sedna_client.py"
SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "none: healthy": lambda: fault_server(HEALTHY),
    "refused": nobody,
    **{name: lambda behave=behave: fault_server(behave) for name, behave in FAULTS.items()},
}


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else None
    table = Table(title=f"deadline {DEADLINE_S * 1e3:.0f} ms; Tianti: {TEXTS} texts a row, Sedna: one")
    table.add_column("fault")
    for column in ("answered", "late", "called good", "worst / deadline"):
        table.add_column(column, justify="right")
    table.add_column("Sedna: worst / deadline", justify="right")
    table.add_column("its result")
    with ThreadPoolExecutor(len(SERVERS)) as pool:  # Sedna mostly sleeps between its tries
        theirs = dict(zip(SERVERS, pool.map(lambda fault: ask_sedna(python, fault), SERVERS), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        release = make_release(Path(folder)).folder
        for fault in SERVERS:
            table.add_row(fault, *ask_tianti(release, fault), *theirs[fault])
    console.print(table)


def ask_tianti(release: Path, fault: str) -> list[str]:
    answered = late = taken = 0
    worst_s = 0.0
    with SERVERS[fault]() as url, load(release, upstream=url, deadline_ms=DEADLINE_S * 1e3, audits=0.0) as ladder:
        for _ in range(TEXTS):
            start = time.perf_counter()
            answer = ladder.predict("luminaire")
            took_s = time.perf_counter() - start
            worst_s = max(worst_s, took_s)
            answered += 1
            late += took_s > DEADLINE_S
            taken += answer.decision.certified or not answer.decision.degraded
    return [f"{answered}/{TEXTS}", str(late), str(taken), f"{worst_s / DEADLINE_S:.2f}"]


def ask_sedna(python: str | None, fault: str) -> list[str]:
    """How long one hard example took over the deadline, and what it came to."""
    if python is None:
        return ["-", "not run: no Python with Sedna was named"]
    with SERVERS[fault]() as url:
        command = [python, str(_CLIENT), url.rsplit(":", 1)[1]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            if process.stdout.readline().strip() != "ready":
                process.kill()
                return ["-", "not run: " + (process.stderr.read().strip().splitlines() or ["no reason given"])[-1]]
            try:
                said = json.loads(process.communicate(timeout=PATIENCE_S)[0].splitlines()[-1])
            except subprocess.TimeoutExpired:
                process.kill()
                return [f"> {PATIENCE_S / DEADLINE_S:.0f}", "none: still waiting"]
    return [f"{said['seconds'] / DEADLINE_S:.2f}", meaning(said)]


def meaning(said: dict[str, object]) -> str:
    if "error" in said:
        return f"raised {said['error']}"
    if said["from_cloud"] is None:
        return "the little model's"
    return "the cloud's" if said["from_cloud"] == [LABEL] else f"taken for good: {escape(str(said['result']))}"


if __name__ == "__main__":
    main()
