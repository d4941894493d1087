"""A fleet of real processes that is asked planted texts, and keeps everything that its processes write below a folder.

Every logger of every process writes all that it has, at every level.
"""

import contextlib
import http.server
import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.e2e.fleet import PRODUCT, Fleet, Part
from tests.e2e.searched import POLICY, planted_texts
from tests.tiny_release import make_release
from tianti.spec import Tier

_EVERY_LEVEL = """
import logging
import sys

logging.basicConfig(stream=sys.stderr)
logging.Logger.isEnabledFor = lambda self, level: True
"""
_PATIENCE_S = 60.0


def tell(folder: Path) -> None:
    """Ask it, have every part end in its way, and leave all that was written below `folder`."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "python").mkdir()
    (folder / "python" / "sitecustomize.py").write_text(_EVERY_LEVEL)
    with _collector(folder / "spans") as traces, _Planted(folder, traces) as fleet:
        release = fleet.publish(make_release(folder / "release", privacy=POLICY))
        fleet.sign("rollout", PRODUCT, release, "--steps", "100%", "--dwell", "1s", "--poll", "1m")
        fleet.start()
        fleet.parts["device-0"].process.wait(_PATIENCE_S)
        for name in ("edge-0", "cloud"):
            _ask_in_every_dialect(fleet.parts[name].url)
        _keep_what_is_shown(fleet, folder / "shown")
        for name, part in fleet.parts.items():  # one by a crash, which dumps all stacks
            part.process.send_signal(signal.SIGABRT if name == "cloud" else signal.SIGTERM)
            part.process.wait(_PATIENCE_S)


class _Planted(Fleet):
    """One edge of two processes, and one device that ends when it has asked. The cloud's decision log has texts."""

    def __init__(self, folder: Path, traces: str) -> None:
        path = os.pathsep.join([str(folder / "python"), *filter(None, [os.environ.get("PYTHONPATH")])])
        spans = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
        more = {"PYTHONPATH": path, "TMPDIR": str(folder / "tmp"), "PYTHONFAULTHANDLER": "1", **spans}
        super().__init__(folder, edges=1, devices=1, environment=more)
        self._traces = traces

    def _node(self, name: str, tier: str, *more: object) -> Part:
        files = ("--log", self.folder / f"{name}-decisions.jsonl", "--egress", self.folder / f"{name}-egress.jsonl")
        kept = ("--cache", "100", "--audits", "0.2", "--traces", self._traces)
        rest = ("--json-logs", "--log-texts") if tier == Tier.CLOUD else ("--workers", "2")
        return super()._node(name, tier, *more, *files, *kept, *rest)

    def _device(self, name: str, above: str, seed: int) -> Part:
        arguments = ["tests.e2e.planted_device", self.folder / name, above, self.folder]
        return Part([str(each) for each in arguments], self._log(name), environment=self.environment)


def _ask_in_every_dialect(url: str) -> None:
    """Texts that enter the ladder here, some that nobody can read, and some where no text belongs."""
    for text in planted_texts():
        quoted = json.dumps(text).encode()
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
        wrong = {"name": "text", "shape": [2], "datatype": text, "data": [text]}
        answered = [
            _post(f"{url}/v1/predict", {"text": text}),
            _post(f"{url}/v1/predict", {"texts": [text, text], "priority": "batch", "private": True}),
            _post(f"{url}/v2/models/{PRODUCT}/infer", {"inputs": [tensor], "id": "a request"}),
            _post(f"{url}/v2/models/{PRODUCT}/infer", {"inputs": [tensor], "parameters": {"audit": True}}),
            _post(f"{url}/v1/models/{PRODUCT}:predict", {"instances": [text]}),
            _post(f"{url}/v1/models/{PRODUCT}:classify", {"examples": [{"text": text}]}),
            _post(f"{url}/invocations", {"text": text}),
        ]
        assert answered == [200] * len(answered)
        refused = [
            _post(f"{url}/v1/predict", b'{"text": ' + quoted),
            _post(f"{url}/v1/predict", b'{"text": [' + quoted + b"]}"),
            _post(f"{url}/v1/predict", b'{"text": "lamp", "point": ' + quoted + b"}"),
            _post(f"{url}/v1/predict", {"text": "lamp", "model": text}),
            _post(f"{url}/v1/predict", {"text": text + "\ud800"}),
            _post(f"{url}/v1/models/{quote(text)}:predict", {"instances": [text]}),
            _post(f"{url}/v2/models/{PRODUCT}/infer", {"inputs": [wrong]}),
        ]
        assert set(refused) == {400, 404}


def _post(url: str, body: Any) -> int:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _keep_what_is_shown(fleet: Fleet, folder: Path) -> None:
    """What nodes and the hub tell of themselves."""
    folder.mkdir()
    devices = ("fleet", "devices", "--db", fleet.folder / "hub.sqlite", "--json")

    def reported() -> bool:
        found = [json.loads(line) for line in fleet.cli(*devices).splitlines()]
        return any(each["device"]["tier"] == Tier.DEVICE and each["told"] for each in found)

    fleet.wait_until(reported, _PATIENCE_S, "the device has reported")
    for name in ("edge-0", "cloud", "hub"):
        for path in ("/metrics", "/status", "/openapi.json", "/fleet"):
            with contextlib.suppress(urllib.error.HTTPError):
                content = urllib.request.urlopen(fleet.parts[name].url + path, timeout=30).read()
                (folder / f"{name}{path.replace('/', '-')}").write_bytes(content)
    (folder / "devices.json").write_text(fleet.cli(*devices))


@contextlib.contextmanager
def _collector(folder: Path) -> Iterator[str]:
    """Takes spans, as an OpenTelemetry collector does, and keeps the requests as they come."""
    folder.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            (folder / f"{threading.get_ident()}-{id(body)}").write_bytes(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *said: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        server.shutdown()
        thread.join()
