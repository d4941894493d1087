"""Run an ONNX package with OpenVINO: in float32, or in bfloat16 where the package names that.

OpenVINO's own choice on CPUs that have it is bfloat16, which moves logits by a percent and more; and where a CPU lacks
it OpenVINO emulates it, slowly, or computes in float32, and does not say so. Here it is one or the other, or an error.
Invariants: one engine thread; one call at a time; in bfloat16 a text is padded alone as it is in company.
"""

import threading
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from tianti.errors import UsageError, needs_extra
from tianti.package import ModelPackage
from tianti.runtimes.engine import EngineRuntime

_HINT = "INFERENCE_PRECISION_HINT"
_OPTIONS = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}


class OpenVinoRuntime(EngineRuntime):
    """A compiled model and a tokenizer, ready to run texts.

    Raises:
        UsageError: this CPU does not compute in the package's precision.
    """

    failures = RuntimeError
    precision = "f32"

    def _load(self, package: ModelPackage) -> None:
        with needs_extra("openvino"):
            import openvino

        core = openvino.Core()
        model = core.compile_model(str(package.model_path), "CPU", {**_OPTIONS, _HINT: self.precision})
        native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        check_precision(self.precision, model.get_property(_HINT).to_string(), native)
        self._request = model.create_infer_request()
        self._lock = threading.Lock()

    def _infer(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        with self._lock:
            logits: NDArray[np.float32] = np.array(self._request.infer([ids])[0])  # it uses its own memory again
        return logits


class OpenVinoBf16Runtime(OpenVinoRuntime):
    """The same in bfloat16, which rounds a sum whose end does not fill a vector in another way than one that does.

    Padded to whole vectors of 16 a text gets the same logits to the last bit, however long the padding and whoever its
    mates are; so it is padded alone too. (Measured on AVX512_BF16; a node measures it again before it uses batches.)
    """

    precision = "bf16"
    length_step = 16


def check_precision(asked: str, compiled: str, native: Collection[str]) -> None:
    """Refuse a model that would run in another precision than was asked for, or in an emulated one.

    Args:
        asked: `f32` or `bf16`.
        compiled: what OpenVINO says of the compiled model.
        native: what it says that the CPU can do, such as `FP32` and `BF16`.

    Raises:
        UsageError: it would.
    """
    if compiled != asked or (asked == "bf16" and "BF16" not in native):
        raise UsageError(
            f"expected OpenVINO to compute in {asked}, got {compiled} on a CPU with {', '.join(native)}; run it on one "
            "with avx512_bf16 or amx_bf16 (`tianti doctor` lists them), or build it without `matmul: bf16`"
        )
