"""Run one node: open its port, load its models, answer until told to stop, and then lose nothing.

Not here: the routes (the dialects), the answers (`desk`).
Invariants: the port is taken before any model is loaded, so that a taken one costs nothing, and listens only after
every model has run once; whoever had connected when the node was told to stop is answered.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from tianti.errors import needs_extra
from tianti.serving.access import Access
from tianti.serving.app import App
from tianti.serving.build import Site
from tianti.serving.drain import DRAIN_S, finish, let_in
from tianti.serving.exposure import check_exposure
from tianti.serving.ports import let_restart, open_port
from tianti.serving.settings import Peers, Settings
from tianti.serving.tls import Tls, server_context
from tianti.telemetry.logs import log_as_json

if TYPE_CHECKING:
    from tianti.serving.grpc.server import Listening

with needs_extra("serve"):
    import uvicorn
    from uvicorn.config import LOGGING_CONFIG

    from tianti.serving.connection import guarded

_KEEP_ALIVE_S = 60  # longer than our clients keep an idle connection
_HANDSHAKE_S = 10.0
_BACKLOG = 2048


def serve(settings: Settings, on_ready: Callable[[str], object] = lambda _url: None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, then finish what is under way and return.

    With `settings.workers` above 1, processes are started for it: a program of your own calls this below
    `if __name__ == "__main__":`, as `multiprocessing` has it.

    Args:
        settings: of the node.
        on_ready: called with the node's URL once it answers.

    Raises:
        UsageError: the port is taken, the host could be reached from elsewhere, the settings do not fit.
        PackageError: a release cannot be used.
        PrivacyError: a detector that a release names is not here, or is another.
        RunError: a model does not run, or workers end again and again.
    """
    if settings.json_logs:
        log_as_json()
    if settings.workers != 1:
        from tianti.serving.workers import serve_together

        serve_together(settings, on_ready)
        return
    with make_server(settings, on_ready) as server:
        server.run()


@contextmanager
def make_server(
    settings: Settings,
    on_ready: Callable[[str], object],
    opened: socket.socket | None = None,
    peers: Peers | None = None,
) -> "Iterator[NodeServer]":
    """A server whose port is open and whose models are loaded; raises as `serve`.

    It is one process of a node, whatever `settings.workers` says. `opened`: the port, taken by somebody else; `peers`:
    which of several processes this is.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the only switch that it has: a pool fights the engine
    access = check_access(settings)
    with opened or open_port(settings.host, settings.port) as taken:
        yield NodeServer(Site(settings, access, peers), taken, on_ready)


def check_access(settings: Settings) -> Access | None:
    """Who may ask; None: anybody.

    Raises:
        UsageError: the host could be reached from elsewhere, or the tokens cannot be read.
    """
    access = None if settings.tokens is None else Access(settings.tokens)
    check_exposure(settings.host, access, settings.tls, settings.insecure)
    return access


class Server(uvicorn.Server):
    """uvicorn with a port of ours, a call when it answers, and an orderly end on a signal.

    Args:
        app: answers.
        opened: its port.
        on_ready: called with its URL once it answers.
        drain: called when it is told to stop: `app` closes each connection after its next answer from then on.
        tls: its certificate; None: plain HTTP.
        json_logs: uvicorn's lines are JSON too.
    """

    def __init__(
        self,
        app: App,
        opened: socket.socket,
        on_ready: Callable[[str], object],
        drain: Callable[[], None],
        tls: Tls | None = None,
        json_logs: bool = False,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=guarded(),
            ssl_context_factory=None if tls is None else lambda _config, _default: server_context(tls),
            log_level="warning",
            log_config=None if json_logs else LOGGING_CONFIG,
            access_log=False,
            ws="none",
            interface="asgi3",
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            server_header=False,
            date_header=False,
        )
        super().__init__(config)
        self._opened = opened
        self._on_ready, self._drain = on_ready, drain
        host, port = opened.getsockname()[:2]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        super().run(sockets or [self._opened])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so.

        As uvicorn's own, which has no limit for the handshake of TLS: whoever is silent there would be held for ever.
        """
        await self.lifespan.startup()
        tls, loop = self.config.ssl, asyncio.get_running_loop()
        limit_s = None if tls is None else _HANDSHAKE_S
        for each in sockets or [self._opened]:
            let_restart(each)
        self.servers = [
            await loop.create_server(
                self._make_connection,
                sock=each,
                ssl=tls,
                backlog=_BACKLOG,
                ssl_handshake_timeout=limit_s,
                ssl_shutdown_timeout=limit_s,
            )
            for each in sockets or [self._opened]
        ]
        self.started = True
        await self._start_more()
        self._on_ready(self.url)

    async def _start_more(self) -> None:
        """Listen elsewhere too."""

    async def _end_more(self, grace_s: float | None) -> None:
        """End that, within so long; None: at once."""

    def _make_connection(self) -> asyncio.Protocol:
        config = self.config
        make: Callable[..., asyncio.Protocol] = config.http_protocol_class
        return make(config=config, server_state=self.server_state, app_state=self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer whoever has connected, then end.

        A connection that waits in the backlog, or whose request was not read yet, would be reset by closing. So first
        no more are let in, then those that are there get a moment; each is closed after its next answer.
        """
        self._drain()
        more = asyncio.ensure_future(self._end_more(DRAIN_S))
        await let_in(self._opened, self.server_state, self._at_once)
        for server in self.servers:
            server.close()
        await finish(self.server_state, more, self._at_once)
        if not more.done():
            await self._end_more(None)
        if not self.force_exit:
            await self.lifespan.shutdown()

    def _at_once(self) -> bool:
        return self.force_exit

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order on a signal, and return: uvicorn's own would raise the signal again once it has stopped."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with on_signals(self._stop):
            yield

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """The second time, do not wait for requests."""
        self.force_exit = self.should_exit
        self.should_exit = True


class NodeServer(Server):
    """The server of a node: gRPC is answered beside HTTP where the settings say so."""

    def __init__(self, site: Site, opened: socket.socket, on_ready: Callable[[str], object]) -> None:
        settings = site.settings
        super().__init__(site.app, opened, on_ready, site.drain, settings.tls, settings.json_logs)
        self._site = site
        self.grpc: Listening | None = None

    async def _start_more(self) -> None:
        settings, site = self._site.settings, self._site
        if settings.grpc_port is None:
            return
        from tianti.serving.grpc.server import start_grpc

        host = self._opened.getsockname()[0]
        address = f"[{host}]:{settings.grpc_port}" if ":" in host else f"{host}:{settings.grpc_port}"
        self.grpc = await start_grpc(
            site.models,
            address,
            access=site.access,
            repository=site,
            tls=settings.tls,
            share_port=site.peers is not None,
        )

    async def _end_more(self, grace_s: float | None) -> None:
        if self.grpc is not None:
            await self.grpc.server.stop(grace_s)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """One of several processes is told to end at once by who supervises it.

        A signal to all processes of a service reaches it twice, by itself and by the supervisor.
        """
        super()._stop(number, frame)
        self.force_exit = self.force_exit and self._site.peers is None


@contextmanager
def on_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP, unless it is ignored (nohup), call this. For a main thread."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # a terminal was closed
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
