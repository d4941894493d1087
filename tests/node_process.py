"""A node as a process of its own, for tests that kill it."""

import subprocess
import sys
from pathlib import Path

from tianti.spec import Tier

_CODE = """
import sys
from pathlib import Path
from tianti.serving import Settings, serve
from tianti.spec import Tier

tier, release, port, *upstreams = sys.argv[1:]
settings = Settings(tier=Tier(tier), releases=(Path(release),), upstreams=tuple(upstreams), port=int(port))
serve(settings, lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


class NodeProcess:
    """Started and answering once constructed; a context manager that leaves nothing behind."""

    def __init__(self, tier: Tier, release: Path, port: int = 0, upstreams: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-c", _CODE, tier, str(release), str(port), *upstreams]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the node did not start"

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        self.process.kill()
        self.process.wait()

    def rest_of_output(self) -> str:
        return self.process.communicate(timeout=30)[0]

    def __enter__(self) -> "NodeProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
