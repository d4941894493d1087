"""A web server on loopback that says what the test wrote down, byte by byte, and keeps what it was asked."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Reply = Callable[[bytes], Iterator[bytes]]
"""From a request's head to the pieces to send; a piece that is empty closes the connection."""


class Web:
    def __init__(self, reply: Reply) -> None:
        self._reply, self._listener = reply, socket.create_server(("127.0.0.1", 0))
        self.asked: list[bytes] = []
        self.connections = 0
        self.sent = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/repository"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):  # a test may have closed it
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while piece := _received(connection):
                head += piece
                if b"\r\n\r\n" not in head:
                    continue
                self.asked.append(head)
                for said in self._reply(head):
                    if not said:
                        return
                    try:
                        connection.sendall(said)
                    except OSError:
                        return
                    self.sent += len(said)
                head = b""


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


@contextmanager
def serving(reply: Reply) -> Iterator[Web]:
    web = Web(reply)
    thread = threading.Thread(target=web.serve)
    thread.start()
    try:
        yield web
    finally:
        web.close()
        thread.join()


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(body)}"))
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body
