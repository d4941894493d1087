"""Put a linear head on an exported encoder, so that a frozen encoder is exported and quantised once and shared.

Not here: fitting the head (`training`). Invariant: the encoder's nodes and weights are copied as they are.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tianti.errors import StageError, needs_extra
from tianti.store import write_atomic

with needs_extra("train"):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

_SMALLEST_NORM = 1e-12  # as torch.nn.functional.normalize


def attach_head(
    encoder_onnx: Path,
    target: Path,
    centre: NDArray[np.floating],
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
) -> None:
    """Write encoder + head: `input_ids` -> `embedding` -> centred and L2-normalised in parts -> `logits`.

    Args:
        encoder_onnx: a model whose one output is `embedding`, float32 [batch, parts * width].
        target: the file to write.
        centre: [parts, width], taken from the embedding before each part is normalised.
        weight: [labels, parts * width].
        bias: [labels].

    Raises:
        StageError: the encoder has another output, or the shapes do not fit.
    """
    model = onnx.load(encoder_onnx)
    graph = model.graph
    outputs = [output.name for output in graph.output]
    if outputs != ["embedding"]:
        raise StageError(f"{encoder_onnx}: expected one output 'embedding', got {outputs}; export it with that name")
    shape = graph.output[0].type.tensor_type.shape
    width = shape.dim[1].dim_value
    if weight.shape != (len(bias), width) or centre.size != width:
        got = f"{weight.shape} and a centre of {centre.size}"
        raise StageError(f"expected a head of shape ({len(bias)}, {width}), got {got}; fit it on this encoder")
    floats = {"centre": centre, "smallest_norm": np.array(_SMALLEST_NORM), "head_weight": weight, "head_bias": bias}
    shapes = {"parts_shape": [-1, *centre.shape], "part_axis": [2]}
    graph.initializer.extend(
        [numpy_helper.from_array(np.asarray(array, dtype=np.float32), name) for name, array in floats.items()]
        + [numpy_helper.from_array(np.asarray(array, dtype=np.int64), name) for name, array in shapes.items()]
    )
    graph.node.extend(
        [
            helper.make_node("Reshape", ["embedding", "parts_shape"], ["parts"]),
            helper.make_node("Sub", ["parts", "centre"], ["centred"]),
            helper.make_node("ReduceL2", ["centred", "part_axis"], ["norms"], keepdims=1),
            helper.make_node("Max", ["norms", "smallest_norm"], ["divisors"]),
            helper.make_node("Div", ["centred", "divisors"], ["normalized"]),
            helper.make_node("Flatten", ["normalized"], ["features"]),
            helper.make_node("Gemm", ["features", "head_weight", "head_bias"], ["logits"], transB=1),
        ]
    )
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape.dim[0].dim_param, len(bias)])
    graph.output[0].CopyFrom(logits)
    write_atomic(target, model.SerializeToString())
