"""A model server that is not ours, for tests: real HTTP, real ONNX, both protocols, and faults on demand.

It speaks the Open Inference Protocol v2 and TensorFlow Serving's REST API over the cloud's model of a tiny release, and
counts what it is asked.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import numpy as np

from tianti.package import read_package
from tianti.runtimes import open_package

Fault = Callable[[BaseHTTPRequestHandler, int], bool]
"""Called with the handler and how many inferences came before; True: it has answered."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """A client that has left is no news."""


class EndpointServer:
    """`takes`: tokens or text. `says`: logits, probabilities or label."""

    def __init__(
        self, package: Path, takes: str = "tokens", says: str = "logits", version: str | None = "7", model: str = "big"
    ) -> None:
        self.runtime_folder = package
        self.runtime = open_package(read_package(package))
        self.takes, self.says, self.version, self.model = takes, says, version, model
        self.asked: Counter[str] = Counter()
        self.fault: Fault = lambda handler, number: False
        self.headers: list[str | None] = []
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                server._describe(self)

            def do_POST(self) -> None:
                server._answer(self)

        return Handler

    def _describe(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        if path.startswith("/v1") and path.endswith("/metadata"):
            dtype = "DT_STRING" if self.takes == "text" else "DT_INT64"
            sizes = [{"size": "-1"}] * (1 if self.takes == "text" else 2)
            names = ["text"] if self.takes == "text" else ["input_ids", "attention_mask"]
            inputs = {name: {"dtype": dtype, "tensor_shape": {"dim": sizes}} for name in names}
            signature = {"signature_def": {"signature_def": {"serving_default": {"inputs": inputs}}}}
            send(handler, 200, {"model_spec": {"name": self.model, "version": self.version}, "metadata": signature})
        elif path.endswith("/ready") or path.startswith("/v1"):
            send(handler, 200, {"name": self.model, "ready": True})
        elif self.model in path:
            one = {"name": "text", "datatype": "BYTES", "shape": [-1]}
            tokens = [{"name": n, "datatype": "INT64", "shape": [-1, -1]} for n in ("input_ids", "attention_mask")]
            send(handler, 200, {"name": self.model, "inputs": [one] if self.takes == "text" else tokens})
        else:
            send(handler, 404, {"error": f"no model at {path}"})

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        if handler.path == "/v2/repository/index":
            send(handler, 200, [{"name": self.model, "version": self.version or "", "state": "READY"}])
            return
        if f"/models/{self.model}" not in handler.path:
            send(handler, 404, {"error": "no such model"})
            return
        version = re.search(r"/versions/([^/:]+)", handler.path)
        if version is not None and version[1] != self.version:
            send(handler, 404, {"error": f"no version {version[1]}"})
            return
        self.headers.append(handler.headers.get("authorization"))
        if self.fault(handler, self.asked.total()):
            return
        is_tfs = handler.path.startswith("/v1")
        given = body["inputs"] if is_tfs else {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
        if self.takes == "text":
            text = given["text"][0]
            self.asked[text] += 1
            logits = self.runtime.run(text).logits
        else:
            ids = np.array(given["input_ids"]).reshape(-1)
            self.asked[str(ids.tolist())] += 1
            assert np.array(given["attention_mask"]).sum() == len(ids)
            logits = self.runtime.run_ids(ids.tolist())
        send(handler, 200, self._tfs(logits) if is_tfs else self._oip(logits))

    def _values(self, logits: np.ndarray) -> list[Any]:
        if self.says == "label":
            return [self.runtime.labels[int(logits.argmax())]]
        if self.says == "probabilities":
            logits = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        return logits.tolist()

    def _tfs(self, logits: np.ndarray) -> dict[str, Any]:
        values = self._values(logits)
        return {"outputs": values if self.says == "label" else [values]}

    def _oip(self, logits: np.ndarray) -> dict[str, Any]:
        values = self._values(logits)
        datatype = "BYTES" if self.says == "label" else "FP32"
        output = {"name": "said", "datatype": datatype, "shape": [1, len(values)], "data": values}
        return {"model_name": self.model, "model_version": self.version, "outputs": [output]}


def send(handler: BaseHTTPRequestHandler, status: int, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def slow(seconds: float) -> Fault:
    def fault(_handler: BaseHTTPRequestHandler, _number: int) -> bool:
        time.sleep(seconds)
        return False

    return fault


def fails(first: int, until: float = np.inf, status: int = 500) -> Fault:
    """Inferences from number `first` on fail."""

    def fault(handler: BaseHTTPRequestHandler, number: int) -> bool:
        if first <= number < until:
            send(handler, status, {"error": "told to"})
            return True
        return False

    return fault
