"""`tianti serve` as a process of its own, as its users start it."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx2


class ServeProcess:
    """Answering once constructed; a context manager that leaves nothing behind. `log`: what it wrote for people.

    One worker, so that this is the process that answers.
    """

    def __init__(self, *options: str | Path, environ: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tianti", "serve", "--port", "0", "--workers", "1", *map(str, options)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environ or {})},
        )
        assert self.process.stdout is not None
        self.log = ""
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        if found is None:
            self.__exit__()
            raise AssertionError(f"the node did not start: {self.log}")
        self.url = found[0]

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    def ask(self, method: str, path: str, **rest: Any) -> httpx2.Response:
        with httpx2.Client(trust_env=False, base_url=self.url, timeout=30.0) as client:
            return client.request(method, path, **rest)

    def stop(self) -> int:
        """SIGTERM; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def __enter__(self) -> "ServeProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
