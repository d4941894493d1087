"""What gRPC costs beside HTTP on one node: answers a second, the node's processor time for one, memory.

A tiny release, so that the model is next to nothing; the Open Inference Protocol both ways, one text a request. The
load comes from another process in Python, so that the answers a second are its limit as well; the processor time is
the node's alone.

    python -m benchmarks.grpc_cost
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import psutil
from rich.table import Table
from tests.conformance.node import run_node
from tests.tiny_release import make_release

from benchmarks.real_data import console
from tianti.package import read_release
from tianti.protocols.oip_binary import write_values
from tianti.serving.grpc.proto import oip_pb2

REQUESTS = 3000
JSON = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["lamp"]}]}
MEMORY = """
import psutil, sys
before = psutil.Process().memory_info().rss
import tianti.serving
node = psutil.Process().memory_info().rss
import tianti.serving.grpc.server
print(round((node - before) / 2**20), round((psutil.Process().memory_info().rss - node) / 2**20))
"""


def serve(release: Path) -> None:
    """Run the node until the parent closes our input."""
    with run_node(read_release(release)) as served:
        print(served.http, served.grpc, flush=True)
        sys.stdin.read()


async def over_http(address: str, callers: int) -> float:
    """Seconds for all requests; each caller has a connection and sends one after the other."""
    host, _, port = address.partition(":")
    body = json.dumps(JSON).encode()
    request = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: n\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def call() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(REQUESTS // callers):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()

    return await _timed(call, callers)


async def over_grpc(address: str, callers: int) -> float:
    """As `over_http`; all callers share one channel, as clients of gRPC do."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1]}
    raw = [write_values("BYTES", ["lamp"])]
    request = oip_pb2.ModelInferRequest(model_name="tiny", inputs=[tensor], raw_input_contents=raw).SerializeToString()
    async with grpc.aio.insecure_channel(address) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        async def call() -> None:
            for _ in range(REQUESTS // callers):
                await infer(request)

        return await _timed(call, callers)


async def _timed(call: Callable[[], Awaitable[None]], callers: int) -> float:
    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    table = Table("", "callers", "answers/s", "node's CPU, us an answer", title="one node, tiny release, OIP")
    with tempfile.TemporaryDirectory() as folder:
        release = make_release(Path(folder) / "tiny").folder
        command = [sys.executable, "-m", "benchmarks.grpc_cost", str(release)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            addresses = process.stdout.readline().split()
            node = psutil.Process(process.pid)
            for callers in (1, 8, 64):
                for name, load, address in zip(("HTTP", "gRPC"), (over_http, over_grpc), addresses, strict=True):
                    asyncio.run(load(address, callers))  # warm
                    before = sum(node.cpu_times()[:2])
                    seconds = asyncio.run(load(address, callers))
                    spent_us = (sum(node.cpu_times()[:2]) - before) * 1e6 / REQUESTS
                    table.add_row(name, str(callers), f"{REQUESTS / seconds:.0f}", f"{spent_us:.0f}")
            process.communicate("")
    console.print(table)
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout.split()
    console.print(f"memory of the imports: the node {found[0]} MB, gRPC {found[1]} MB more")


if __name__ == "__main__":
    serve(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
