"""The ASGI app of one node: any ASGI server can run it, and Ray Serve can be its ingress.

It reads a request whole, finds its route, lets the dialect answer, and sends that. No framework: at ten thousand small
answers a second one would cost as much as the model.
Not here: what routes mean (the dialects), answering (`models`), sockets (`serve`).
Invariants: an error never shows a stack trace; no body is read past its limit; a request whose caller has left is
given up, and what it had under way with it.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from tianti.errors import (
    AccessError,
    DeadlineError,
    OverloadError,
    QuotaError,
    StoreError,
    TiantiError,
    UnknownModelError,
    UsageError,
)
from tianti.protocols.infer import MAX_BODY_BYTES
from tianti.protocols.oip import encode_error
from tianti.serving.access import ANYBODY, Access, Caller
from tianti.serving.access import Scope as AccessScope
from tianti.serving.http import Call, Part, Reply, Route, Routes
from tianti.serving.http import Headers as ReplyHeaders
from tianti.spec import Tier
from tianti.telemetry.context import take_request_id
from tianti.telemetry.logs import log_bug
from tianti.telemetry.tally import Tally

if TYPE_CHECKING:
    from tianti.telemetry.tracing import Tracing

Scope = MutableMapping[str, Any]
Headers = Mapping[bytes, bytes]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_WATCH_S = 0.02  # how often requests are looked for that have become old enough to watch their callers
_PIECE_BYTES = 1 << 16  # a caller has the limit of a connection for each, however slow its line
_NOT_MODIFIED = 304
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownModelError, 404),
    (UsageError, 400),
    (QuotaError, 429),
    (OverloadError, 503),
    (DeadlineError, 504),
)


async def _nothing() -> None:
    """What is done where there is nothing to do."""


class App:
    """Calls the routes.

    Args:
        routes: of all dialects.
        on_startup: runs before the first request.
        on_shutdown: runs after the last.
        access: whose tokens are known; None: nobody is asked for one.
        tracing: keeps a span of each request for an answer; None: no.
        refused: counts what was not a request for an answer.
        told: what else the headers of answers say.

    `closing`: every connection is closed after its next answer.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        on_startup: Callable[[], Awaitable[None]] = _nothing,
        on_shutdown: Callable[[], Awaitable[None]] = _nothing,
        access: Access | None = None,
        tracing: "Tracing | None" = None,
        refused: Tally | None = None,
        told: Callable[[], ReplyHeaders] = tuple,
    ) -> None:
        self.closing = False
        self._access, self._tracing, self._told = access, tracing, told
        self._refused = refused or Tally(Tier.CLOUD)
        self._routes = Routes(routes)
        self._on_startup, self._on_shutdown = on_startup, on_shutdown
        self._watch = _Watch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as the ASGI specification (3.0, "HTTP Connection Scope", "Lifespan") has it."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            raise UsageError(
                f"expected an ASGI scope http or lifespan, got {scope['type']}; this app speaks nothing else"
            )

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._on_startup()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._on_shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        watched = self._watch.begin(receive)
        headers = dict(scope["headers"])
        request_id = take_request_id(headers.get(b"x-request-id"))
        try:
            reply = await self._reply(scope, headers, watched)
            if reply is None:
                return
            head = [*_content(reply), (b"x-request-id", request_id.encode()), *reply.headers]
            if self.closing:
                head.append((b"connection", b"close"))
            await send({"type": "http.response.start", "status": reply.status, "headers": head})
            is_head = scope["method"] == "HEAD"
            if reply.part is None:
                await send({"type": "http.response.body", "body": b"" if is_head else reply.body})
            else:
                await _send_part(reply.part, send, is_head)
        except asyncio.CancelledError:
            if not watched.left:
                raise  # the server is being stopped
        finally:
            self._watch.end(watched)

    async def _reply(self, scope: Scope, headers: Headers, watched: "_Watched") -> Reply | None:
        """None: the caller left before its body was whole."""
        route: Route | None = None
        try:
            found = self._routes.find(scope["raw_path"].decode("latin-1") if scope.get("raw_path") else scope["path"])
            if found is None:
                return Reply(encode_error(f"nothing is at {scope['path']}; see /openapi.json"), 404)
            routes, params = found
            method = scope["method"]
            route = routes.get(method) or (routes.get("GET") if method == "HEAD" else None)
            if route is None:
                allowed = ", ".join(routes).encode()
                return Reply(encode_error(f"{method} is not for this path"), 405, headers=((b"allow", allowed),))
            caller = self._admit(route, headers, scope)
            if b"content-encoding" in headers:
                return Reply(encode_error("expected a body without content-encoding"), 415)
            _check_size(_declared(headers))
            body = await _read_body(watched.receive) if method == "POST" else b""
            if body is None:
                return None
            watched.body_read = True
            return await self._answer(route, Call(params, headers, body, caller))
        except Exception as error:
            if isinstance(error, (UsageError, AccessError)):
                self._refused.failed("http", "error")
            shown = route.show(error) if route is not None and route.show is not None else None
            return _as_reply(error, None if shown is None else shown.body)

    def _admit(self, route: Route, headers: Headers, scope: Scope) -> Caller:
        """Who asks; without tokens, callers are told apart by their addresses."""
        if self._access is not None and route.scope is not None:
            return self._access.check(headers.get(b"authorization"), AccessScope(route.scope))
        client = scope.get("client")
        return Caller(client[0], None) if client else ANYBODY

    async def _answer(self, route: Route, call: Call) -> Reply:
        if route.scope != "predict":
            return await route.handle(call)
        if self._tracing is None:
            reply = await route.handle(call)
        else:
            with self._tracing.serving(route.method, route.path, call.headers) as replied:
                reply = await route.handle(call)
                replied(reply.status)
        told = self._told()
        return reply._replace(headers=(*reply.headers, *told)) if told else reply


def _content(reply: Reply) -> tuple[tuple[bytes, bytes], ...]:
    """RFC 9110, 8.6: what was not modified has no length of its own."""
    if reply.status == _NOT_MODIFIED:
        return ()
    size = len(reply.body) if reply.part is None else reply.part.size_bytes
    return (b"content-type", reply.media_type), (b"content-length", b"%d" % size)


async def _send_part(part: Part, send: Send, is_head: bool) -> None:
    """Piece by piece, as fast as they are taken. A file that has shrunk ends the connection, as its end would lie."""
    left = 0 if is_head else part.size_bytes
    with part.file as file, contextlib.suppress(ConnectionError):  # the caller has left
        while True:
            piece = await asyncio.to_thread(file.read, min(left, _PIECE_BYTES)) if left else b""
            if left and not piece:
                raise StoreError(f"expected {left} bytes more of a file that is being sent, got none; publish it anew")
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
            if not left:
                return


async def _read_body(receive: Receive) -> bytes | None:
    """None: the caller left."""
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    if not message.get("more_body"):
        body: bytes = message.get("body", b"")
        _check_size(len(body))
        return body
    parts = bytearray(message.get("body", b""))
    while message.get("more_body"):
        _check_size(len(parts))
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts += message.get("body", b"")
    _check_size(len(parts))
    return bytes(parts)


def _declared(headers: Headers) -> int:
    """RFC 9110, 8.6: `1*DIGIT`; servers differ in what they let pass."""
    said = headers.get(b"content-length", b"0")
    if not said.isdigit():
        raise UsageError("content-length: expected a number of bytes, got something else")
    return int(said[:20])


class _TooLargeError(UsageError):
    pass


def _check_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise _TooLargeError(f"expected a body of at most {MAX_BODY_BYTES} bytes; send smaller batches")


def _as_reply(error: Exception, body: bytes | None) -> Reply:
    """An error's status, the same in every dialect."""
    if isinstance(error, _TooLargeError):
        status = 413
    elif isinstance(error, AccessError):
        status = 403 if error.known else 401
    else:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if not isinstance(error, TiantiError):
        log_bug("a request", error)
        return Reply(encode_error("internal error; see the node's log"), 500)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, OverloadError):  # RFC 9110, 10.2.3: whole seconds
        headers = ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))),)
    if status == 401:
        headers = ((b"www-authenticate", b"Bearer"),)
    return Reply(encode_error(str(error)) if body is None else body, status, headers=headers)


class _Watched:
    __slots__ = ("began_s", "body_read", "left", "receive", "task", "watcher")

    def __init__(self, receive: Receive, task: "asyncio.Task[Any]", began_s: float) -> None:
        self.receive, self.task, self.began_s = receive, task, began_s
        self.body_read = self.left = False
        self.watcher: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Wait until the caller leaves; after the body nothing else can come."""
        if (await self.receive())["type"] == "http.disconnect":
            self.left = True
            self.task.cancel()


class _Watch:
    """Notices callers that leave, of requests that take longer: for the others it would cost more than the answer."""

    def __init__(self) -> None:
        self._open: dict[_Watched, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, receive: Receive) -> _Watched:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        watched = _Watched(receive, task, time.perf_counter())
        self._open[watched] = None
        if self._timer is None:
            self._timer = loop.call_later(_WATCH_S, self._look)
        return watched

    def end(self, watched: _Watched) -> None:
        del self._open[watched]
        if watched.watcher is not None:
            watched.watcher.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        old_s = time.perf_counter() - _WATCH_S
        for watched in self._open:
            if watched.began_s > old_s:
                break  # the others are younger
            if watched.watcher is None and watched.body_read:
                watched.watcher = loop.create_task(watched.watch())
        self._timer = loop.call_later(_WATCH_S, self._look) if self._open else None
