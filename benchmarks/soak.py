"""Ten minutes of everything at once: is any answer wrong or lost, and does memory grow?

    python -m benchmarks.soak [--minutes 10] [--swaps 20]

A real node at 70 % of what it answered at most, while its release is swapped, slow clients trickle their requests in,
and others die in the middle of a body or of an answer. The two releases give every text different labels, and each
answer is checked against the release that it names. Exits with 1 where an answer is wrong or lost, a swap is not seen
within SWAP_S, memory grows by more than 1 MB a minute after the first (runs of less than three tell nothing of it), or
the node does not end in order.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import yaml
from rich.table import Table
from tests.tiny_release import make_release

from benchmarks.real_data import console
from benchmarks.soak_load import MODEL, Load
from tianti.package import Release
from tianti.router import Answer, Node
from tianti.spec import Tier
from tianti.store import write_atomic

LOAD = 0.7
LABELS = 40
SWAP_S = 10.0
GROWTH_MB_MIN = 1.0
SERVE = [sys.executable, "-m", "tianti", "serve"]
_MEASURING_S = 5.0
_TELLING_S = 170.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--swaps", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(soak(Path(folder), options.minutes * 60.0, options.swaps)))


async def soak(folder: Path, seconds: float, swaps: int) -> int:
    releases = [make(folder / f"{shift}", shift) for shift in (0, 1)]
    right = {release.id: labels_of(release) for release in releases}
    with node(folder / "models.yaml", releases) as (process, url, swap):
        load = Load(url, right)
        capacity = await load.run(_MEASURING_S)
        load.seen.seconds.clear()
        disturbing = asyncio.create_task(load.disturb())
        watching = asyncio.create_task(watch_memory(process.pid, seconds))
        swapping = asyncio.create_task(keep_swapping(swap, load, releases, seconds, swaps))
        rate = await load.run(seconds, LOAD * capacity)
        memory, seen = await watching, await swapping
        disturbing.cancel()
        process.terminate()
        ended = process.wait(60)  # a client that does not send its body is waited for
    lines = (folder / "stderr").read_text(encoding="utf-8").splitlines()
    console.print(f"the node wrote {len(lines)} lines to standard error", *lines[-1:], sep="; ")
    return tell(load, capacity, rate, memory, (seen, swaps), ended)


def make(folder: Path, shift: int) -> Release:
    """Every label's words are another label's in the other release."""
    folder.mkdir()
    words = {
        f"label{n}": tuple(f"{kind}{(n + shift) % LABELS}" for kind in ("low", "mid", "high")) for n in range(LABELS)
    }
    return make_release(folder, words=words, name=MODEL)  # type: ignore[arg-type]


def labels_of(release: Release) -> dict[str, str]:
    """Texts of one to seven words, and what the release's own model says of them when it runs them alone."""
    node = Node(release, Tier.CLOUD)
    texts = [
        " ".join([f"{kind}{n}"] * length)
        for kind in ("low", "mid", "high")
        for n in range(LABELS)
        for length in (1, 3, 7)
    ]
    answers = {text: node.answer(text) for text in texts}
    return {text: answer.label for text, answer in answers.items() if isinstance(answer, Answer)}


@contextmanager
def node(models: Path, releases: list[Release]):  # noqa: ANN201
    """The process, its URL, and what makes it answer with the release of a number."""
    can_swap = "--models" in subprocess.run([*SERVE, "--help"], capture_output=True, text=True, check=True).stdout

    def swap(number: int) -> None:
        if not can_swap:
            raise NotImplementedError
        kept = {each: str(releases[each % 2].folder) for each in (number - 1, number) if each > 0}
        model = {"releases": kept, "keep": 2, "labels": {"stable": number}}
        write_atomic(models, yaml.safe_dump({"models": {MODEL: model}}).encode())

    if can_swap:
        swap(1)
    source = ["--models", str(models)] if can_swap else ["--release", str(releases[1].folder)]
    command = [*SERVE, "--tier", "cloud", *source, "--port", "0"]
    with (
        models.with_name("stderr").open("w", encoding="utf-8") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[-1], swap
        finally:
            process.kill()


async def keep_swapping(
    swap: Callable[[int], None], load: Load, releases: list[Release], seconds: float, swaps: int
) -> int:
    """How many swaps were seen in the answers."""
    seen = 0
    for number in range(2, swaps + 2):
        pause = asyncio.create_task(asyncio.sleep(seconds / (swaps + 1)))
        try:
            swap(number)
        except NotImplementedError:
            return -1
        seen += await newest_is(load, releases[number % 2].id)
        await pause
    return seen


async def newest_is(load: Load, release: str) -> bool:
    end = time.perf_counter() + SWAP_S
    while load.seen.newest != release and time.perf_counter() < end:
        await asyncio.sleep(0.05)
    return load.seen.newest == release


async def watch_memory(pid: int, seconds: float) -> list[tuple[float, float, float]]:
    """(seconds, PSS, RSS in MB) of the process and its children, once a second."""
    began, found = time.perf_counter(), []
    while (now := time.perf_counter() - began) < seconds:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        sizes = [each.memory_full_info() for each in tree]
        found.append((now, sum(size.pss for size in sizes) / 1e6, sum(size.rss for size in sizes) / 1e6))
        await asyncio.sleep(1.0)
    return found


def growth_mb_min(memory: list[tuple[float, float, float]], column: int) -> float:
    """Slope by least squares; the first minute, or in a short run the first third, is for warming up."""
    rows = np.array(memory)
    rows = rows[rows[:, 0] >= min(60.0, rows[-1, 0] / 3)]
    return float(np.polyfit(rows[:, 0], rows[:, column], 1)[0] * 60.0)


def tell(
    load: Load,
    capacity: float,
    rate: float,
    memory: list[tuple[float, float, float]],
    swaps: tuple[int, int],
    ended: int,
) -> int:
    counts, seen = load.seen.counts, load.seen
    table = Table("MB after", "PSS", "RSS", title=f"at {rate / capacity:.0%} of {capacity:.0f} requests/s")
    for second, pss, rss in memory[:: max(len(memory) // 10, 1)]:
        table.add_row(f"{second:.0f} s", f"{pss:.1f}", f"{rss:.1f}")
    growth = {"PSS": growth_mb_min(memory, 1), "RSS": growth_mb_min(memory, 2)}
    table.add_row("growth a minute", f"{growth['PSS']:+.2f}", f"{growth['RSS']:+.2f}")
    console.print(table)
    p50, p99 = np.percentile(seen.seconds, [50, 99]) * 1e3
    console.print(
        f"{counts['answered']} requests with {counts['texts']} texts answered, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
    console.print(", ".join(f"{counts[what]} {what}" for what in ("wrong", "lost", "slow", "slow, refused", "died")))
    swapped, wanted = swaps
    console.print("hot swaps: this node has none" if swapped < 0 else f"hot swaps seen: {swapped} of {wanted}")
    console.print(*seen.problems, f"ended with {ended}", sep="\n")
    grown = memory[-1][0] > _TELLING_S and max(growth.values()) > GROWTH_MB_MIN
    bad = counts["wrong"] or counts["lost"] or ended or (0 <= swapped < wanted) or grown
    return 1 if bad else 0


if __name__ == "__main__":
    main()
