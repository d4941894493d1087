"""The in-process limit of OpenVINO in bfloat16: the same texts and file, and nothing of Tianti.

It pads to the longest text of a batch and no farther, which is less work than the node's whole vectors of 16, and gives
other logits: answers are compared with those that are padded as the node pads.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np

from benchmarks.serving.machine import bf16_unit
from benchmarks.serving.peers.classifier import PAD, Classifier

_STEP = 16
_OPTIONS = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}


def why_not() -> str:
    """Why it cannot be measured here; empty: it can."""
    if not bf16_unit():
        return "this CPU has neither AMX nor AVX512_BF16"
    return "" if importlib.util.find_spec("openvino") else "openvino is not installed: pip install 'tianti[openvino]'"


def classifier_of(package: str, padded: bool = False) -> Classifier:
    """What runs a package in process; `padded`: as the node does."""
    manifest = json.loads((Path(package) / "manifest.json").read_bytes())
    return (
        Bf16Classifier(package, _STEP if padded else 1)
        if manifest["engine"] == "openvino-bf16"
        else Classifier(package)
    )


class Bf16Classifier(Classifier):
    """`Classifier` on another engine; lengths are multiples of `step`."""

    def __init__(self, package: str, step: int) -> None:
        super().__init__(package)
        self._session = _Compiled(str(Path(package) / "onnx" / "model.onnx"), step)


class _Compiled:
    """An OpenVINO model that is called as a session of ONNX Runtime is."""

    def __init__(self, path: str, step: int) -> None:
        import openvino

        self._request = openvino.Core().compile_model(path, "CPU", _OPTIONS).create_infer_request()
        self._step = step

    def run(self, _outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        ids = inputs["input_ids"]
        ids = np.pad(ids, ((0, 0), (0, -ids.shape[1] % self._step)), constant_values=PAD)
        return [np.array(self._request.infer([ids])[0])]
