"""A hub as a process of its own, by its command, and who talks to it."""

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from tests.hub.site import PASSPHRASE, Publisher
from tianti.package import Signed, sign_batch
from tianti.package.report import VIA, VIA_SIGNATURE


class HubProcess:
    """Started and answering once constructed; `start` begins it again after `kill`."""

    def __init__(self, publisher: Publisher, base: Path) -> None:
        self.publisher, self.db, self.port = publisher, base / "hub.sqlite", 0
        self._secret = base / "passphrase"
        self._secret.write_text(PASSPHRASE)
        self.start()

    def start(self) -> None:
        paths = {
            "repository": self.publisher.folder,
            "keys": self.publisher.online,
            "passphrase-file": self._secret,
            "db": self.db,
        }
        given = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tianti", "hub", *given, "--port", str(self.port), "--every", "0.1"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip().removeprefix("hub ready on ")
        assert self.url, "the hub did not start"
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.communicate()

    def stop(self) -> int:
        """As an operator does; its exit status."""
        self._process.terminate()
        self._process.communicate(timeout=30)
        return self._process.returncode

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(self.url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, msgspec.json.decode(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, msgspec.json.decode(error.read())

    def report(self, *signed: Signed, via: str | None = None, key: Any = None) -> tuple[int, Any]:
        """Post reports; `via`, `key`: of the node that passes them on."""
        body = msgspec.json.encode(signed)
        headers = {} if via is None else {VIA: via, VIA_SIGNATURE: sign_batch(body, key)}
        return self.ask("/reports", body, **headers)

    def __enter__(self) -> "HubProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.kill()


def tianti(*words: str) -> str:
    """What a command prints."""
    return subprocess.run([sys.executable, "-m", "tianti", *words], capture_output=True, text=True, check=True).stdout
