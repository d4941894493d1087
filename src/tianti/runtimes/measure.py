"""Measure a package on the machine that this runs on: how long one text takes, and the memory of the process.

Not here: accuracy (`pipeline`), which of two packages is better. Invariant: one text a call, on the threads that the
runtime has by default; the same code measures here and on a real device, so that the figures can be compared.
"""

import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from tianti.errors import PackageError
from tianti.package import ModelPackage
from tianti.runtimes import open_package

SCHEMA = "tianti.profile/1"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What one package costs on one machine: what `tianti bench PACKAGE --json` prints.

    `latency_ms` is of one text, {"p50": ..., "p99": ...}, tokenising included; `load_ms` is from files to ready;
    `memory_bytes` is the most that the process has held, None where the system does not tell.
    """

    schema: str = SCHEMA
    package: str
    machine: str
    texts: int
    latency_ms: dict[str, float]
    load_ms: float
    memory_bytes: int | None


def profile_package(package: ModelPackage, texts: Sequence[str] | None = None) -> Profile:
    """Measure a package in this process, on `texts` or else on those that it carries.

    Raises:
        PackageError: it cannot be loaded, or there is no text to measure it on.
    """
    if texts is None:
        texts = [golden.text for golden in package.goldens()]
    if not texts:
        raise PackageError(f"no text to measure {package.folder} on: it carries none, or --texts holds none")
    start = time.perf_counter()
    runtime = open_package(package)
    load_ms = (time.perf_counter() - start) * 1e3
    return Profile(
        package=package.id,
        machine=machine_name(),
        texts=len(texts),
        latency_ms=measure_latency(runtime.run, texts),
        load_ms=load_ms,
        memory_bytes=_peak_memory_bytes(),
    )


def measure_latency(
    runner: Callable[[str], object], texts: Sequence[str], warmup: int = 20, runs: int = 300
) -> dict[str, float]:
    """Wall time of one text in milliseconds, as {"p50": ..., "p99": ...}; texts are taken round and round.

    `warmup` calls come first and are not counted.
    """
    for number in range(warmup):
        runner(texts[number % len(texts)])
    took_ms = np.empty(runs)
    for number in range(runs):
        text = texts[number % len(texts)]
        start = time.perf_counter()
        runner(text)
        took_ms[number] = (time.perf_counter() - start) * 1e3
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


def machine_name() -> str:
    """The processor and the operating system, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return f"{next(named, platform.processor() or platform.machine())}, {platform.system()}"


def _peak_memory_bytes() -> int | None:
    if sys.platform == "linux":  # not getrusage: its maximum remembers what the process was before exec
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
