"""One connection to a node: uvicorn's own, with a limit on all that a stranger can make it hold, or wait for.

Not here: what a request asks (`app`), how large its body may be (`app`, which reads it), certificates (`tls`).
Invariants: a header block has at most `head_bytes`; headers, bodies and readers that are too slow end their connection
and no other one; a refusal never takes the place of an earlier request's answer. A request that comes in one piece
pays for no timer.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tianti.serving.cycle import Cycle

_HEAD, _BODY, _DONE = range(3)  # of a request: what has not come yet; all is there
_LINGER_S = 1.0  # closing at once would reset the connection where more is sent, and the refusal be lost with it
_ENDS_S = 10.0  # for the last bytes to be taken
_PARTING_S = 2.0  # where the server ends: for the rest of a body, or for who has all and does not take leave
_SAYS: Mapping[int, bytes] = {
    400: b"expected a request in HTTP/1.1",
    408: b"the request did not come in time",
    431: b"the header block is too large",
    503: b"this node takes no more now; come again later",
}


class Limits(NamedTuple):
    """What one connection, and all of a server's, may take.

    `head_s` and `body_s` are for the whole of a request's headers and body, `write_s` for an answer to be taken once
    it has piled up. Of the connections above `connections`, `refused` at a time are told so, and more are cut.
    """

    head_bytes: int = 16_384
    head_s: float = 10.0
    body_s: float = 30.0
    write_s: float = 30.0
    pipelined: int = 32
    connections: int = 800  # the usual process may open 1024 files
    refused: int = 100


def guarded(limits: Limits | None = None) -> "type[GuardedConnection]":
    """What `uvicorn.Config` takes as `http`, for one server: its connections are counted together."""

    class Guarded(GuardedConnection):
        pass

    Guarded.limits = limits or Limits()
    return Guarded


class GuardedConnection(HttpToolsProtocol):
    """Made by `guarded`."""

    limits: Limits
    open = 0
    refused = 0
    ending = False

    _state = _HEAD
    _over = False  # what comes is not read any more
    _verdict = 400  # on what the parser refuses
    _messages = 0
    _size = 0  # of what came last
    _raw = 0  # bytes of the request, as far as they came alone
    _got = 0  # of its body
    _idle_since_s = 0.0
    _due: asyncio.TimerHandle | None = None
    _due_for: tuple[int, int] | None = None
    _stuck: asyncio.TimerHandle | None = None
    _counted: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it; past the limit, say so."""
        super().connection_made(transport)
        kind = type(self)
        if kind.open < self.limits.connections:
            self._counted = "open"
            kind.open += 1
            self._wait(_PARTING_S if kind.ending else self.limits.head_s)
        elif kind.refused < self.limits.refused:
            self._counted = "refused"
            kind.refused += 1
            self._over = True
            self._reply(503)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        self._stop_waiting()
        self._unset_keepalive_if_required()
        if self._stuck is not None:
            self._stuck.cancel()
        if self._counted is not None:
            setattr(type(self), self._counted, getattr(type(self), self._counted) - 1)

    def data_received(self, data: bytes) -> None:
        """Parse it; what is not whole has a time to become so."""
        if self._over:
            return
        self._size = len(data)
        before, whole = self._messages, self._state == _DONE
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # to what we do not speak: answered in HTTP/1.1, and that is all
            self._over = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(self._verdict)
            return
        if self._state == _DONE:
            if self._due is not None:
                self._stop_waiting()
        else:
            begun = self._messages - before
            self._unfinished(only=not begun or (begun == 1 and (whole or not before)))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._messages += 1
        self._state = _HEAD
        self._raw = self._got = 0

    def on_headers_complete(self) -> None:
        """Its headers are there: refuse them, or let it be answered."""
        if self._raw or self._size > self.limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.head_bytes:
                self._verdict = 431
                raise ValueError
        if len(self.pipeline) >= self.limits.pipelined:
            raise ValueError
        self._begin()
        self.headers = []  # for trailers, which are no headers: a proxy may not have looked at them (RFC 9110, 6.5.1)
        self._state = _BODY

    def _begin(self) -> None:
        """As uvicorn's own, with our cycle, and without its limit of what is under way: the engine knows better."""
        parser, before = self.parser, self.cycle
        version, url = parser.get_http_version(), httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope = self.scope
        scope["method"], scope["http_version"] = parser.get_method().decode("ascii"), version
        scope["path"], scope["raw_path"] = unquote(path) if "%" in path else path, url.path
        scope["query_string"] = url.query or b""
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """A part of its body; uvicorn's own, less its question about WebSockets, which takes longer than the rest."""
        self._got += len(body)
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """It is whole."""
        self._state = _DONE
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """It is answered: go on with the next, or wait for one."""
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        if self.pipeline and not self.transport.is_closing():
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._over or self.transport.is_closing():
            self._end()
        else:
            self._idle_since_s = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._watch_idle(self.timeout_keep_alive)

    def _watch_idle(self, for_s: float) -> None:
        """One timer for all of a connection's requests: to set and cancel one for each takes longer than to parse."""
        self.timeout_keep_alive_task = self.loop.call_later(for_s, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """The server ends: what is whole is answered, and a body has a moment to become so."""
        type(self).ending = True
        cycle = self.cycle
        if self._over:
            return  # it ends as it is
        if cycle is None or cycle.response_complete:
            self._end()
            return
        cycle.keep_alive = False
        if self._state == _BODY:
            self._stop_waiting()
            self._due = self.loop.call_later(_PARTING_S, self._refuse, 503)

    def timeout_keep_alive_handler(self) -> None:
        """Has nothing come for long?"""
        idle = self._state == _DONE and self.cycle.response_complete
        left_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time() if idle else self.timeout_keep_alive
        if left_s > 0.0:
            self._watch_idle(left_s)
        else:
            self._end()

    def pause_writing(self) -> None:
        """The other side does not take its answer."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self.limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def _unfinished(self, only: bool) -> None:
        if only:  # what came last is all of this one request
            self._raw += self._size
        most = self.limits.head_bytes
        if self._state == _HEAD and self._raw > most:
            self._refuse(431)
            return
        if self._raw - self._got > 2 * most + 8 * self._got:  # a trailer without end; a byte a chunk is less
            self._refuse(400)
            return
        if self._due is None or self._due_for != (self._messages, self._state):
            self._wait(self.limits.head_s if self._state == _HEAD else self.limits.body_s)

    def _wait(self, for_s: float) -> None:
        self._stop_waiting()
        self._due_for = self._messages, self._state
        self._due = self.loop.call_later(for_s, self._late, for_s)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _late(self, after_s: float) -> None:
        if self.flow.read_paused:  # by us, until what came before is answered
            self._wait(after_s)
        elif self._messages:
            self._refuse(408)
        else:
            self._end()

    def _refuse(self, status: int) -> None:
        """Read no more. Say why, unless that would be taken for the answer to another request."""
        self._over = True
        self._stop_waiting()
        cycle = self.cycle
        if self._state == _BODY and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if self.pipeline:  # it waits for its turn, which will not come
                self.pipeline.popleft()
            elif cycle.response_started:
                self._end()
            else:
                self._reply(status)
        elif cycle is not None and not cycle.response_complete:
            pass  # `on_response_complete` ends it
        elif self._state == _BODY:  # which has been answered without
            self._end()
        else:
            self._reply(status)

    def _reply(self, status: int) -> None:
        body = b'{"error": "%s"}' % _SAYS[status]
        lines = [b"%s: %s\r\n" % header for header in self.server_state.default_headers]
        if status == 503:
            lines.append(b"retry-after: 1\r\n")
        lines.append(b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.transport.write(b"".join([STATUS_LINE[status], *lines, body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._due = self.loop.call_later(_LINGER_S, self._end)

    def _end(self) -> None:
        """Close it, also where nobody takes what is left to send."""
        self._stop_waiting()
        if not self.transport.is_closing():  # asyncio's TLS, closed twice, cannot be aborted any more
            self.transport.close()
        says_more = not type(self).ending or self.transport.get_write_buffer_size()
        self._due = self.loop.call_later(_ENDS_S if says_more else _PARTING_S, self.transport.abort)
