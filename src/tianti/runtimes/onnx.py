"""Run a package with ONNX Runtime.

Not here: reading the score (`certificate.score`) or choosing a tier (`router`). One text a call: int8 activations are
scaled over the whole batch, so an answer must not depend on its batch mates. Invariant: one engine thread per session.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.errors import PackageError, RunError
from tianti.package import ModelPackage
from tianti.runtimes.contract import Output

_UNKNOWN = ("[UNK]", "<unk>")


class OnnxRuntime:
    """A session and a tokenizer, ready to run texts."""

    def __init__(self, package: ModelPackage, threads: int = 1) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self.labels = package.manifest.labels
        self.package = package.id
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._tokenizer = Tokenizer.from_file(str(package.tokenizer_path))
            self._session = onnxruntime.InferenceSession(
                str(package.model_path), options, providers=_local_providers(onnxruntime.get_available_providers())
            )
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise PackageError(f"{package.folder} cannot be loaded: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(package.manifest.max_length)
        self._unknown = next((i for i in map(self._tokenizer.token_to_id, _UNKNOWN) if i is not None), -1)
        self._width = len(self.labels)

    def run(self, text: str) -> Output:
        """Run one text (see `Runtime.run`)."""
        encoding = self._tokenizer.encode(text)
        ids = encoding.ids
        return Output(self.run_ids(ids), len(ids), ids.count(self._unknown), bool(encoding.overflowing))

    def run_ids(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits [labels] of a text's ids.

        Raises:
            RunError: as of `run`.
        """
        try:
            logits: NDArray[np.float32] = self._session.run(None, {"input_ids": np.array([ids], dtype=np.int64)})[0][0]
        except Exception as error:  # onnxruntime raises bare exceptions of its own
            raise RunError(f"package {self.package[:12]} failed: {error}") from error
        if len(logits) != self._width:
            raise RunError(f"package {self.package[:12]}: expected {self._width} logits, got {len(logits)}")
        return logits


def _local_providers(available: list[str]) -> list[str]:
    """What ONNX Runtime can compute with on this machine: one of its providers would call a service of Azure's."""
    return [provider for provider in available if provider != "AzureExecutionProvider"]
