"""One node of several processes: start them, replace one that dies, end them together.

The one that was started supervises, and answers nothing. It keeps open the sockets that its workers listen on, so
connections that wait for one that died are taken by the one in its place.
Not here: what a worker does (`serve`), what workers tell each other (`ledger`, `orders`, `statuses`).
Invariants: the port is taken before anything is loaded; a worker whose supervisor is gone ends in order; whoever had
connected when the node was told to stop is answered.
"""

import atexit
import contextlib
import logging
import multiprocessing
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec

from tianti.errors import RunError, TiantiError, UsageError
from tianti.serving.ports import SPREADS, open_ports
from tianti.serving.serve import NodeServer, check_access, make_server, on_signals
from tianti.serving.settings import Peers, Settings
from tianti.telemetry.logs import log_as_json

_TURN_S = 0.1  # how soon a signal is seen
_STEADY_S = 10.0  # who has answered for so long did not die of its start
_MOST = 5  # deaths in a row
_FIRST_WAIT_S = 0.25
_END_S = 2.0  # for who was told to end at once
_IN_ORDER_S = 40.0  # for who was told to end: more than all of its own limits together
_STOP, _NOW = "stop", "now"
_log = logging.getLogger("tianti")


def serve_together(settings: Settings, on_ready: Callable[[str], object]) -> None:
    """Serve with `settings.workers` processes; as `serve`, which calls this."""
    if settings.workers < 1:
        raise UsageError(f"workers: expected 1 or more, got {settings.workers}")
    check_access(settings)
    with contextlib.ExitStack() as kept:
        run = kept.enter_context(tempfile.TemporaryDirectory(prefix="tianti-", ignore_cleanup_errors=True))
        sockets = open_ports(settings.host, settings.port, settings.workers)
        for each in sockets:
            kept.enter_context(each)
        if settings.grpc_port is not None:
            grpc = kept.enter_context(_take_grpc_port(sockets[0].getsockname()[0], settings.grpc_port))
            settings = msgspec.structs.replace(settings, grpc_port=grpc.getsockname()[1])
        _Supervisor(settings, Path(run), sockets, on_ready).run()


def _take_grpc_port(host: str, port: int) -> socket.socket:
    """Each worker's gRPC server opens it for itself; nobody else can while this socket is open."""
    if not SPREADS:
        raise UsageError("gRPC with several workers: expected Linux, where they can share its port; say --workers 1")
    return open_ports(host, port, 1, "--grpc-port")[0]


class Falls(NamedTuple):
    """How often in a row a worker has died soon after it began to answer, or before."""

    times: int = 0

    def after(self, answered_s: float) -> "Falls":
        """It died again, having answered for so long."""
        return Falls(self.times + 1 if answered_s < _STEADY_S else 1)

    @property
    def wait_s(self) -> float | None:
        """Before it is started again; None: it is not worth trying any more."""
        if self.times >= _MOST:
            return None
        return 0.0 if self.times < 2 else _FIRST_WAIT_S * 2.0 ** (self.times - 2)


class _Worker:
    """One of the processes, and whoever takes its place."""

    def __init__(self, settings: Settings, peers: Peers, opened: socket.socket) -> None:
        self._settings, self._peers, self._opened = settings, peers, opened
        self.number = peers.number
        self.pipe: Connection | None = None  # while it lives
        self.error: TiantiError | None = None  # why it could not start
        self.ready_s: float | None = None
        self.listens = False  # or the one that it replaces did, and connections may wait for it
        self.falls = Falls()
        self.start_s: float | None = 0.0  # when to

    def start(self) -> None:
        """Raises an OSError where the system has no room for it now."""
        context = multiprocessing.get_context("spawn")
        self.start_s = self.ready_s = self.error = None
        ours, theirs = context.Pipe()
        with theirs:  # closed here, so that the pipe ends when the worker does
            arguments = (self._settings, self._peers, self._opened, theirs)
            self._process = context.Process(target=_work, args=arguments, name=f"tianti-worker-{self.number}")
            try:
                self._process.start()
            except OSError:
                ours.close()
                raise
        self.pipe = ours

    def tell(self, what: str) -> None:
        if self.pipe is not None:
            with contextlib.suppress(OSError):  # it has just ended
                self.pipe.send(what)

    def hear(self) -> str | TiantiError | None:
        """Its URL, once it answers; or why it cannot; None: it has ended."""
        assert self.pipe is not None
        try:
            said: str | TiantiError = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return said

    def kill(self) -> None:
        if self.pipe is not None:
            self._process.kill()

    def bury(self) -> TiantiError:
        """It has ended: why?"""
        assert self.pipe is not None
        self._process.join(_END_S)
        self._process.kill()
        self._process.join()
        self.pipe.close()
        self.pipe = None
        code = self._process.exitcode
        return self.error or RunError(f"worker {self.number} ended with exit code {code}; see what it said before")


class _Supervisor:
    def __init__(
        self, settings: Settings, run: Path, sockets: list[socket.socket], on_ready: Callable[[str], object]
    ) -> None:
        self._sockets, self._on_ready = sockets, on_ready
        share = settings.share()
        self._workers = [_Worker(share, Peers(run, number), each) for number, each in enumerate(sockets)]
        self._announced = self._stopping = False
        self._signals = 0
        self._hurried = False
        self._until_s = float("inf")  # then whoever is left is killed
        self._error: TiantiError | None = None

    def run(self) -> None:
        """Until told to stop, or until workers do not live."""
        main = threading.current_thread() is threading.main_thread()
        with on_signals(self._signal) if main else contextlib.nullcontext():
            try:
                while any(worker.pipe or worker.start_s is not None for worker in self._workers):
                    self._turn()
            finally:
                for worker in self._workers:
                    worker.kill()
        if self._error is not None:
            raise self._error

    def _signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _turn(self) -> None:
        for worker in self._workers:
            if worker.start_s is not None and worker.start_s <= time.monotonic():
                try:
                    worker.start()
                except OSError as error:
                    self._replace(worker, RunError(f"worker {worker.number} cannot be started: {error}"))
        living = {worker.pipe: worker for worker in self._workers if worker.pipe is not None}
        if not living:
            time.sleep(_TURN_S)
        for pipe in wait(list(living), _TURN_S) if living else ():
            self._hear(living[pipe])  # type: ignore[index]
        if self._signals and not self._stopping:
            self._stop()
        if self._signals > 1 and not self._hurried:
            self._hurried, self._until_s = True, time.monotonic() + _END_S
            for worker in self._workers:
                worker.tell(_NOW)
        if time.monotonic() > self._until_s:
            for worker in self._workers:
                worker.kill()

    def _hear(self, worker: _Worker) -> None:
        said = worker.hear()
        if isinstance(said, TiantiError):
            worker.error = said
        elif said is None:
            self._replace(worker, worker.bury())
        else:
            worker.ready_s, worker.listens = time.monotonic(), True
            if not self._announced and all(each.listens for each in self._workers):
                self._announced = True
                self._on_ready(said)

    def _replace(self, worker: _Worker, why: TiantiError) -> None:
        if self._stopping:
            return
        now_s = time.monotonic()
        worker.falls = worker.falls.after(0.0 if worker.ready_s is None else now_s - worker.ready_s)
        wait_s = worker.falls.wait_s
        if wait_s is None or (worker.error is not None and not self._announced):
            self._error = worker.error or RunError(f"{why}; it has ended {worker.falls.times} times in a row")
            self._stop()
            return
        _log.warning("%s; another one takes its place in %.2f s", why, wait_s)
        worker.start_s = now_s + wait_s

    def _stop(self) -> None:
        self._stopping, self._until_s = True, time.monotonic() + _IN_ORDER_S
        for each in self._sockets:
            each.close()  # so that a worker's own is the last one, and callers are refused once it is closed
        for worker in self._workers:
            worker.start_s = None
            if worker.listens:
                worker.tell(_STOP)
            else:
                worker.kill()


def _work(settings: Settings, peers: Peers, opened: socket.socket, pipe: Connection) -> None:
    """A worker's life. Until it answers, it is the supervisor's to end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if settings.json_logs:
        log_as_json()

    def say(what: str | TiantiError) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone, which `_obey` sees
            pipe.send(what)

    try:
        with make_server(settings, say, opened, peers) as server:
            threading.Thread(target=_obey, args=(pipe, server, peers.run), name="tianti-obey", daemon=True).start()
            server.run()
    except TiantiError as error:
        say(error)


def _obey(pipe: Connection, server: NodeServer, run: Path) -> None:
    try:
        while pipe.recv() != _NOW:
            server.should_exit = True
        server.force_exit = True
    except (EOFError, OSError):  # the supervisor is gone, and cannot clean up
        atexit.register(shutil.rmtree, run, ignore_errors=True)
    server.should_exit = True
