"""What a dialect is to the app: routes, each from one HTTP request, read whole, to one reply.

Not here: sockets (`serve`), ASGI (`app`), any dialect.
Invariant: where two routes claim a path and a method, the first has it.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from tianti.serving.access import ANYBODY, Caller
from tianti.serving.models import Via

_PARAMETER = re.compile(r"\\{(\w+)(\\\*)?\\}")


class Call(NamedTuple):
    """One HTTP request, its body read.

    `params` are those of the route's path, percent-decoded; `headers` have lower-case names.
    """

    params: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes
    caller: Caller = ANYBODY

    def via(self, dialect: str) -> Via:
        """How it came, in this dialect."""
        return Via(dialect, self.caller)


class Part(NamedTuple):
    """The next so many bytes of an open file, which whoever sends them closes."""

    file: BinaryIO
    size_bytes: int


Headers = tuple[tuple[bytes, bytes], ...]


class Reply(NamedTuple):
    """What is sent: `body`, or `part`, piece by piece. With status 304 it has no content, and says nothing of it."""

    body: bytes
    status: int = 200
    media_type: bytes = b"application/json"
    headers: Headers = ()
    part: Part | None = None


class Route(NamedTuple):
    """Who answers at a path such as `/v2/models/{name}/infer`, where `{…}` matches anything but a slash and a colon,
    and `{…*}` anything. A GET answers HEAD too, where there is no route for that.

    `scope` is what a caller's token has to allow; None: open to everybody. `show` makes the dialect's own body of an
    error; None: the app's.
    """

    method: str
    path: str
    handle: Callable[[Call], Awaitable[Reply]]
    scope: str | None = None
    show: Callable[[Exception], Reply] | None = None


class Routes:
    """Finds the route of a request: paths without parameters at once, the others by one expression each."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {}).setdefault(route.method, route)
        for path, methods in by_path.items():
            if "{" in path:
                pattern = _PARAMETER.sub(_as_pattern, re.escape(path))
                self._patterns.append((re.compile(pattern), methods))
            else:
                self._fixed[path] = methods

    def find(self, path: str) -> tuple[Mapping[str, Route], Mapping[str, str]] | None:
        """The routes at a path by method, and the path's parameters; `path` as it came, percent-encoded."""
        if (fixed := self._fixed.get(path)) is not None:
            return fixed, {}
        for pattern, methods in self._patterns:
            if (found := pattern.fullmatch(path)) is not None:
                return methods, {name: unquote(value) for name, value in found.groupdict().items()}
        return None


def _as_pattern(parameter: "re.Match[str]") -> str:
    return f"(?P<{parameter[1]}>{'.+' if parameter[2] else '[^/:]+'})"
