"""Quantise an exported model: its word table to 4 or 8 bits, its matmuls to 8.

Not here: how tables are rewritten (`tables`), choosing between variants (`pipeline`). Invariant: input and output names
and shapes stay as they were.
"""

import tempfile
from pathlib import Path
from typing import Literal

from tianti.compression.graph import strip_names
from tianti.compression.tables import shrink_tables
from tianti.errors import needs_extra
from tianti.store import write_atomic

with needs_extra("train"):
    import onnx

_BITS = {"int4": 4, "int8": 8}


def quantize(source: Path, target: Path, *, embedding: Literal["int4", "int8", "none"], matmul: bool) -> None:
    """Write a smaller copy of an ONNX file that `export_onnx` wrote.

    Args:
        source: the float32 model.
        target: the file to write.
        embedding: how the word table is stored; with `none` every table stays as it is.
        matmul: whether weights of MatMul, Gemm and LSTM become int8, a scale an output; activations are then quantised
            as they come, so a logit depends on the whole batch: run one text a call.

    Raises:
        StageError: no word table is found, or its width is odd and `int4` is asked for.
    """
    model = onnx.load(source)
    if matmul:
        model = _quantize_matmuls(model)
    if embedding != "none":
        shrink_tables(model.graph, _BITS[embedding])
    strip_names(model)
    write_atomic(target, model.SerializeToString())


def _quantize_matmuls(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    # shapes that the exporter wrote down contradict what is inferred again, and the quantiser stops there
    del model.graph.value_info[:]
    add_pre_process_metadata(model)  # says that constants are folded; without it a warning goes to the root logger
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Gemm", "LSTM"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            # 7 bits: on x86 without VNNI the kernel adds pairs of u8 * s8 products in 16 bits, where 8 would saturate,
            # and the certified file would answer otherwise there (ONNX Runtime's quantisation page, "reduce-range")
            reduce_range=True,
        )
        return onnx.load(path)
