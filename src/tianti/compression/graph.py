"""Make an ONNX file plain: fold what is constant, and drop what only a debugger reads.

Not here: changing numbers (`tables`, `quantize`). Invariant: the graph computes what it computed, with standard
operators of the opset that it had.
"""

import tempfile
from pathlib import Path

from tianti.errors import StageError, needs_extra

with needs_extra("train"):
    import onnx
    import onnxruntime


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model after ONNX Runtime's basic passes: constants folded and shared, no-ops removed, no fused operators.

    Raises:
        StageError: the engine refuses the model.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises bare exceptions of its own
            raise StageError(f"ONNX Runtime refuses the exported model: {error}") from error
        folded = onnx.load(options.optimized_model_filepath)
    # the engine lists every domain that it knows
    kept = [opset for opset in folded.opset_import if not opset.domain]
    del folded.opset_import[:]
    folded.opset_import.extend(kept)
    return folded


def strip_names(model: onnx.ModelProto) -> None:
    """Drop, in place, doc strings, node names, inferred shapes and long tensor names; inputs and outputs stay."""
    graph = model.graph
    del graph.value_info[:]
    del model.metadata_props[:]
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # the body of an If or Loop reads tensors of the graph around it by name
    names = {value.name: value.name for value in [*graph.input, *graph.output]}
    names[""] = ""  # an optional input that is left out
    for tensor in graph.initializer:
        tensor.doc_string = ""
        tensor.name = names.setdefault(tensor.name, f"t{len(names)}")
    for node in graph.node:
        node.name = node.doc_string = ""
        del node.metadata_props[:]
        node.input[:] = [names.setdefault(name, f"t{len(names)}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"t{len(names)}") for name in node.output]
