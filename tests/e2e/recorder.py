"""A TCP proxy on loopback that keeps every byte of both directions: what a wire capture would show."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Recorder:
    """Before one server; `url` is what a client is told instead of the server's."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._kept: list[bytearray] = []
        self._open = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def wire(self) -> bytes:
        """All of it; each direction of each connection is whole, and they follow each other."""
        return b"\n".join(bytes(kept) for kept in self._kept)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    self._kept.append(bytearray())
                    threading.Thread(target=self._pump, args=(source, sink, self._kept[-1]), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                kept += content
                sink.sendall(content)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close every connection."""
        for each in self._open:
            with suppress(OSError):
                each.close()


@contextmanager
def recorded(url: str) -> Iterator[Recorder]:
    """A proxy before this server while the block runs."""
    recorder = Recorder(url)
    try:
        yield recorder
    finally:
        recorder.close()
