"""How many processes this machine has room for.

Not here: running them (`workers`). Invariant: 1 or more, and no more than cores that this program may use.
"""

import os
from pathlib import Path

from tianti.serving.ports import SPREADS

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000" or "max 100000", in microseconds (Linux, cgroup v2)


def usable_cores(quota: Path = _QUOTA) -> int:
    """Those that affinity leaves to this program, and no more than a container's share of processor time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if allowed == "max" else max(1, min(cores, int(allowed) // int(period)))


def default_workers(grpc: bool) -> int:
    """One a usable core; one alone where gRPC is asked for and several processes cannot share its port."""
    return 1 if grpc and not SPREADS else usable_cores()
