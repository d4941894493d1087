"""Read a classifier of another framework as an ONNX model.

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
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tianti.compression.export import OPSET, TOLERANCE
from tianti.errors import StageError, UsageError, needs_extra

with needs_extra("train"):
    import onnxruntime

if TYPE_CHECKING:
    import torch

_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".dill", ".h5", ".hdf5"}
_EXAMPLE_TOKENS, _FEWER_TOKENS = 12, 5
_TF2ONNX = ("tensorflow", "tf2onnx")
_CONVERT = ("-m", "tf2onnx.convert", "--opset", str(OPSET))
# in safe mode, which refuses lambdas of the file's author
_EXPORT_KERAS = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1], compile=False, safe_mode=True)
model(numpy.zeros([size or 1 for size in model.input_shape], "int32"))  # one that was only loaded cannot be exported
model.export(sys.argv[2], format="onnx", verbose=False)
"""


def read_foreign(path: Path) -> bytes:
    """A model's ONNX bytes.

    Raises:
        UsageError: it is of no kind that is read, or of one that can carry code.
        StageError: it is damaged, or an operator of it cannot be converted.
        MissingExtraError: its framework is not installed.
    """
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return _convert("SavedModel", _TF2ONNX, [*_CONVERT, "--saved-model", str(path), "--output"])
        if (path / "config.json").is_file():
            return _from_hugging_face(path)
    elif not path.exists():
        raise UsageError(f"no file or folder {path}; a torch module is named as module:function")
    elif path.suffix == ".onnx":
        return path.read_bytes()
    elif path.suffix == ".keras":
        return _convert("Keras model", ("keras", *_TF2ONNX), ["-c", _EXPORT_KERAS, str(path)])
    elif path.suffix == ".tflite":
        return _convert("TFLite model", _TF2ONNX, [*_CONVERT, "--tflite", str(path), "--output"])
    elif path.suffix in _PICKLES:
        raise UsageError(
            f"{path}: expected a format that cannot carry code, got {path.suffix}; build the module in a function of "
            "yours that loads the weights, and name it as module:function, or export it as .onnx or .keras"
        )
    raise UsageError(
        f"{path}: expected a Hugging Face folder, a SavedModel, .onnx, .keras, .tflite or module:function; got another"
    )


def trace_module(build: Callable[[], object], length: int | None = None) -> bytes:
    """The ONNX bytes of what a user's function builds: a torch module that maps ids int64 [batch, tokens] to scores.

    `length`: the one that texts are padded to; None: the module takes any.

    Raises:
        StageError: it builds something else, or it cannot be traced.
    """
    with needs_extra("train"):
        import torch
    module = build()
    if not isinstance(module, torch.nn.Module):
        raise StageError(f"expected the function to build a torch.nn.Module, got {type(module).__name__}")
    module = module.float().eval()
    return _trace(module, module, length)


def _trace(
    module: "torch.nn.Module", reference: "Callable[[torch.Tensor], torch.Tensor]", length: int | None = None
) -> bytes:
    """Trace a module, and compare with `reference` on other ids, fewer of them where it takes any length."""
    import torch

    ids = torch.ones((2, length or _EXAMPLE_TOKENS), dtype=torch.int64)
    others = torch.arange(1, (length or _FEWER_TOKENS) + 1)[None] % 3 + 1
    content = io.BytesIO()
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
            content.write(file.read_bytes())
            expected = reference(others).numpy()
            session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
            found = session.run(None, {"input_ids": others.numpy()})[0]
    except Exception as error:  # whatever a user's module raises
        cure = "name the length that it takes with --pad-to" if length is None else "export it as ONNX"
        raise StageError(f"the module cannot be traced: {error}; {cure}") from error
    apart = float(np.abs(found - expected).max())
    if not apart <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise StageError(f"the traced model gives other scores than the module, {apart:.3g} apart; export it as ONNX")
    return content.getvalue()


def _from_hugging_face(folder: Path) -> bytes:
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
            folder, local_files_only=True, use_safetensors=True, attn_implementation="eager", dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise StageError(f"{folder} is no classifier that transformers can load: {error}") from error
    if (architecture := (model.config.architectures or [""])[0]) and "SequenceClassification" not in architecture:
        cure = "name it as cloud.base instead: a head is trained on it"
        raise UsageError(f"{folder}: expected a trained classifier, got {architecture}; {cure}")

    class Classifier(torch.nn.Module):
        """Masks padding by an additive 4-D mask, which traces to plain nodes; the library's own mask code does not."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.pad_id = model.config.pad_token_id or 0

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            kept = (input_ids != self.pad_id)[:, None, None, :]
            mask = (1.0 - kept.float()) * torch.finfo(torch.float32).min
            return self.model(input_ids=input_ids, attention_mask=mask).logits

    def as_usual(ids: torch.Tensor) -> torch.Tensor:
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

    return _trace(Classifier().eval(), as_usual)


def _convert(what: str, extra_modules: tuple[str, ...], arguments: Sequence[str]) -> bytes:
    """What a converter of TensorFlow's world writes to the path that comes last, in a process of its own."""
    with needs_extra("keras"):
        for name in extra_modules:
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.onnx"
        done = subprocess.run(
            [sys.executable, *arguments, str(target)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=False,
        )
        if done.returncode or not target.is_file():
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            raise StageError(f"the {what} cannot be converted to ONNX: {' '.join(last) or 'it gave no reason'}")
        return target.read_bytes()
