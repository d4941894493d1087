"""What a dialect's handler takes and gives: one HTTP request whose body was read, one reply, and where it is asked.

Not here: the bytes of a dialect (`protocols`), finding the route, statuses of errors (`app`), sockets (`serve`).
Invariant: a handler sees no socket and no framework, so a test calls it as it is.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple


class Call(NamedTuple):
    """One HTTP request, its body read."""

    params: Mapping[str, str]  # of the path's pattern, percent-decoded; absent where the pattern has none
    headers: Mapping[bytes, bytes]  # lower-case names
    body: bytes
    client: str | None = None  # the token's name, or the peer's address


class Reply(NamedTuple):
    """What is sent back."""

    body: bytes
    status: int = 200
    media_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Route(NamedTuple):
    """Where a handler is asked, and by whom."""

    method: str  # GET (HEAD comes with it) or POST
    path: str  # "/v2/models/{name}/versions/{version}/infer"; {x} matches [^/:]+ ; matched whole
    handle: Callable[[Call], Awaitable[Reply]]
    scope: str | None  # "predict", "admin", "telemetry"; None: open to everybody (health)
    show: Callable[[Exception], Reply] | None = None  # a dialect's own error body; None: {"error": "..."}
