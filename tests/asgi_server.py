"""A real uvicorn in a thread, around any ASGI app: what the node's rim does is tested without a node."""

import faulthandler
import importlib.util
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

App = Callable[[Any, Any, Any], Any]
LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


@contextmanager
def asgi_server(app: App, send_buffer: int | None = None, **options: Any) -> Iterator[int]:
    """Serves while the block runs; gives the port."""
    settings = {
        "log_level": "critical",
        "lifespan": "off",
        "server_header": False,
        "proxy_headers": False,
        "ws": "none",
    }
    server = uvicorn.Server(uvicorn.Config(app, **(settings | {"timeout_graceful_shutdown": 1} | options)))
    ready = threading.Event()
    startup = server.startup

    async def begin(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        ready.set()

    server.startup = begin  # type: ignore[method-assign]
    opened = socket.create_server(("127.0.0.1", 0))
    if send_buffer is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    thread = threading.Thread(target=server.run, args=([opened],), name="asgi-server", daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield opened.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        if thread.is_alive():
            faulthandler.dump_traceback()
            raise AssertionError("expected a server that ends within 30 s; where it is, stands above")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body it got."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    await reply(send, body)


async def reply(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
