"""A node for clients that others wrote: every dialect over HTTP and gRPC, on loopback."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tianti.package import Release
from tianti.serving import Settings
from tianti.serving.serve import make_server
from tianti.spec import Tier


class Served(NamedTuple):
    """Where it answers, each as `host:port`."""

    http: str
    grpc: str


@contextmanager
def run_node(releases: Sequence[Release]) -> Iterator[Served]:
    """A cloud's node that answers while the block runs; the newest release first."""
    ready = threading.Event()
    folders = tuple(release.folder for release in releases)
    settings = Settings(tier=Tier.CLOUD, releases=folders, port=0, grpc_port=0)
    with make_server(settings, lambda _url: ready.set()) as server:
        thread = threading.Thread(target=server.run, name="conformance-node")
        thread.start()
        try:
            assert ready.wait(30) and server.grpc is not None
            yield Served(server.url.removeprefix("http://"), f"127.0.0.1:{server.grpc.port}")
        finally:
            server.should_exit = True
            thread.join()
