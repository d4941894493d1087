"""A node for clients that others wrote: every dialect over HTTP and gRPC, on loopback, on one event loop."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

import uvicorn

from tianti.errors import UnknownModelError, UsageError
from tianti.serving import health, hosted, native, oip, tfs
from tianti.serving.grpc.server import Listening, start_grpc
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models


class Served(NamedTuple):
    """Where it answers, each as `host:port`."""

    http: str
    grpc: str


@contextmanager
def run_node(models: Models) -> Iterator[Served]:
    """A node that answers while the block runs."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, so that Nagle is off
    opened.bind(("127.0.0.1", 0))
    opened.listen()
    routes = [r for d in (health, oip, tfs, native) for r in d.routes(models)] + hosted.routes(models, {})
    config = uvicorn.Config(_make_app(routes), lifespan="off", log_level="warning", access_log=False, loop="asyncio")
    server, started, grpc = uvicorn.Server(config), threading.Event(), list[Listening]()

    async def run() -> None:
        grpc.append(await start_grpc(models, "127.0.0.1:0"))
        started.set()
        await server.serve([opened])
        await grpc[0].server.stop(5.0)
        await models.aclose()

    thread = threading.Thread(target=asyncio.run, args=[run()], name="conformance-node")
    thread.start()
    assert started.wait(30)
    try:
        yield Served(f"127.0.0.1:{opened.getsockname()[1]}", f"127.0.0.1:{grpc[0].port}")
    finally:
        server.should_exit = True
        thread.join()


def _make_app(routes: Sequence[Route]) -> Any:
    table = [(route, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/:]+)", route.path))) for route in routes]

    async def answer(scope: Any, body: bytes) -> Reply:
        path = scope["raw_path"].decode()
        for route, pattern in table:
            if route.method == scope["method"] and (found := pattern.fullmatch(path)):
                params = {name: unquote(value) for name, value in found.groupdict().items()}
                try:
                    return await route.handle(Call(params, dict(scope["headers"]), body))
                except UsageError as error:
                    status = 404 if isinstance(error, UnknownModelError) else 400
                    return route.show(error) if route.show else _error(str(error), status)
        return _error(f"no route {path}", 404)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        reply = await answer(scope, body)
        headers = [(b"content-type", reply.media_type), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    return app


def _error(message: str, status: int) -> Reply:
    return Reply(json.dumps({"error": message}).encode(), status)
