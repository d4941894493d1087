"""Run a package with LiteRT (TensorFlow Lite's successor), which knows no length but those that it was built for.

Not here: writing the file (`compression.litert`). Invariants: a text runs in the shortest signature that holds it,
padded at its end; one engine thread; one call at a time, since an interpreter's tensors are its own.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from tianti.errors import needs_extra
from tianti.package import ModelPackage
from tianti.runtimes.engine import EngineRuntime

SIGNATURE, INPUT = "tokens_{}", "args_0"
"""How signatures are named, by their length, and their one input."""


class LiteRtRuntime(EngineRuntime):
    """An interpreter and a tokenizer, ready to run texts."""

    failures = (ValueError, RuntimeError)
    batches = False

    def _load(self, package: ModelPackage) -> None:
        with needs_extra("litert"):
            from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(package.model_path), num_threads=1)
        lengths = sorted(int(name.rpartition("_")[2]) for name in interpreter.get_signature_list())
        longest = package.manifest.max_length
        if not lengths or lengths[-1] < longest:
            raise ValueError(f"expected a signature for {longest} tokens, got {lengths}")
        self._runners = {length: interpreter.get_signature_runner(SIGNATURE.format(length)) for length in lengths}
        # of each number of tokens the length that it is padded to
        self._lengths = [next(length for length in lengths if length >= tokens) for tokens in range(longest + 1)]
        self._output = next(iter(self._runners[lengths[0]].get_output_details()))
        self._lock = threading.Lock()

    def _infer(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        tokens = ids.shape[1]
        length = self._lengths[tokens]
        padded = np.full((1, length), self._padding, np.int32)
        padded[:, :tokens] = ids
        with self._lock:
            logits: NDArray[np.float32] = self._runners[length](**{INPUT: padded})[self._output]
        return logits
