"""A server as a process of its own on one core: start, ask until it answers, what it costs, stop.

Invariant: nothing that it started is left running.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

from benchmarks.real_data import ROOT, WORK
from benchmarks.serving.connections import read_answer
from benchmarks.serving.servers import OURS, Server

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
_START_S, _STOP_S = 120.0, 15.0
ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class StartError(Exception):
    """A server did not begin to answer; it says where its output is."""


class Running:
    """A server that answers; a context manager that stops it."""

    def __init__(self, server: Server, model: str, request: bytes, peers: Path) -> None:
        self.address = ("127.0.0.1", free_port())
        self.log = WORK / "serving" / "logs" / f"{server.name}-{server.mode.replace(' ', '-')}-{model}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        path = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"} if server.name == OURS else {"PYTHONPATH": ""}
        with self.log.open("wb") as output:
            self._popen = subprocess.Popen(
                server.command(model, self.address[1], peers),
                env=os.environ | ENVIRONMENT | path,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
            )
        self.pid = self._popen.pid
        self._root = psutil.Process(self.pid)
        try:
            self._wait(request)
        except BaseException:
            self.stop()
            raise

    def _wait(self, request: bytes) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._popen.poll() is None:
            if ask(self.address, request)[0] == 200:
                return
            time.sleep(0.2)
        raise StartError(f"did not begin to answer; see {self.log.relative_to(ROOT)}")

    def tree(self) -> list[psutil.Process]:
        """The process and all below it."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_s(self) -> float:
        """User and system time of the tree so far."""
        total = 0.0
        for process in self.tree():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total

    def pss_bytes(self) -> int:
        """Memory of the tree, with shared pages split between those who share them."""
        return sum(_pss(process.pid) for process in self.tree())

    def exited(self, within_s: float) -> bool:
        """Whether the process ends by itself within this time."""
        try:
            self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left."""
        below = self.tree()
        self._popen.send_signal(signal.SIGTERM)
        self.exited(_STOP_S)
        for process in below:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._popen.wait()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def ask(address: tuple[str, int], request: bytes) -> tuple[int | None, bytes]:
    """One request on a connection of its own: the status and all that came; None: no whole answer."""
    got = b""
    try:
        with socket.create_connection(address, timeout=10.0) as connection:
            connection.sendall(request)
            while (status := read_answer(got)[0]) is None:
                if not (data := connection.recv(65536)):
                    return None, got
                got += data
    except OSError:
        return None, got
    return status, got


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
