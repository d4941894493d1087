"""Run shipped packages over rows and keep what they said.

Not here: judging it (`certify`, `evaluate`). Invariant: one text a call, as in service, since int8 activations are
scaled over a batch and an answer must not depend on its batch mates.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tianti.certificate import REJECTED, Readings, read_many
from tianti.data import Row
from tianti.package import read_package
from tianti.pipeline.contract import Progress
from tianti.runtimes import open_package
from tianti.spec import ScoreHead

_CHUNK = 64
_WORKERS = 2
UNKNOWN = -3


@dataclass(frozen=True)
class Outputs:
    """What one package said: logits float32 [rows, labels], tokens, unknown and truncated [rows]."""

    logits: NDArray[np.float32]
    tokens: NDArray[np.int64]
    unknown: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    def some(self, rows: slice) -> "Outputs":
        """What it said of these rows."""
        return Outputs(self.logits[rows], self.tokens[rows], self.unknown[rows], self.truncated[rows])

    def read(self, head: ScoreHead) -> Readings:
        """Label and score of every row."""
        return read_many(head, self.logits, self.tokens, self.unknown)


@dataclass(frozen=True)
class Told:
    """What an endpoint said: labels as `Readings.index` and its own scores, float64, each [rows]."""

    index: NDArray[np.int64]
    score: NDArray[np.float64]

    def some(self, rows: slice) -> "Told":
        """What it said of these rows."""
        return Told(self.index[rows], self.score[rows])

    def read(self, head: ScoreHead) -> Readings:
        """Label and score of every row: the endpoint has read its own logits."""
        return Readings(self.index, self.score, np.zeros(len(self.index)))


def run_package(folder: Path, texts: Sequence[str], progress: Progress | None = None) -> Outputs:
    """Run a package over texts, one at a time, on two cores."""
    package = read_package(folder)
    runtime = open_package(package)
    chunks = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
    outputs = []
    with ThreadPoolExecutor(_WORKERS) as pool:  # the engine releases the interpreter's lock
        for done, chunk in enumerate(pool.map(lambda chunk: [runtime.run(text) for text in chunk], chunks), 1):
            outputs += chunk
            if progress is not None:
                progress(done, len(chunks), f"running {package.manifest.name}")
    return Outputs(
        np.array([output.logits for output in outputs], dtype=np.float32).reshape(len(texts), len(runtime.labels)),
        np.array([output.tokens for output in outputs], dtype=np.int64),
        np.array([output.unknown for output in outputs], dtype=np.int64),
        np.array([output.truncated for output in outputs], dtype=bool),
    )


def truth_of(rows: Sequence[Row], labels: tuple[str, ...], out_of_scope: str | None) -> NDArray[np.int64]:
    """The index of each row's label; REJECTED for an out-of-scope row; UNKNOWN, which no answer equals, for another."""
    index = {label: position for position, label in enumerate(labels)}
    if out_of_scope is not None:
        index[out_of_scope] = REJECTED
    return np.array([index.get(row.label, UNKNOWN) for row in rows], dtype=np.int64)
