"""Write a torch module as ONNX and prove that both give the same.

Not here: quantising (`quantize`). Invariant: a file that is left behind agrees with its module, and its answer for a
text does not depend on padding.
"""

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tianti.compression.graph import fold_constants, strip_names
from tianti.compression.parity import EXACT
from tianti.errors import StageError, needs_extra
from tianti.store import write_atomic

with needs_extra("train"):
    import onnx
    import onnxruntime

if TYPE_CHECKING:
    import torch

OPSET = 18  # the first with BitwiseAnd, which 4-bit tables need


def export_onnx(
    module: "torch.nn.Module",
    path: Path,
    *,
    example_ids: "torch.Tensor",
    pad_id: int = 0,
    output: Literal["logits", "embedding"] = "logits",
) -> None:
    """Write `module(input_ids int64 [batch, tokens]) -> float32 [batch, width]` as one ONNX file, and check it.

    The module is left in evaluation mode.

    Args:
        module: float32; its forward masks `input_ids != pad_id` itself.
        path: the file to write.
        example_ids: int64 [batch, tokens], tokens >= 4; its first row holds no padding.
        pad_id: the id that `forward` masks.
        output: the name of the output; `embedding` for an encoder that gets its head from `attach_head`.

    Raises:
        StageError: the module is not float32, the file disagrees with it, or padding changes an answer.
    """
    odd = {name: str(p.dtype) for name, p in module.named_parameters() if str(p.dtype) != "torch.float32"}
    if odd:
        name, kind = next(iter(odd.items()))
        raise StageError(f"expected float32 parameters, got {kind} in {name}; call module.float() before the export")
    module.eval()
    model = fold_constants(_trace(module, example_ids, output))
    strip_names(model)
    content = model.SerializeToString()
    _check_parity(module, content, example_ids, pad_id)
    write_atomic(path, content)


def _trace(module: "torch.nn.Module", example_ids: "torch.Tensor", output: str) -> onnx.ModelProto:
    """Export with TorchScript: the newer exporter hides LSTM weights from the quantiser and takes ten times longer."""
    with needs_extra("train"):
        import torch

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the deprecation, and of shapes that tracing makes constant: see parity
        file = Path(folder) / "traced.onnx"
        torch.onnx.export(
            module,
            (example_ids,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input_ids"],
            output_names=[output],
            dynamic_axes={"input_ids": {0: "batch", 1: "tokens"}, output: {0: "batch"}},
        )
        return onnx.load(file)


def _check_parity(module: "torch.nn.Module", content: bytes, example_ids: "torch.Tensor", pad_id: int) -> None:
    """Compare on the example, on one shorter text, and on that text padded to the example's length."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    short = example_ids[:1, : example_ids.shape[1] // 2]
    padded = example_ids[:1].clone()
    padded[:, short.shape[1] :] = pad_id
    for ids in (example_ids, short, padded):
        _compare(f"ids of shape {tuple(ids.shape)}", _run_module(module, ids), _run_file(session, ids))
    _compare("a text with and without padding", _run_file(session, short), _run_file(session, padded))


def _compare(what: str, expected: NDArray[np.float32], got: NDArray[np.float32]) -> None:
    apart, allowed = np.abs(expected - got), EXACT * max(1.0, float(np.abs(expected).max()))
    # a NaN is never within the tolerance
    if not (apart <= allowed).all():
        worst = np.unravel_index(int(np.nan_to_num(apart, nan=np.inf).argmax()), apart.shape)
        values = f"expected {expected[worst]:.6g}, got {got[worst]:.6g}, allowed {allowed:.2g} apart"
        raise StageError(f"{what}: {values}; look for Python branches on shapes, or a mask that forgets padding")


def _run_module(module: "torch.nn.Module", ids: "torch.Tensor") -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        answer: NDArray[np.float32] = module(ids).cpu().numpy()
    return answer


def _run_file(session: onnxruntime.InferenceSession, ids: "torch.Tensor") -> NDArray[np.float32]:
    answer: NDArray[np.float32] = session.run(None, {"input_ids": ids.cpu().numpy()})[0]
    return answer
