"""How many devices one core serves with polls: our own node, and nginx with examples/nginx.conf, in turn, on one core.

    python -m benchmarks.updates_scale

Each poll asks for timestamp.json, as devices do: with the tag of what they have (304), or without (200), over
connections that are kept, or each over a new one. The load comes from another core, by wrk where it is installed,
else by our generator, which may be the limit itself. What a core could do is also said by the CPU time of a poll, which
other programs on the machine disturb less. The hub has the same route as a node. Where nginx is not installed, its rows
say so. No TLS.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import psutil
from rich.table import Table
from tests.node_process import NodeProcess
from tests.rolled import Rolled
from tests.tiny_release import make_release

from benchmarks.real_data import ROOT, console
from benchmarks.serving.load import Job, generate
from benchmarks.serving.process import LOAD_CORE, SERVER_CORE, free_port
from tianti.serving.settings import MirrorOf
from tianti.spec import Tier

SECONDS, ROUNDS, CONNECTIONS = 3, 3, 64
DEVICES, POLL_S = 1_000_000, 300
DAY_S = 24 * 3600


class Polls(NamedTuple):
    """Of one kind, at one server: `wire_bytes` are request and reply."""

    per_s: float
    cpu_us: float
    wire_bytes: int


class Server(NamedTuple):
    url: str
    processes: list[psutil.Process]

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)


@contextmanager
def our_node(folder: Path, rolled: Rolled) -> Iterator[Server]:
    """An edge that mirrors the repository."""
    release = make_release(folder / "edge").folder
    (folder / "root.json").write_bytes(rolled.root)
    mirror = MirrorOf(str(rolled.folder), folder / "root.json", folder / "mirror")
    with NodeProcess(Tier.EDGE, release, mirror=mirror) as node:
        process = psutil.Process(node.process.pid)
        process.cpu_affinity([SERVER_CORE])
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {SERVER_CORE})
        yield Server(f"{node.url}/repository/metadata/timestamp.json", [process])


@contextmanager
def nginx(folder: Path, rolled: Rolled) -> Iterator[Server | None]:
    """With the lines of the documentation, one worker."""
    if shutil.which("nginx") is None:
        yield None
        return
    port = free_port()
    lines = (ROOT / "examples" / "nginx.conf").read_text(encoding="utf-8")
    lines = lines.replace("/srv/repository", str(rolled.folder)).replace(":8090", f":{port}")
    (folder / "nginx.conf").write_text(lines.replace("worker_processes auto", "worker_processes 1"), encoding="utf-8")
    os.chmod(folder, 0o755)  # noqa: PTH101 (its worker is another user)
    for each in (rolled.folder, *rolled.folder.parents[:1]):
        each.chmod(0o755)
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]
    with subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE})) as process:
        try:
            url = f"http://127.0.0.1:{port}/metadata/timestamp.json"
            wait_for(url)
            yield Server(url, psutil.Process(process.pid).children())
        finally:
            process.terminate()


def wait_for(url: str) -> None:
    for _ in range(100):
        try:
            if httpx2.get(url, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.05)
    sys.exit(f"{url} does not answer")


def polls(server: Server, known: bool, kept: bool) -> Polls:
    reply = httpx2.get(server.url, trust_env=False)
    headers = {"If-None-Match": reply.headers["etag"]} if known else {}
    if not kept:
        headers["Connection"] = "close"
    before_s = server.cpu_s()
    answers, seconds = load(server.url, headers)
    cpu_us = (server.cpu_s() - before_s) / answers * 1e6
    return Polls(answers / seconds, cpu_us, on_the_wire(server.url, headers))


def load(url: str, headers: dict[str, str]) -> tuple[int, float]:
    """How many answers, in how many seconds."""
    if shutil.which("wrk") is None:
        host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
        job = Job(
            address=(host, int(port)), requests=[request(url, headers)], connections=CONNECTIONS, seconds=float(SECONDS)
        )
        found = generate(job, LOAD_CORE)
        return found.answers, SECONDS + job.warm_up_s
    options = [f"-H{name}: {value}" for name, value in headers.items()]
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", *options, url]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    counted = re.search(r"(\d+) requests in ([\d.]+)s", said)
    assert counted is not None, said
    return int(counted[1]), float(counted[2])


def request(url: str, headers: dict[str, str]) -> bytes:
    """What a device sends."""
    host, _, path = url.removeprefix("http://").partition("/")
    lines = [f"GET /{path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def on_the_wire(url: str, headers: dict[str, str]) -> int:
    import socket

    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    sent = request(url, {**headers, "Connection": "close"})
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sent)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    closing = len(b"Connection: close\r\n")
    return len(sent) + len(received) - 2 * closing


def main() -> None:
    title = f"polls a second on one core, {CONNECTIONS} connections, median of {ROUNDS} x {SECONDS} s"
    table = Table(title=title)
    for column in (
        "server",
        "poll",
        "connection",
        "polls/s",
        "CPU us",
        "polls per CPU s",
        "bytes",
        "cores for 1 M at 5 min",
    ):
        table.add_column(column, justify="left" if column in ("server", "poll", "connection") else "right")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        rolled = Rolled(folder / "repository", int(time.time()))
        rolled.roll(rolled.add(make_release(folder / "release")))
        with our_node(folder, rolled) as ours, nginx(folder, rolled) as theirs:
            for known, kept in ((True, True), (False, True), (True, False)):
                rows = {"tianti": [], "nginx": []}
                for _ in range(ROUNDS):  # in turn, so that a busy moment of the machine meets both
                    rows["tianti"].append(polls(ours, known, kept))
                    if theirs is not None:
                        rows["nginx"].append(polls(theirs, known, kept))
                kind = "304" if known else "200", "kept" if kept else "new"
                for server, found in rows.items():
                    table.add_row(server, *kind, *(cells(found) if found else ("absent", "", "", "", "")))
    console.print(table)
    console.print(arithmetic())


def cells(found: list[Polls]) -> tuple[str, ...]:
    middle = sorted(found, key=lambda each: each.per_s)[len(found) // 2]
    cpu_us = sorted(each.cpu_us for each in found)[len(found) // 2]
    cores = DEVICES / POLL_S * cpu_us / 1e6
    return f"{middle.per_s:,.0f}", f"{cpu_us:.0f}", f"{1e6 / cpu_us:,.0f}", str(middle.wire_bytes), f"{cores:.2f}"


def arithmetic() -> str:
    per_s, day_kb = DEVICES / POLL_S, DAY_S / POLL_S * 0.35
    return (
        f"{DEVICES:,} devices that poll every {POLL_S // 60} minutes are {per_s:,.0f} polls/s. Behind edges of 1,000\n"
        f"devices each they are {1000 / POLL_S:.1f} polls/s an edge, and 1,000 edges that ask every 15 s are\n"
        f"{1000 / 15:.0f} a second for the repository. A day of polls at 350 bytes is {day_kb:.0f} KB a device."
    )


if __name__ == "__main__":
    main()
