"""Quantise an exported model: its word table to 4 or 8 bits, its matmuls to 4 or 8.

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
    from onnx import helper, numpy_helper

_BITS = {"int4": 4, "int8": 8}
_BLOCK = 32


Bits = Literal["int4", "int8", "none"]


def quantize(source: Path, target: Path, *, embedding: Bits, matmul: Bits) -> None:
    """Write a smaller copy of an ONNX file that `export_onnx` wrote.

    Args:
        source: the float32 model.
        target: the file to write.
        embedding: how the word table is stored; with `none` every table stays as it is.
        matmul: `int8`: weights of MatMul, Gemm and LSTM, a scale an output; activations are then quantised as they
            come, so a logit depends on the whole batch: run one text a call. `int4`: weights of MatMul and Gemm in
            blocks of 32, a scale a block, by an operator that ONNX Runtime alone has; an LSTM stays as it is.

    Raises:
        StageError: no word table is found, or its width is odd and `int4` is asked for.
    """
    model = onnx.load(source)
    if matmul == "int8":
        model = _quantize_matmuls(model)
    if matmul == "int4":
        model = _pack_matmuls(model)
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


def _pack_matmuls(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    _split_gemms(model.graph)
    # computed with int8 activations, as fast as this operator gets on a CPU
    quantizer = MatMulNBitsQuantizer(model, block_size=_BLOCK, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    packed: onnx.ModelProto = quantizer.model.model
    return packed


def _split_gemms(graph: onnx.GraphProto) -> None:
    """Gemm with a constant, transposed weight as MatMul and Add: the packer knows MatMul only."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for place, node in reversed(list(enumerate(graph.node))):
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA")
        if node.op_type != "Gemm" or node.input[1] not in tensors or not plain or len(node.input) != 3:
            continue
        weight = numpy_helper.to_array(tensors[node.input[1]])
        name, product = f"{node.output[0]}_weight", f"{node.output[0]}_product"
        turned = weight.T if attributes.get("transB") else weight
        graph.initializer.append(numpy_helper.from_array(turned.copy(), name))
        graph.initializer.remove(tensors[node.input[1]])
        graph.node.remove(node)
        graph.node.insert(place, helper.make_node("Add", [product, node.input[2]], list(node.output)))
        graph.node.insert(place, helper.make_node("MatMul", [node.input[0], name], [product]))
