"""Read a classifier of another framework as an ONNX model, and keep the original at hand to compare with.

A Hugging Face folder, an ONNX file, a Keras file, a TensorFlow SavedModel, a TFLite file, or a function that builds a
torch module. Not here: our contract (`adopt`), tokenizers and labels (`pipeline`). Invariant: nothing that could run
code of the file's author is loaded, except a function that the user names.
"""

import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tianti.compression.export import OPSET
from tianti.errors import StageError, UsageError, needs_extra

with needs_extra("train"):
    import onnx
    from google.protobuf.message import DecodeError, EncodeError

if TYPE_CHECKING:
    import torch

_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".dill", ".h5", ".hdf5"}
_EXAMPLE_TOKENS = 12
_TF2ONNX = ("tensorflow", "tf2onnx")
_CONVERT = ("-m", "tf2onnx.convert", "--opset", str(OPSET))
# in safe mode, which refuses lambdas of the file's author
_EXPORT_KERAS = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1], compile=False, safe_mode=True)
model(numpy.zeros([size or 1 for size in model.input_shape], "int32"))  # one that was only loaded cannot be exported
model.export(sys.argv[2], format="onnx", verbose=False)
"""
_SCORE_KERAS = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1], compile=False, safe_mode=True)
rows = numpy.load(sys.argv[2])
scores = [keras.ops.convert_to_numpy(model(rows[name].astype("int32"))) for name in rows.files]
with open(sys.argv[3], "wb") as target:
    numpy.savez(target, *scores)
"""
Row = NDArray[np.int64]
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Foreign:
    """A model as ONNX; `score` gives what it says in its own framework of rows of ids [1, tokens], [1, labels] each.

    `score` None: it came as ONNX, or running it is not safe (the operators of a SavedModel can write files) or not
    comparable (TFLite computes in int8 what ONNX then has in float32).
    """

    content: bytes
    score: Callable[[Sequence[Row]], list[Scores]] | None = None


def read_foreign(path: Path, pad_id: int) -> Foreign:
    """Read a file or a folder; `pad_id` is its tokenizer's, whatever a configuration beside it says.

    Raises:
        UsageError: it is of no kind that is read, or of one that can carry code.
        StageError: it is damaged, or an operator of it cannot be converted.
        MissingExtraError: its framework is not installed.
    """
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return Foreign(_convert("SavedModel", _TF2ONNX, [*_CONVERT, "--saved-model", str(path), "--output"]))
        if (path / "config.json").is_file():
            return _from_hugging_face(path, pad_id)
    elif not path.exists():
        raise UsageError(f"no file or folder {path}; a torch module is named as module:function")
    elif path.suffix == ".onnx":
        return Foreign(_read_onnx(path))
    elif path.suffix == ".keras":
        content = _convert("Keras model", ("keras", *_TF2ONNX), ["-c", _EXPORT_KERAS, str(path)])
        return Foreign(content, partial(_score_keras, path))
    elif path.suffix == ".tflite":
        return Foreign(_convert("TFLite model", _TF2ONNX, [*_CONVERT, "--tflite", str(path), "--output"]))
    elif path.suffix in _PICKLES:
        raise UsageError(
            f"{path}: expected a format that cannot carry code, got {path.suffix}; build the module in a function of "
            "yours that loads the weights, and name it as module:function, or export it as .onnx or .keras"
        )
    raise UsageError(
        f"{path}: expected a Hugging Face folder, a SavedModel, .onnx, .keras, .tflite or module:function; got another"
    )


def trace_module(build: Callable[[], object], length: int | None = None) -> Foreign:
    """What a user's function builds: a torch module that maps ids int64 [batch, tokens] to scores.

    `length`: the one that texts are padded to; None: the module takes any.

    Raises:
        StageError: it fails, it builds something else, or it cannot be traced.
    """
    with needs_extra("train"):
        import torch
    try:
        module = build()
    except Exception as error:  # whatever a user's function raises
        raise StageError(f"the function that builds the module fails: {type(error).__name__}: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise StageError(f"expected the function to build a torch.nn.Module, got {type(module).__name__}")
    module = module.float().eval()
    return Foreign(_trace(module, length), partial(_score_torch, module))


def _trace(module: "torch.nn.Module", length: int | None = None) -> bytes:
    import torch

    ids = torch.ones((2, length or _EXAMPLE_TOKENS), dtype=torch.int64)
    try:
        with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")  # of the deprecation, and of shapes that tracing makes constant
            file = Path(folder) / "traced.onnx"
            torch.onnx.export(
                module,
                (ids,),
                str(file),
                dynamo=False,  # docs/adr/0003-export.md
                opset_version=OPSET,
                input_names=["input_ids"],
                output_names=["logits"],
                dynamic_axes={"input_ids": {0: "batch", 1: "tokens"}, "logits": {0: "batch"}},
            )
            return file.read_bytes()
    except Exception as error:  # whatever a user's module raises
        cure = "name the length that it takes with --pad-to" if length is None else "export it as ONNX"
        raise StageError(f"the module cannot be traced: {error}; {cure}") from error


def _score_torch(run: "Callable[[torch.Tensor], torch.Tensor]", rows: Sequence[Row]) -> list[Scores]:
    import torch

    try:
        with torch.no_grad():
            return [run(torch.from_numpy(row)).numpy() for row in rows]
    except Exception as error:  # whatever a user's module raises
        raise StageError(f"the module fails on an example: {type(error).__name__}: {error}") from error


def _read_onnx(path: Path) -> bytes:
    """One file's bytes, with the weights that it keeps beside it."""
    try:
        return onnx.load(path).SerializeToString()
    except (DecodeError, onnx.checker.ValidationError, OSError) as error:
        found = str(error).splitlines()[0]
        raise StageError(f"{path} is damaged or incomplete: {found}; export it again, as one file") from error
    except (EncodeError, ValueError) as error:
        raise StageError(f"{path}: expected at most 2 GB, which is what one ONNX file can hold: {error}") from error


def _from_hugging_face(folder: Path, pad_id: int) -> Foreign:
    with needs_extra("train"):
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging

    if not any(folder.glob("*.safetensors")):
        cure = "save it again with save_pretrained, which writes safetensors"
        raise UsageError(f"{folder}: expected weights in *.safetensors, got none (a .bin can carry code); {cure}")
    logging.disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,  # None asks on stdin
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        if "trust_remote_code" in str(error):
            cure = "export it as ONNX, or build it in a function of yours and name it as module:function"
            raise UsageError(
                f"{folder}: expected a model of transformers, got code of its own, which is not run; {cure}"
            ) from error
        raise StageError(f"{folder} is no classifier that transformers can load: {error}") from error
    if (architecture := (model.config.architectures or [""])[0]) and "SequenceClassification" not in architecture:
        cure = "name it as cloud.base instead: a head is trained on it"
        raise UsageError(f"{folder}: expected a trained classifier, got {architecture}; {cure}")

    class Classifier(torch.nn.Module):
        """Masks padding by an additive 4-D mask, which traces to plain nodes; the library's own mask code does not."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            kept = (input_ids != pad_id)[:, None, None, :]
            mask = (1.0 - kept.float()) * torch.finfo(torch.float32).min
            return self.model(input_ids=input_ids, attention_mask=mask).logits

    def as_usual(ids: torch.Tensor) -> torch.Tensor:
        return model(input_ids=ids, attention_mask=(ids != pad_id).long()).logits

    return Foreign(_trace(Classifier().eval()), partial(_score_torch, as_usual))


def _score_keras(path: Path, rows: Sequence[Row]) -> list[Scores]:
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.npz"
        np.savez(ids, *rows)
        content = _run_apart("the Keras model cannot be run", ["-c", _SCORE_KERAS, str(path), str(ids)])
    with np.load(io.BytesIO(content)) as scores:
        return [scores[name] for name in scores.files]


def _convert(what: str, extra_modules: tuple[str, ...], arguments: Sequence[str]) -> bytes:
    with needs_extra("keras"):
        for name in extra_modules:
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
    return _run_apart(f"the {what} cannot be converted to ONNX", arguments)


def _run_apart(wrong: str, arguments: Sequence[str]) -> bytes:
    """What a program of TensorFlow's world writes to the path that comes last, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "written.onnx"
        done = subprocess.run(
            [sys.executable, "-P", *arguments, str(target)],  # -P: no module from the folder that one stands in
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=False,
        )
        if done.returncode or not target.is_file():
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            raise StageError(f"{wrong}: {' '.join(last) or 'it gave no reason'}")
        return target.read_bytes()
