"""Run an ONNX package with OpenVINO, in float32.

OpenVINO's own choice on CPUs that have it is bfloat16, which moves logits by a percent and more: it is turned off.
Invariants: one engine thread; one call at a time.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from tianti.errors import needs_extra
from tianti.package import ModelPackage
from tianti.runtimes.engine import EngineRuntime

_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}


class OpenVinoRuntime(EngineRuntime):
    """A compiled model and a tokenizer, ready to run texts."""

    failures = RuntimeError

    def _load(self, package: ModelPackage) -> None:
        with needs_extra("openvino"):
            import openvino

        model = openvino.Core().compile_model(str(package.model_path), "CPU", _OPTIONS)
        self._request = model.create_infer_request()
        self._lock = threading.Lock()

    def _infer(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        with self._lock:
            logits: NDArray[np.float32] = np.array(self._request.infer([ids])[0])  # it uses its own memory again
        return logits
