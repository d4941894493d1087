"""Nodes on this machine, inside this process: for `tianti up`, `tianti demo` and tests.

A node is a thread here, not a process: it cannot outlive the program, however that ends.
Not here: a node in production, which is a process of its own (`serve`).
Invariant: when a `with` block of `local_node` ends, its port is closed and its thread has ended.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tianti.errors import RunError
from tianti.package import read_release
from tianti.serving.serve import make_server, serve
from tianti.serving.settings import Settings
from tianti.spec import Tier

_HOST = "127.0.0.1"
_START_S = 60.0  # models are loaded before the thread starts, so this is generous


@contextmanager
def local_node(
    tier: Tier, release: Path, upstreams: Sequence[str] = (), port: int = 0, **more: object
) -> Iterator[str]:
    """A node that answers while the block runs; gives its URL. `more`: other fields of its `Settings`.

    Raises:
        UsageError, PackageError: as `serve`.
        RunError: it did not begin to answer.
    """
    ready = threading.Event()
    settings = Settings(tier=tier, releases=(release,), upstreams=tuple(upstreams), host=_HOST, port=port, **more)  # type: ignore[arg-type]
    with make_server(settings, lambda _url: ready.set()) as server:
        thread = threading.Thread(target=server.run, name=f"tianti-{tier}", daemon=True)
        thread.start()
        try:
            if not ready.wait(_START_S):
                raise RunError(f"the {tier} node did not begin to answer within {_START_S:.0f} s")
            yield server.url
        finally:
            server.should_exit = True
            thread.join()


def run_all(release: Path, port: int, say: Callable[[str], object]) -> None:
    """Run every tier of a release until SIGINT or SIGTERM: device on `port`, edge and cloud on the two after it.

    A cloud that is only called is not run, and a release without an edge has none. Port 0 takes free ones. Raises as
    `serve`; then none is left running.
    """
    found, above = read_release(release), deque[str]()
    with ExitStack() as running:
        for tier, offset in ((Tier.CLOUD, 2), (Tier.EDGE, 1)):
            if tier not in found.record.packages:
                continue
            if (called := found.package(tier).endpoint()) is not None:
                above.appendleft(str(tier))
                say(f"{tier:6} {called.url}  (called: {called.declared})")
                continue
            url = running.enter_context(local_node(tier, release, list(above), port + offset if port else 0))
            above.appendleft(url)
            say(f"{tier:6} {url}")
        settings = Settings(tier=Tier.DEVICE, releases=(release,), upstreams=tuple(above), host=_HOST, port=port)
        serve(settings, lambda url: say(f"device {url}  (Ctrl-C stops all)"))
