"""What does it cost to ask whether there is something new, when there is not?

    python -m benchmarks.update_poll

Ours is one conditional request; python-tuf's is its own client's refresh, cache warm, each on a kept connection. Bytes
are those of HTTP, heads and bodies, both ways, as a relay counted them; CPU is the asking process's own, the median of
a call. Beside our node, nginx, where it is installed.
"""

import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.table import Table
from tests.release.publisher import first, make_signers, publish
from tests.serving.test_files import Served

from benchmarks.real_data import console
from tianti.release.repository import to_bytes
from tianti.serving.app import App
from tianti.serving.files import folder_routes
from tianti.update.source import HttpSource

POLLS = 500
REQUESTS, BODY_BYTES, WIRE_BYTES, CPU_MS = 1, 0, 350, 0.3
NGINX = """daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; keepalive_requests 1000000;
  server {{ listen 127.0.0.1:{port}; location /repository/ {{ alias {repository}/; }} }}
}}
"""


def main() -> None:
    table = Table(
        title=f"a poll that finds nothing new; limits: {REQUESTS} request, 0 bytes of body, 350 bytes, 0.3 ms"
    )
    for column in ("client", "server", "requests", "body bytes", "wire bytes", "CPU ms", "within the limits"):
        table.add_column(column, justify="left" if column in ("client", "server") else "right")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        root = make_repository(folder / "repository")
        for server, serving in (("our node", our_node), ("nginx", nginx)):
            if server == "nginx" and shutil.which("nginx") is None:
                table.add_row("", "nginx is not installed")
                continue
            with serving(folder) as port:
                for client, asking in CLIENTS:
                    table.add_row(client, server, *row(port, lambda port: asking(port, root, folder)))  # noqa: B023
    console.print(table)


def make_repository(folder: Path) -> bytes:
    repository, shipment, blobs = first(make_signers())
    publish(folder, repository, [shipment], blobs)
    return to_bytes(repository.root)


def row(port: int, asking: Callable[[int], Callable[[], None]]) -> list[str]:
    with relay(port) as (through, counted):
        ask = asking(through)
        ask()
        counted.clear()
        ask()
        body = body_bytes(bytes(counted[1]))
        requests, wire = bytes(counted[0]).count(b"GET "), len(counted[0]) + len(counted[1])
    ask, took = asking(port), []
    ask()
    for _ in range(POLLS):
        start = time.process_time_ns()
        ask()
        took.append((time.process_time_ns() - start) / 1e6)
    cpu_ms = float(np.median(took))
    held = requests == REQUESTS and body == BODY_BYTES and wire <= WIRE_BYTES and cpu_ms <= CPU_MS
    return [str(requests), str(body), str(wire), f"{cpu_ms:.2f}", "yes" if held else "no"]


def ours(port: int, root: bytes, folder: Path) -> Callable[[], None]:
    source = HttpSource(f"http://127.0.0.1:{port}/repository")
    etag = source.poll(None).etag

    def ask() -> None:
        if source.poll(etag).changed:
            sys.exit("expected no change")

    return ask


def ours_anew(port: int, root: bytes, folder: Path) -> Callable[[], None]:
    """As it is where polls are further apart than the server keeps connections."""
    source = HttpSource(f"http://127.0.0.1:{port}/repository")
    etag = source.poll(None).etag

    def ask() -> None:
        source.close()
        if source.poll(etag).changed:
            sys.exit("expected no change")

    return ask


def python_tufs(port: int, root: bytes, folder: Path) -> Callable[[], None]:
    from tuf.ngclient import Updater
    from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

    (folder / "cache").mkdir(exist_ok=True)
    fetcher = Urllib3Fetcher()
    url = f"http://127.0.0.1:{port}/repository/metadata"
    return lambda: Updater(str(folder / "cache"), url, fetcher=fetcher, bootstrap=root).refresh()


CLIENTS = (("Tianti", ours), ("Tianti, new connection", ours_anew), ("python-tuf", python_tufs))


class Counted(dict[int, bytearray]):
    """What went up (0) and down (1)."""

    def clear(self) -> None:
        self.update({0: bytearray(), 1: bytearray()})


def body_bytes(said: bytes) -> int:
    """How many bytes of answers, one after another, are bodies."""
    bodies = 0
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        length = 0 if head[9:12] == b"304" else length
        bodies, said = bodies + length, rest[length:]
    return bodies


@contextmanager
def relay(port: int) -> Iterator[tuple[int, Counted]]:
    counted, listener = Counted(), socket.create_server(("127.0.0.1", 0))
    counted.clear()

    def pass_on(source: socket.socket, target: socket.socket, way: int) -> None:
        while piece := source.recv(65536):
            counted[way] += piece
            target.sendall(piece)

    def accept() -> None:
        while True:
            try:
                down, _ = listener.accept()
            except OSError:
                return
            up = socket.create_connection(("127.0.0.1", port))
            for pair in ((down, up, 0), (up, down, 1)):
                threading.Thread(target=pass_on, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1], counted
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextmanager
def our_node(folder: Path) -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(folder / "repository", there), daemon=True)
    process.start()
    yield here.recv()
    process.terminate()
    process.join()


def _serve(repository: Path, said: "multiprocessing.connection.Connection") -> None:
    said.send(Served(App(folder_routes("/repository", repository))).address[1])


@contextmanager
def nginx(folder: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(folder=folder, repository=folder / "repository", port=port))
    process = subprocess.Popen(["nginx", "-c", settings, "-e", folder / "error.log"])
    wait_for(port)
    yield port
    process.terminate()
    process.wait()


def wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit("expected a server, got none")


if __name__ == "__main__":
    main()
