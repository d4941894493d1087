"""Write a torch module as a LiteRT file: one signature a length, all on the same weights.

Not here: running it (`runtimes.litert`), comparing it with its parent (`parity`). Invariant: ids are int32 and padded
at their end; what the module is given is what `export_onnx` gives it.
"""

import contextlib
import copy
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tianti.errors import StageError, needs_extra
from tianti.runtimes.litert import SIGNATURE

if TYPE_CHECKING:
    import torch

_SHORTEST = 8
_ALIAS = "alias"


def export_litert(module: "torch.nn.Module", path: Path, *, max_length: int, quantized: bool) -> None:
    """Write `module(input_ids [1, length]) -> float32 [1, labels]` for lengths 8, 16, 32, … and `max_length`.

    Args:
        module: float32; its forward masks padding itself.
        path: the file to write.
        max_length: of a text, in tokens.
        quantized: whether weights become int8, a scale an output, and activations are quantised as they come.

    Raises:
        StageError: LiteRT lacks an operator of the module.
        MissingExtraError: the converter is not installed.
    """
    with needs_extra("litert-train"):
        import litert_torch
        import torch
        from ai_edge_quantizer import quantizer, recipe

    module = copy.deepcopy(module).eval()
    if isinstance(alias := getattr(module, _ALIAS, None), torch.Tensor):
        module.register_buffer(_ALIAS, alias.int())  # half the bytes, and LiteRT's own type of index
    converter = litert_torch
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        for length in lengths(max_length):
            example = (torch.ones((1, length), dtype=torch.int32),)
            converter = converter.signature(SIGNATURE.format(length), module, example)
        plain = path.with_suffix(".float.tflite")
        try:
            converter.convert().export(str(plain))
        except Exception as error:  # the converter raises whatever its compilers do
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise StageError(f"LiteRT cannot express this model: {first}; choose engine: onnx") from error
        if not quantized:
            plain.replace(path)
            return
        quantizer.Quantizer(str(plain), recipe.dynamic_wi8_afp32()).quantize().export_model(str(path))
        plain.unlink()


def lengths(max_length: int) -> list[int]:
    """The lengths that a file is built for."""
    found = []
    length = _SHORTEST
    while length < max_length:
        found.append(length)
        length *= 2
    return [*found, max_length]


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Both libraries tell a long story on stdout and stderr."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
