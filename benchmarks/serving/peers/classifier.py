"""What every peer serves and what the in-process limit measures: tokenizer, ONNX Runtime with one thread, softmax.

Not here: anything of Tianti, which the peers' environments lack. A batch is padded to its longest text.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

PAD = 0


class Classifier:
    """A model package, ready to answer."""

    def __init__(self, package: str) -> None:
        folder = Path(package)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        self.labels = manifest["labels"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(manifest["max_length"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = str(folder / "onnx" / "model.onnx")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def classify(self, texts: list[str]) -> list[dict]:
        """Label and probability of each text."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        ids = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
        for row, found in zip(ids, rows, strict=True):
            row[: len(found)] = found
        logits = self._session.run(None, {"input_ids": ids})[0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        best = logits.argmax(axis=1)
        scores = powers[np.arange(len(best)), best] / powers.sum(axis=1)
        return [
            {"label": self.labels[index], "score": score}
            for index, score in zip(best.tolist(), scores.tolist(), strict=True)
        ]
