"""One request of a connection and its answer: uvicorn's own cycle, for an app that says how long each answer is.

Head and body leave in one write, or the head with the body's first piece, and what our app never does is not looked
for (chunks, its own `transfer-encoding`): a quarter of uvicorn's time a request, which a small model notices.
Not here: when a request may begin, and what follows its answer (`connection`).
Invariant: an answer has the headers that it was given and no others, whatever bytes are in them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class Cycle(RequestResponseCycle):
    """Takes `http.response.start`, then `http.response.body` once or more (ASGI 3.0, "Response Start", ...)."""

    _status = 0  # until there is one, and once it is sent
    _headers: Iterable[tuple[bytes, bytes]]

    async def send(self, message: "ASGISendEvent") -> None:
        """What the app answers; what nobody is there to take is dropped."""
        if message["type"] == "http.response.start":
            self.response_started, self.waiting_for_100_continue = True, False
            self._status, self._headers = message["status"], message["headers"]
        elif message["type"] == "http.response.body":
            await self._answer(message["body"], message.get("more_body", False))

    async def _answer(self, body: bytes, more: bool) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            if more:
                raise ConnectionResetError("the caller has left")  # ASGI 2.4, "Disconnected Client"
            return
        if self._status:
            body = self._head() + body
            self._status = 0
        self.transport.write(body)
        if more:
            return
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _head(self) -> bytes:
        lines = [STATUS_LINE[self._status]]
        for name, value in self._headers:
            lines.append(b"%s: %s\r\n" % (name, value))
            if name == b"connection":
                self.keep_alive = False  # the only thing that our app says of it
        if not self.keep_alive and (b"connection", b"close") not in self._headers:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise ValueError("a header holds a line break")  # RFC 9110, 5.5: it would begin another one
        return head + b"\r\n"
