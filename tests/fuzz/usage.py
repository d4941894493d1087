"""What a process holds: to be the same after any number of calls as before."""

import time
from typing import NamedTuple

import psutil


class Usage(NamedTuple):
    """Open files, threads, and memory that is its own (half of what two processes share)."""

    files: int
    threads: int
    memory_bytes: int


# connections that are about to end; a thread pool that was not full; memory between two collections of Python's
MORE = Usage(files=4, threads=4, memory_bytes=8_000_000)


def usage_of(pid: int) -> Usage:
    """Of now."""
    process = psutil.Process(pid)
    files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    memory = process.memory_full_info()
    return Usage(files, process.num_threads(), getattr(memory, "pss", memory.rss))


def growth(pid: int, before: Usage, settles_s: float = 10.0) -> list[str]:
    """What it holds more than `before`, and than `MORE` explains; what ends soon has that time."""
    until_s = time.monotonic() + settles_s
    while True:
        after = usage_of(pid)
        grown = [
            f"{name}: {was} before, {now} after"
            for name, was, now, more in zip(Usage._fields, before, after, MORE, strict=True)
            if now > was + more
        ]
        if not grown or time.monotonic() > until_s:
            return grown
        time.sleep(0.1)
