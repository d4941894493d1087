"""A rollout over 20 devices, 2 edges and a cloud, each a process on this machine, under traffic and with `kill -9`.

    python -m benchmarks.fleet_rollout

A release comes to the first ring, is halted, goes on to all while parts are killed and started again; then a bad one is
let past its gates. Exits 1 if a request was lost, an answer was outside the certificate, the cloud had more than 1.2
times to do, or a device ended on another release.
"""

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.e2e.fleet_story import Told, tell

EDGES, DEVICES = 2, 20
MOST_CLOUD = 1.2


def main() -> int:
    """Run it and print a table; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        told = tell(Path(folder) / "fleet", EDGES, DEVICES, ring="5 devices", bad_ring="8 devices")
    rows = _rows(told)
    table = Table("what", "measured", "must", title=f"{DEVICES} devices, {EDGES} edges, 1 cloud, 1 hub")
    for what, measured, must, _ in rows:
        table.add_row(what, measured, must)
    Console(width=120).print(table)
    return 0 if all(holds for *_, holds in rows) else 1


def _rows(told: Told) -> list[tuple[str, str, str, bool]]:
    before, after = told.before, told.after
    ratio = max(told.shares) / before.cloud_share
    seconds = [(what, f"{took:.0f} s", "", True) for what, took in told.seconds.items()]
    killed = ", ".join(f"{name} {count}" for name, count in sorted(told.kills.items()))
    degraded = f"{len(after.degraded)} of {len(after.lines)}"
    ended = f"{told.ended[told.good]} of {DEVICES}"
    return [
        ("answers before and during", f"{len(before.lines)}, {len(after.lines)}", "", True),
        ("killed with SIGKILL", killed, "", bool(told.kills)),
        ("requests lost", str(len(before.lost + after.lost)), "0", not before.lost + after.lost),
        ("answers `uncertified`", str(len(after.uncertified)), "0", not after.uncertified),
        ("answers wrong", str(len(after.wrong)), "0", not after.wrong),
        ("degraded, as what is above was killed", degraded, "", True),
        ("cloud's share, of that before, at most", f"{ratio:.2f}", f"{MOST_CLOUD}", ratio <= MOST_CLOUD),
        ("devices that the bad release came to", f"{told.exposed} of its ring's {told.ring}", "", True),
        ("taken back by", told.taken_back_by, "hub", True),
        ("devices on the promised release", ended, f"{DEVICES}", told.ended[told.good] == DEVICES),
        *seconds,
    ]


if __name__ == "__main__":
    sys.exit(main())
