"""A node as a process of its own, for tests that kill it."""

import contextlib
import pickle
import subprocess
import sys
from pathlib import Path

import psutil

from tianti.serving import Settings
from tianti.spec import Tier

_CODE = """
import pickle, sys
from tianti.serving import serve

serve(pickle.loads(bytes.fromhex(sys.argv[1])), lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


class NodeProcess:
    """Started and answering once constructed; a context manager that leaves nothing behind.

    `more`: other fields of its `Settings`.
    """

    def __init__(
        self, tier: Tier, release: Path | None, port: int = 0, upstreams: tuple[str, ...] = (), **more: object
    ) -> None:
        releases = () if release is None else (release,)
        settings = Settings(tier=tier, releases=releases, port=port, upstreams=upstreams, **more)  # type: ignore[arg-type]
        command = [sys.executable, "-c", _CODE, pickle.dumps(settings).hex()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the node did not start"

    def workers(self) -> list[psutil.Process]:
        """Those that answer for it, where it has several; the oldest first."""
        found = [each for each in psutil.Process(self.process.pid).children() if _works(each)]
        return sorted(found, key=lambda each: each.create_time())

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        self.process.kill()
        self.process.wait()

    def rest_of_output(self) -> str:
        return self.process.communicate(timeout=30)[0]

    def __enter__(self) -> "NodeProcess":
        return self

    def __exit__(self, *error: object) -> None:
        below = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        self.process.kill()
        self.process.communicate()
        for each in psutil.wait_procs(below, 10.0)[1]:  # its workers notice, and end
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def _works(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
