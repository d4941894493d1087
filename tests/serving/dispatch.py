"""Routes without a server: finds a route as a node does, calls its handler, and gives the reply or the error."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from tianti.serving.http import Call, Reply, Route


class Dispatcher:
    """Asks routes by method and path, on one event loop; a context manager that closes it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes
        self.runner = asyncio.Runner()

    def __enter__(self) -> "Dispatcher":
        return self

    def __exit__(self, *error: object) -> None:
        self.runner.close()

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        for route in self.routes:
            pattern = "".join(f"(?P<{x[1:-1]}>[^/:]+)" if x[:1] == "{" else re.escape(x) for x in parts(route.path))
            if route.method == method and (found := re.fullmatch(pattern, path)):
                return route, {name: unquote(value) for name, value in found.groupdict().items()}
        raise LookupError(f"{method} {path}")

    def send(self, method: str, path: str, body: Any = b"", **headers: str) -> Reply:
        route, params = self.find(method, path)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-").lower().encode(): value.encode() for name, value in headers.items()}

        async def one() -> Reply:
            return await route.handle(Call(params, named, sent))

        return self.runner.run(one())

    def ask(self, method: str, path: str, body: Any = b"", **headers: str) -> Any:
        reply = self.send(method, path, body, **headers)
        assert (reply.status, reply.media_type) == (200, b"application/json")
        return json.loads(reply.body)


def parts(path: str) -> list[str]:
    return re.split(r"({\w+})", path)
