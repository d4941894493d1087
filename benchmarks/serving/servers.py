"""Who is measured: how each server is started and what is asked of it.

A peer's server is one file of `peers/`, run by its own environment: DIR/NAME of `--peers DIR`. Every peer runs in the
settings that its documentation shows, with batching and without; the better of the two counts.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.serving.models import package_of, release_of

OURS = "tianti"
ROUTE = "/v1/predict"
"""Where our node is asked."""
PATIENT_MS = 30_000.0
_PEERS = Path(__file__).parent / "peers"


def ask_ours(text: str, deadline_ms: float) -> object:
    """The body for our node."""
    return {"text": text, "deadline_ms": deadline_ms}


def _text(text: str, _deadline_ms: float) -> object:
    return {"text": text}


def _texts(text: str, _deadline_ms: float) -> object:
    return {"texts": [text]}


def _tensor(*shape: int) -> Callable[[str, float], object]:
    def body(text: str, _deadline_ms: float) -> object:
        return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": shape, "data": [text]}]}

    return body


@dataclass(frozen=True)
class Server:
    """One server in one of its settings; `mode` is an argument of its file."""

    name: str
    shown: str
    mode: str
    path: str
    body: Callable[[str, float], object]

    def command(self, model: str, port: int, peers: Path) -> list[str]:
        """What starts it on a port of this machine."""
        if self.name == OURS:
            release = ["--tier", "cloud", "--release", str(release_of(model)), "--port", str(port)]
            return [sys.executable, "-m", "tianti", "serve", *release]
        arguments = [str(package_of(model)), str(port), self.mode]
        return [str(python_of(peers, self.name)), str(_PEERS / f"with_{self.name}.py"), *arguments]

    def requests(self, model: str, texts: Sequence[str], deadline_ms: float = PATIENT_MS) -> list[bytes]:
        """Whole HTTP requests, one a text."""
        head = f"POST {self.path.format(model=model)} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        bodies = [msgspec.json.encode(self.body(text, deadline_ms)) for text in texts]
        return [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


def python_of(peers: Path, name: str) -> Path:
    """The interpreter of a peer's environment."""
    return peers / name / "bin" / "python"


def missing(server: Server, peers: Path) -> bool:
    """Whether a peer's environment is not there."""
    return server.name != OURS and not python_of(peers, server.name).exists()


_OIP = "/v2/models/texts/infer"
SERVERS = (
    Server(OURS, "Tianti", "", ROUTE, ask_ours),
    Server("fastapi", "FastAPI", "def", "/predict", _text),
    Server("fastapi", "FastAPI", "async def", "/predict", _text),
    Server("litserve", "LitServe", "batching", "/predict", _text),
    Server("litserve", "LitServe", "alone", "/predict", _text),
    Server("bentoml", "BentoML", "batching", "/predict", _texts),
    Server("bentoml", "BentoML", "alone", "/predict", _texts),
    Server("mlserver", "MLServer", "batching", _OIP, _tensor(1, 1)),
    Server("mlserver", "MLServer", "alone", _OIP, _tensor(1, 1)),
    Server("pytriton", "PyTriton", "batching", _OIP, _tensor(1, 1)),
    Server("pytriton", "PyTriton", "alone", _OIP, _tensor(1)),
    Server("ray", "Ray Serve", "batching", "/predict", _text),
    Server("ray", "Ray Serve", "alone", "/predict", _text),
)
