"""Write an ONNX file as a TensorFlow SavedModel, operator by operator, for TF Serving.

Only operators that our own files hold are known; integer matmuls are computed in float64, where they are exact, so that
the numbers stay those of ONNX Runtime and not its speed. Not here: the folder of a model server (`pipeline.export`).
Invariant: an operator that is not known is an error before anything is written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tianti.errors import StageError, needs_extra

with needs_extra("train"):
    import onnx
    from onnx import helper, numpy_helper

Inputs = list[Any]
Attributes = dict[str, Any]
Operator = Callable[[Inputs, Attributes], Any]


def write_saved_model(model_path: Path, folder: Path) -> None:
    """Write a SavedModel whose signature `serving_default` maps `input_ids` int64 [batch, tokens] to `logits`.

    Raises:
        StageError: the model holds an operator that is not known.
        MissingExtraError: TensorFlow is not installed.
    """
    with needs_extra("keras"):
        import tensorflow as tf

    graph = onnx.load(model_path).graph
    operators = _operators(tf)
    if unknown := sorted({node.op_type for node in graph.node} - set(operators)):
        raise StageError(f"{model_path}: {', '.join(unknown)} cannot be written as a SavedModel; serve the ONNX file")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, name="input_ids")])  # type: ignore[untyped-decorator]
    def serve(input_ids: Any) -> dict[str, Any]:  # noqa: ANN401
        values: dict[str, Any] = {"input_ids": input_ids, "": None}
        values |= {name: tf.constant(array) for name, array in constants.items()}
        for node in graph.node:
            attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            found = operators[node.op_type]([values[name] for name in node.input], attributes)
            outputs = found if isinstance(found, (tuple, list)) else [found]
            values |= dict(zip(node.output, outputs, strict=False))
        return {"logits": values["logits"]}

    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": serve.get_concrete_function()})


def _operators(tf: Any) -> dict[str, Operator]:  # noqa: ANN401, C901  (one line an operator)
    """What each ONNX operator computes, in TensorFlow (onnx.ai/onnx/operators, opset 18)."""

    def reshape(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        shape = tf.cast(x[1], tf.int64)
        size, rank = shape.shape[0], x[0].shape.rank
        own = tf.shape(x[0], tf.int64)[:size]
        own = tf.pad(own, [[0, max(size - rank, 0)]])
        return tf.reshape(x[0], tf.where(shape == 0, own, shape))  # 0: as it was

    def axes_of(x: Inputs, a: Attributes, place: int = 1) -> list[int] | None:
        given = x[place] if len(x) > place and x[place] is not None else a.get("axes")
        return None if given is None else [int(axis) for axis in np.asarray(tf.get_static_value(given))]

    def unsqueeze(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        value = x[0]
        for axis in sorted(axes_of(x, a) or []):
            value = tf.expand_dims(value, axis)
        return value

    def gather(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        axis = a.get("axis", 0)
        size = tf.shape(x[0], x[1].dtype)[axis]
        return tf.gather(x[0], tf.where(x[1] < 0, x[1] + size, x[1]), axis=axis)

    def cut(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        axes = axes_of(x, a, 3) if len(x) > 3 else range(x[1].shape[0])
        slices: list[Any] = [slice(None)] * x[0].shape.rank
        for place, axis in enumerate(axes or []):
            step = x[4][place] if len(x) > 4 else None
            slices[axis] = slice(x[1][place], x[2][place], step)
        return x[0][tuple(slices)]

    def normalize(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        mean, variance = tf.nn.moments(x[0], axes=[-1], keepdims=True)
        return (x[0] - mean) * tf.math.rsqrt(variance + a.get("epsilon", 1e-5)) * x[1] + (x[2] if len(x) > 2 else 0.0)

    def quantize(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        least, most = tf.minimum(tf.reduce_min(x[0]), 0.0), tf.maximum(tf.reduce_max(x[0]), 0.0)
        scale = tf.where(most > least, (most - least) / 255.0, 1.0)
        zero = tf.clip_by_value(tf.round(-least / scale), 0.0, 255.0)
        codes = tf.clip_by_value(tf.round(x[0] / scale) + zero, 0.0, 255.0)
        return tf.cast(codes, tf.uint8), scale, tf.cast(zero, tf.uint8)

    def multiply(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        zeros = [tf.cast(zero, tf.float64) if zero is not None else 0.0 for zero in [*x, None, None][2:4]]
        first, second = (tf.cast(value, tf.float64) - zero for value, zero in zip(x[:2], zeros, strict=True))
        return tf.cast(tf.matmul(first, second), tf.int32)

    def reduce(function: Callable[..., Any]) -> Operator:
        return lambda x, a: function(x[0], axis=axes_of(x, a), keepdims=bool(a.get("keepdims", 1)))

    def gemm(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        product = tf.matmul(x[0], x[1], transpose_a=bool(a.get("transA")), transpose_b=bool(a.get("transB")))
        product *= a.get("alpha", 1.0)
        return product + a.get("beta", 1.0) * x[2] if len(x) > 2 else product

    def split(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        parts = tf.get_static_value(x[1]).tolist() if len(x) > 1 else a["num_outputs"]
        return tf.split(x[0], parts, axis=a.get("axis", 0))

    def expand(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        return tf.broadcast_to(x[0], tf.broadcast_dynamic_shape(tf.shape(x[0], tf.int64), tf.cast(x[1], tf.int64)))

    def fill(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        value = numpy_helper.to_array(a["value"])[0] if "value" in a else np.float32(0)
        return tf.fill(x[0], tf.constant(value))

    def shift(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        right = a["direction"] == b"RIGHT"
        return tf.bitwise.right_shift(x[0], x[1]) if right else tf.bitwise.left_shift(x[0], x[1])

    def best(x: Inputs, a: Attributes) -> Any:  # noqa: ANN401
        values, places = tf.math.top_k(x[0] if a.get("largest", 1) else -x[0], tf.cast(x[1][0], tf.int32))
        return (values if a.get("largest", 1) else -values), tf.cast(places, tf.int64)

    return {
        "Add": lambda x, a: x[0] + x[1],
        "BitShift": shift,
        "BitwiseAnd": lambda x, a: tf.bitwise.bitwise_and(x[0], x[1]),
        "Cast": lambda x, a: tf.cast(x[0], helper.tensor_dtype_to_np_dtype(a["to"])),
        "Clip": lambda x, a: tf.clip_by_value(
            x[0], x[0].dtype.min if x[1] is None else x[1], x[0].dtype.max if len(x) < 3 or x[2] is None else x[2]
        ),
        "Concat": lambda x, a: tf.concat(x, axis=a["axis"]),
        "Constant": lambda x, a: tf.constant(numpy_helper.to_array(a["value"])),
        "ConstantOfShape": fill,
        "Div": lambda x, a: x[0] / x[1] if x[0].dtype.is_floating else x[0] // x[1],
        "DynamicQuantizeLinear": quantize,
        "Equal": lambda x, a: tf.equal(x[0], x[1]),
        "Erf": lambda x, a: tf.math.erf(x[0]),
        "Expand": expand,
        "Flatten": lambda x, a: tf.reshape(x[0], tf.stack([tf.reduce_prod(tf.shape(x[0])[: a.get("axis", 1)]), -1])),
        "Gather": gather,
        "GatherElements": lambda x, a: tf.gather(x[0], x[1], axis=1, batch_dims=1),
        "Gemm": gemm,
        "Identity": lambda x, a: x[0],
        "LayerNormalization": normalize,
        "MatMul": lambda x, a: tf.matmul(x[0], x[1]),
        "MatMulInteger": multiply,
        "Max": lambda x, a: tf.maximum(x[0], x[1]),
        "Mod": lambda x, a: tf.math.floormod(x[0], x[1]),
        "Mul": lambda x, a: x[0] * x[1],
        "Not": lambda x, a: tf.logical_not(x[0]),
        "Pow": lambda x, a: x[0] ** tf.cast(x[1], x[0].dtype),
        "ReduceL2": reduce(lambda value, **how: tf.sqrt(tf.reduce_sum(value * value, **how))),
        "ReduceMean": reduce(tf.reduce_mean),
        "ReduceSum": reduce(tf.reduce_sum),
        "Reshape": reshape,
        "Shape": lambda x, a: tf.shape(x[0], tf.int64)[a.get("start", 0) : a.get("end")],
        "Slice": cut,
        "Softmax": lambda x, a: tf.nn.softmax(x[0], axis=a.get("axis", -1)),
        "Split": split,
        "Sqrt": lambda x, a: tf.sqrt(x[0]),
        "Sub": lambda x, a: x[0] - x[1],
        "Tanh": lambda x, a: tf.tanh(x[0]),
        "TopK": best,
        "Transpose": lambda x, a: tf.transpose(x[0], a.get("perm")),
        "Unsqueeze": unsqueeze,
        "Where": lambda x, a: tf.where(x[0], x[1], x[2]),
    }
