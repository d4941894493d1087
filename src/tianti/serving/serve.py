"""Run one node: open its port, load its releases, answer until told to stop.

Not here: the routes (`app`), the answers (`desk`).
Invariants: the port is taken before any model is loaded, so that a taken one costs nothing, and listens only after
every model has run once; only this machine can reach a node, since nothing authenticates a caller yet.
"""

import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import FrameType

from tianti.errors import UsageError, needs_extra
from tianti.package import read_release
from tianti.router import Journal, Node, Policy, connect
from tianti.serving.desk import Desk
from tianti.spec import Tier

with needs_extra("serve"):
    import uvicorn

    from tianti.serving.app import make_app

_KEEP_ALIVE_S = 60  # longer than our clients keep an idle connection
_DRAIN_S = 5  # for requests under way when told to stop


def serve(
    tier: Tier,
    releases: Sequence[Path],
    upstreams: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8080,
    on_ready: Callable[[str], object] = lambda _url: None,
    policy: Policy | None = None,
    log: Path | None = None,
    log_texts: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way and return.

    Args:
        tier: whose model runs here.
        releases: folders, newest first; all of one model name.
        upstreams: URLs of higher nodes, the nearest first, or `cloud` (see `connect`).
        host: an address of this machine only.
        port: 0 takes a free one.
        on_ready: called with the node's URL once it answers.
        policy: for requests that enter the ladder here.
        log: a file to which one JSON line for each of their answers is appended.
        log_texts: write their raw texts to it too.

    Raises:
        UsageError: the port is taken, the host could be reached from elsewhere, the releases do not fit, or the policy,
            or the log cannot be written.
        PackageError: a release cannot be used.
    """
    if log_texts and log is None:
        raise UsageError("log_texts: expected a log to write them to, got none; name it with --log FILE")
    journal = None if log is None else Journal(log, log_texts)
    try:
        with make_server(tier, releases, upstreams, host, port, on_ready, policy, journal) as server:
            server.run()
    finally:
        if journal is not None:
            journal.close()


@contextmanager
def make_server(
    tier: Tier,
    releases: Sequence[Path],
    upstreams: Sequence[str],
    host: str,
    port: int,
    on_ready: Callable[[str], object],
    policy: Policy | None = None,
    journal: Journal | None = None,
) -> "Iterator[NodeServer]":
    """A server whose port is open and whose models are loaded; raises as `serve`."""
    with _open_port(host, port) as opened:
        yield NodeServer(_set_desk(tier, releases, upstreams, policy, journal), opened, on_ready)


def _set_desk(
    tier: Tier, releases: Sequence[Path], urls: Sequence[str], policy: Policy | None, journal: Journal | None
) -> Desk:
    found = [read_release(folder) for folder in releases]
    if not found:
        raise UsageError("expected at least one release to serve, got none")
    ways = connect(urls, found)
    nodes = [Node(release, tier, above, policy=policy) for release, above in zip(found, ways, strict=True)]
    desk = Desk(nodes, list(dict.fromkeys(chain.from_iterable(ways))), journal)
    desk.warm_up()
    return desk


def _open_port(host: str, port: int) -> socket.socket:
    """Take the port without listening on it yet: until the models are loaded, callers are refused at once."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"host: expected 127.0.0.1, got {host!r}: authentication is not built yet, so nodes stay local"
        )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: 40 ms an answer otherwise
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere this option lets two programs share a port
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((address, port))
    except (OSError, OverflowError) as error:
        opened.close()
        raise UsageError(f"port {port} of {host} cannot be opened: {error}; choose another, or --port 0") from error
    return opened


class NodeServer(uvicorn.Server):
    """uvicorn with a port of ours, a call when it answers, and an orderly end on SIGINT and SIGTERM."""

    def __init__(self, desk: Desk, opened: socket.socket, on_ready: Callable[[str], object]) -> None:
        config = uvicorn.Config(
            make_app(desk),
            log_level="warning",
            access_log=False,
            loop="asyncio",
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
            server_header=False,
        )
        super().__init__(config)
        self._opened = opened
        self._on_ready = on_ready
        host, port = opened.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        super().run(sockets or [self._opened])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self._on_ready(self.url)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order on a signal, and return: uvicorn's own would raise the signal again once it has stopped."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # the second time, do not wait for requests
        self.should_exit = True
