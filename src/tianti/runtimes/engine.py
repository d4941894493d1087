"""What every engine shares: text to ids by the package's tokenizer, and a check of what comes back.

Not here: any engine. Invariant: all that changes the model's input is in tokenizer.json, but the cut at `max_length`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.errors import PackageError, RunError
from tianti.package import ModelPackage
from tianti.runtimes.contract import Output

_PADDING, _UNKNOWN = ("[PAD]", "<pad>"), ("[UNK]", "<unk>")


class EngineRuntime(ABC):
    """A `Runtime` whose engine maps ids to logits."""

    failures: type[Exception] | tuple[type[Exception], ...] = Exception  # what the engine raises

    def __init__(self, package: ModelPackage) -> None:
        from tokenizers import Tokenizer

        self.labels = package.manifest.labels
        self.package = package.id
        self._width = len(self.labels)
        try:
            self._tokenizer = Tokenizer.from_file(str(package.tokenizer_path))
        except Exception as error:  # the library raises bare exceptions of its own
            raise PackageError(f"{package.tokenizer_path} cannot be loaded: {error}") from error
        try:
            self._load(package)
        except self.failures as error:
            raise PackageError(f"{package.folder} cannot be loaded: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(package.manifest.max_length)
        self._unknown = self._id_of(_UNKNOWN, -1)

    @abstractmethod
    def _load(self, package: ModelPackage) -> None:
        """Make the engine ready."""

    @abstractmethod
    def _infer(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits of one text's ids."""

    def run(self, text: str) -> Output:
        """Run one text (see `Runtime.run`)."""
        encoding = self._tokenizer.encode(text)
        ids = encoding.ids
        return Output(self.run_ids(ids), len(ids), ids.count(self._unknown), bool(encoding.overflowing))

    def run_ids(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Run one text's ids (see `Runtime.run_ids`)."""
        try:
            logits = self._infer(ids)
        except self.failures as error:
            raise RunError(f"package {self.package[:12]} failed: {error}") from error
        if len(logits) != self._width:
            raise RunError(f"package {self.package[:12]}: expected {self._width} logits, got {len(logits)}")
        return logits

    def _id_of(self, names: Sequence[str], otherwise: int) -> int:
        found = map(self._tokenizer.token_to_id, names)
        return next((token for token in found if token is not None), otherwise)

    @property
    def _pad_id(self) -> int:
        return self._id_of(_PADDING, 0)
