"""Kept-alive HTTP connections over epoll: ask on one, hear which have been answered.

Not here: when to ask (`load`). Invariant: at most one request is under way on a connection; one that the server closes
is opened again, and a request that was under way on it is answered LOST.
"""

import contextlib
import itertools
import resource
import select
import socket
import time
from collections.abc import Iterator

LOST = 0
"""In the place of an HTTP status: the connection ended without an answer."""


class Connection:
    """One socket; `due` is when its last request was to be sent, `asked` whether that is under way."""

    __slots__ = ("asked", "due", "got", "sock")

    def __init__(self) -> None:
        self.asked = False
        self.due = 0.0


class Connections:
    """A pool of connections to one server; a context manager that closes them."""

    def __init__(self, address: tuple[str, int], requests: list[bytes], count: int) -> None:
        allow_files(count + 50)
        self._address = address
        self._requests = itertools.cycle(requests)
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self.under_way = 0
        self.all = [self._connect(Connection()) for _ in range(count)]

    def ask(self, connection: Connection, due: float) -> None:
        """Send the next request."""
        connection.due, connection.asked = due, True
        self.under_way += 1
        with contextlib.suppress(OSError):  # the end of a connection is read as any other
            connection.sock.send(next(self._requests))

    def answers(self, wake: float) -> Iterator[tuple[Connection, int]]:
        """Those that were answered, with their statuses; waits for the first until `wake`, and gives none after it."""
        for number, _ in self._poll.poll(max(0.0, wake - time.perf_counter())):
            connection = self._open[number]
            try:
                data = connection.sock.recv(65536)
            except OSError:
                data = b""
            connection.got = connection.got + data if connection.got else data
            status, closes = read_answer(connection.got) if data else (LOST, True)
            if status is None:
                continue
            connection.got = b""
            if closes:
                self._reconnect(connection)
            if connection.asked:
                connection.asked = False
                self.under_way -= 1
                yield connection, status

    def _connect(self, connection: Connection) -> Connection:
        connection.sock = socket.create_connection(self._address)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock.setblocking(False)
        connection.got = b""
        self._open[connection.sock.fileno()] = connection
        self._poll.register(connection.sock, select.EPOLLIN)
        return connection

    def _reconnect(self, connection: Connection) -> None:
        del self._open[connection.sock.fileno()]
        connection.sock.close()
        self._connect(connection)

    def __enter__(self) -> "Connections":
        return self

    def __exit__(self, *error: object) -> None:
        for connection in self._open.values():
            connection.sock.close()
        self._poll.close()


def read_answer(got: bytes) -> tuple[int | None, bool]:
    """The status of an HTTP answer once it is whole, and whether the server then closes."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return None, False
    head = got[: end + 2].lower()
    at = head.find(b"content-length:")
    sized = at >= 0
    if sized and len(got) - end - 4 < int(head[at + 15 : head.find(b"\r", at)]):
        return None, False
    if not sized and not got.endswith(b"\r\n0\r\n\r\n"):
        return None, False
    return int(got[9:12]), b"connection: close" in head


def allow_files(count: int) -> None:
    """Raise the soft limit of open files, as far as the hard one lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
