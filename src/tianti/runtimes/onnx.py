"""Run a package with ONNX Runtime.

Not here: reading the score (`certificate.score`) or choosing a tier (`router`); whether several texts may share a call,
since int8 activations are scaled over the whole batch (`serving`). Invariant: one engine thread per session.
"""

import numpy as np
from numpy.typing import NDArray

from tianti.package import ModelPackage
from tianti.runtimes.engine import EngineRuntime


class OnnxRuntime(EngineRuntime):
    """A session and a tokenizer, ready to run texts; onnxruntime raises bare exceptions of its own."""

    def _load(self, package: ModelPackage) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(package.model_path), options, providers=_local_providers(onnxruntime.get_available_providers())
        )

    def _infer(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(None, {"input_ids": ids})[0]
        return logits


def _local_providers(available: list[str]) -> list[str]:
    """What ONNX Runtime can compute with on this machine: one of its providers would call a service of Azure's."""
    return [provider for provider in available if provider != "AzureExecutionProvider"]
