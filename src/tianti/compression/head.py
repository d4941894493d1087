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


def attach_head(encoder_onnx: Path, target: Path, weight: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
    """Write encoder + head: `input_ids` -> `embedding` -> `logits` = embedding @ weight.T + bias.

    Args:
        encoder_onnx: a model whose one output is `embedding`, float32 [batch, width].
        target: the file to write.
        weight: [labels, width].
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
    if weight.shape != (len(bias), width):
        raise StageError(f"expected a head of shape ({len(bias)}, {width}), got {weight.shape}; fit it on this encoder")
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array, dtype=np.float32), name)
        for name, array in (("head_weight", weight), ("head_bias", bias))
    )
    graph.node.append(helper.make_node("Gemm", ["embedding", "head_weight", "head_bias"], ["logits"], transB=1))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape.dim[0].dim_param, len(bias)])
    graph.output[0].CopyFrom(logits)
    write_atomic(target, model.SerializeToString())
