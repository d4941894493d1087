"""What it costs an edge to relay texts to the cloud, alone and gathered, by how many calls may be under way.

A tiny release and a text that only the cloud knows, so that nearly all of the edge's work is the relay. Cloud, edge and
load are processes of one machine: answers a second are its limit as well, the processor time is the edge's alone.
`alone` sends every text by itself, at once. `far`: a cloud that is 50 ms away, where waiting for a call to return
would be felt. The limit on what may climb is held at its most, since what is past it is answered by the edge.

    python -m benchmarks.relay [CALLS ...]
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.table import Table
from tests.node_process import NodeProcess
from tests.tiny_release import make_release

from benchmarks.real_data import console
from tianti.router import Policy, limit
from tianti.runtimes import relay
from tianti.runtimes.http import Connection
from tianti.serving import Settings, serve
from tianti.spec import Tier

CLIENTS = (1, 8, 64)
SECONDS = 2.0
FAR_S = 0.05
ABOVE = b'"data":["cloud"]'


def run_edge(release: str, upstream: str, calls: str, far_s: str) -> None:
    """An edge node with this setting; its cloud is `far_s` further away."""
    limit.LEAST = limit.FIRST = limit.MOST
    relay.CALLS = int(calls) or 1000
    relay.MAX_BATCH = relay.MAX_BATCH if int(calls) else 1
    call = Connection.call

    async def later(self: Connection, path: str, remaining_s: float, body: bytes | None = None) -> bytes:
        await asyncio.sleep(float(far_s) if body else 0.0)
        return await call(self, path, remaining_s, body)

    if float(far_s):
        Connection.call = later
    edge = Settings(tier=Tier.EDGE, releases=(Path(release),), upstreams=(upstream,), port=0, policy=Policy(audits=0.0))
    serve(edge, lambda url: print(url, flush=True))


async def load(url: str, clients: int, seconds: float) -> tuple[list[float], float]:
    """Milliseconds of each answer, and the share of them that came from the cloud."""
    host, _, port = url.removeprefix("http://").partition(":")
    asked = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["luminaire"]}]}
    body = json.dumps(asked).encode()
    request = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: n\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    took_ms: list[float] = []
    above = 0
    until_s = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal above
        reader, writer = await asyncio.open_connection(host, int(port))
        while (start_s := time.perf_counter()) < until_s:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            took_ms.append((time.perf_counter() - start_s) * 1e3)
            above += ABOVE in content
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return sorted(took_ms), above / len(took_ms)


def rows(release: Path, cloud: str, calls: int, far_s: float) -> list[list[str]]:
    command = [sys.executable, "-m", "benchmarks.relay", "edge", str(release), cloud, str(calls), str(far_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, edge, made = process.stdout.readline().strip(), psutil.Process(process.pid), []
        for clients in CLIENTS:
            asyncio.run(load(url, clients, SECONDS))  # warm, and the limit grows
            before_s = sum(edge.cpu_times()[:2])
            took_ms, above = asyncio.run(load(url, clients, SECONDS))
            spent_us = (sum(edge.cpu_times()[:2]) - before_s) * 1e6 / len(took_ms)
            at = [took_ms[int(len(took_ms) * share)] for share in (0.5, 0.99)]
            made.append(
                [f"{len(took_ms) / SECONDS:.0f}", f"{spent_us:.0f}", *(f"{ms:.1f}" for ms in at), f"{above:.1%}"]
            )
            made[-1] = ["far" if far_s else "near", f"{calls or 'alone'}", str(clients), *made[-1]]
        process.terminate()
    return made


def main(calls: list[int]) -> None:
    """Print the table."""
    columns = (
        "cloud",
        "calls",
        "clients",
        "answers/s",
        "edge's CPU, us an answer",
        "p50 ms",
        "p99 ms",
        "from the cloud",
    )
    table = Table(*columns, title="an edge that relays every text")
    with tempfile.TemporaryDirectory() as folder:
        release = make_release(Path(folder) / "tiny").folder
        with NodeProcess(Tier.CLOUD, release) as cloud:
            for far_s in (0.0, FAR_S):
                for each in calls:
                    for row in rows(release, cloud.url, each, far_s):
                        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    run_edge(*sys.argv[2:]) if sys.argv[1:2] == ["edge"] else main(
        [int(each) for each in sys.argv[1:]] or [0, relay.CALLS]
    )
