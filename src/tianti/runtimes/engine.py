"""What every engine shares: text to ids by the package's tokenizer, and a check of what comes back.

Not here: any engine. Invariant: all that changes the model's input is in tokenizer.json, but the cut at `max_length`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tianti.errors import PackageError, RunError, UsageError
from tianti.package import ModelPackage
from tianti.runtimes.contract import Encoded, Output

_PADDING, _UNKNOWN = ("[PAD]", "<pad>"), ("[UNK]", "<unk>")


class EngineRuntime(ABC):
    """A `Runtime` whose engine maps ids to logits."""

    failures: type[Exception] | tuple[type[Exception], ...] = Exception  # what the engine raises
    batches = True
    length_step = 1

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
        self.max_length = package.manifest.max_length
        self._unknown = self._id_of(_UNKNOWN, -1)
        self._padding = self._id_of(_PADDING, 0)
        self._vocabulary = self._tokenizer.get_vocab_size()

    @abstractmethod
    def _load(self, package: ModelPackage) -> None:
        """Make the engine ready."""

    @abstractmethod
    def _infer(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits [rows, labels] of ids [rows, tokens]; one row where the engine has no batches."""

    def run(self, text: str) -> Output:
        """Run one text (see `Runtime.run`)."""
        encoding = self._tokenizer.encode(text)
        ids = encoding.ids
        return Output(self.run_ids(ids), len(ids), ids.count(self._unknown), bool(encoding.overflowing))

    def run_ids(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Run one text's ids (see `Runtime.run_ids`)."""
        if self.length_step > 1:
            logits = self.run_rows([ids])
        else:
            logits = self._run(np.array([ids if len(ids) else [self._padding]], dtype=np.int64))
        only: NDArray[np.float32] = logits[0]
        return only

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts as the model takes them (see `Runtime.encode_many`)."""
        unknown = self._unknown
        encodings = self._tokenizer.encode_batch_fast(texts)  # without offsets: a fifth less time
        return [Encoded(ids := e.ids, ids.count(unknown), bool(e.overflowing)) for e in encodings]

    def check_ids(self, ids: Sequence[int]) -> Encoded:
        """A text that came as ids (see `Runtime.check_ids`)."""
        if len(ids) > self.max_length:
            raise UsageError(f"input_ids: expected at most {self.max_length} tokens, got {len(ids)}; cut them")
        if not all(0 <= token < self._vocabulary for token in ids):
            raise UsageError(f"input_ids: expected ids from 0 to {self._vocabulary - 1}; use the model's own tokenizer")
        return Encoded(ids, ids.count(self._unknown), False)

    def run_rows(self, rows: Sequence[Sequence[int]], aligned: bool = True) -> NDArray[np.float32]:
        """Run several texts' ids in one call (see `Runtime.run_rows`)."""
        step = self.length_step if aligned else 1
        longest = max(max(map(len, rows)), 1)  # engines fail on texts without a token, or not: they are padding
        length = min(-(-longest // step) * step, self.max_length)
        padded = np.full((len(rows), length), self._padding, np.int64)
        for index, row in enumerate(rows):
            padded[index, : len(row)] = row
        return self._run(padded)

    def _run(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            logits = self._infer(ids)
        except self.failures as error:
            raise RunError(f"package {self.package[:12]} failed: {error}") from error
        if logits.shape != (len(ids), self._width):
            expected = f"{len(ids)} x {self._width} logits"
            raise RunError(f"package {self.package[:12]}: expected {expected}, got {list(logits.shape)}")
        return logits

    def _id_of(self, names: Sequence[str], otherwise: int) -> int:
        found = map(self._tokenizer.token_to_id, names)
        return next((token for token in found if token is not None), otherwise)
