"""An app on a real port of this machine, in a thread of the test."""

import socket
import threading
import time

import httpx2
import uvicorn

from tianti.serving.app import App
from tianti.serving.connection import guarded


class Served:
    """An app's URL, and clients of it."""

    def __init__(self, app: App) -> None:
        config = uvicorn.Config(app, http=guarded(), log_level="critical", access_log=False, ws="none", lifespan="off")
        config.server_header = config.date_header = False
        self.server = uvicorn.Server(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self._thread = threading.Thread(target=self.server.run, args=([self.socket],))
        self._thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx2.Response:
        with httpx2.Client(trust_env=False, base_url=self.url) as client:
            return client.request(method, path, headers={name.replace("_", "-"): v for name, v in headers.items()})

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(self.address, timeout=5) as sock:
            sock.sendall(request)
            return sock.recv(1 << 16)

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join()
