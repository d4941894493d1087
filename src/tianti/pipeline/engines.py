"""Choose what runs a model: each engine that is asked for is tried, and the fastest that answers as the parent is kept.

Not here: writing an engine's file (`compression`), running it (`runtimes`). Invariants: nothing is assumed faster, it
is measured on this kind of machine; a file that differs too much from its parent is refused, whatever its speed.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tianti.errors import StageError, TiantiError, needs_extra
from tianti.package import Engine, ModelPackage
from tianti.runtimes import open_package
from tianti.runtimes.measure import measure_latency
from tianti.spec.ladder import StudentSpec

if TYPE_CHECKING:
    from tianti.compression import Parity

# the module that each is made with, and the extra that brings it
_CONVERTERS: dict[Engine, tuple[str, str]] = {
    "onnx": ("onnxruntime", "train"),
    "litert": ("litert_torch", "litert-train"),
    "openvino": ("openvino", "openvino"),
    "openvino-bf16": ("openvino", "openvino"),
}
_TIMED_TEXTS = 100


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One engine: how it compares with the parent and what a text takes, or why it was refused."""

    engine: Engine
    parity: "Parity | None" = None
    p50_ms: float | None = None
    refused: str | None = None

    def line(self) -> str:
        """In words."""
        return f"{self.engine} {self.p50_ms:.3f} ms" if self.refused is None else f"{self.engine} refused"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows to compare on: texts, their ids, the parent's logits [rows, labels], and the truth [rows].

    They stand in the file `source`, at `lines` [at least rows]. `exact`: files hold float32 as the parent does.
    """

    source: Path
    lines: Sequence[int]
    exact: bool
    texts: Sequence[str]
    ids: Sequence[Sequence[int]]
    parent: NDArray[np.float32]
    truth: NDArray[np.int64]


def engines_of(student: StudentSpec) -> list[Engine]:
    """The engines to try: the one that is named, or for `fastest` each that is installed.

    Raises:
        MissingExtraError: the one that is named is not installed.
    """
    installed = [engine for engine, (module, _) in _CONVERTERS.items() if importlib.util.find_spec(module) is not None]
    if student.engine == "fastest":
        return [engine for engine in installed if engine != "openvino-bf16"]  # it would not run on every CPU
    engine: Engine = "openvino-bf16" if student.matmul == "bf16" else student.engine or "onnx"
    module, extra = _CONVERTERS[engine]
    with needs_extra(extra):
        if engine not in installed:
            raise ModuleNotFoundError(name=module)
    return [engine]


def choose_engine(
    files: Mapping[Engine, Path | StageError], draft: Callable[[Path, Engine, Path], ModelPackage], sample: Sample
) -> tuple[Trial, list[Trial]]:
    """Try each engine on its file, or take the reason why there is none.

    Returns:
        The fastest that answers as the parent, and all trials.

    Raises:
        TiantiError: what the first of them failed with, if all did.
    """
    trials, errors = [], []
    for engine, file in files.items():
        try:
            if isinstance(file, StageError):
                raise file
            trials.append(_try(engine, file, draft, sample, timed=len(files) > 1))
        except TiantiError as error:
            trials.append(Trial(engine=engine, refused=str(error)))
            errors.append(error)
    usable = [trial for trial in trials if trial.refused is None]
    if not usable:
        raise errors[0]
    return min(usable, key=lambda trial: trial.p50_ms or 0.0), trials


def _try(
    engine: Engine, file: Path, draft: Callable[[Path, Engine, Path], ModelPackage], sample: Sample, timed: bool
) -> Trial:
    from tianti.compression import check_parity, compare

    with TemporaryDirectory() as folder:
        runtime = open_package(draft(Path(folder), engine, file))
        logits = np.stack([runtime.run_ids(ids) for ids in sample.ids])
        parity = compare(sample.parent, logits, sample.truth, sample.lines)
        check_parity(parity, sample.source, sample.exact)
        # not where there is no choice: a time in it would make each build another package
        took = measure_latency(runtime.run, sample.texts[:_TIMED_TEXTS])["p50"] if timed else None
        return Trial(engine=engine, parity=parity, p50_ms=took)
