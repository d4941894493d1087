"""A node's gRPC server in this process, on an event loop of its own, for tests with clients that block."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.serving.loaded import put
from tianti.package import Release
from tianti.serving.grpc.server import Listening, start_grpc
from tianti.serving.models import Models
from tianti.spec import Tier


def models_of(*releases: Release, tier: Tier = Tier.CLOUD) -> Models:
    """The newest release first."""
    models = Models()
    put(models, tier, *releases)
    return models


@contextmanager
def grpc_node(models: Any, **options: Any) -> Iterator[int]:
    """The port of a server that answers while the block runs, and ends in order with it."""
    started, ended = threading.Event(), asyncio.Event()
    found: list[Listening | BaseException] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        try:
            found.append(await start_grpc(models, "127.0.0.1:0", **options))
        except BaseException as error:
            found.append(error)
            return
        finally:
            started.set()
        await ended.wait()
        await found[0].server.stop(5.0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="grpc-node")
    thread.start()
    started.wait()
    try:
        if isinstance(found[0], BaseException):
            raise found[0]
        yield found[0].port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
