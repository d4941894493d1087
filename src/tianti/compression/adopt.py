"""Give an ONNX classifier of any origin our one contract: `input_ids` int64 [batch, tokens] -> `logits` float32.

Masks, token types, padding to a fixed length, the type of the ids, the last activation and the order of the labels
become part of the graph, so that a runtime needs to know none of them. Not here: reading other formats (`foreign`),
the package (`package/`). Invariant: the graph that comes out gives the scores of the model that went in, or none
comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tianti.compression.foreign import Foreign, Row, Scores
from tianti.compression.graph import strip_names
from tianti.errors import StageError, UsageError, needs_extra

with needs_extra("train"):
    import onnx
    import onnxruntime
    from google.protobuf.message import DecodeError
    from onnx import TensorProto, compose, helper, numpy_helper, version_converter

_OLDEST_OPSET, _CONVERT_TO = 11, 18  # Pad takes its widths as an input from 11 on
# of the largest score, or of 1; between torch and ONNX Runtime 24 layers of random weights differ by 1.0e-5
_TOLERANCE, _TOLERANCE_BETWEEN_FRAMEWORKS = 1e-5, 1e-4
_SMALLEST_PROBABILITY = 1e-9
_PREFIX = "model/"
_KINDS: dict[int, type[np.generic]] = {
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.FLOAT: np.float32,
}


@dataclass(frozen=True)
class Padding:
    """The id of padding, and where a model that takes one length only wants it; `length` None: as the model says."""

    id: int
    side: Literal["left", "right"] = "right"
    length: int | None = None


@dataclass(frozen=True)
class Adopted:
    """A model under our contract; `length` is the one length that it pads to, None where it takes any."""

    model: onnx.ModelProto
    length: int | None


@dataclass(frozen=True)
class _Input:
    name: str
    kind: int
    role: Literal["ids", "mask", "types"]


def adopt(
    foreign: Foreign, labels: int, order: Sequence[int], padding: Padding, examples: Sequence[Sequence[int]]
) -> Adopted:
    """Put the contract round a classifier, and check on examples that it says what the original says.

    Args:
        foreign: the model as it was read.
        labels: how many labels it tells apart.
        order: for each label of the new order its place in the old one.
        padding: of its tokenizer.
        examples: ids of texts, special ones included.

    Raises:
        StageError: it is damaged, of an opset that cannot be read, takes or gives something else than a classifier of
            texts does, or its scores change.
        UsageError: the padding is on a side, of a model that takes any length.
    """
    model = _read(foreign.content)
    inputs = _inputs(model.graph)
    length = _fixed_length(model.graph, inputs, padding)
    examples = [ids[:length] for ids in examples]
    rows = [_pad(ids, padding, length) for ids in examples]
    session = _session(foreign.content)
    before = [_run_foreign(session, inputs, row, padding.id) for row in rows]
    output = _find_output(before[0], labels)
    originals = [found[output] for found in before] if foreign.score is None else foreign.score(rows)
    graph = compose.add_prefix_graph(model.graph, _PREFIX, inplace=True)
    activation, scores = _last_activation(graph, _PREFIX + output)
    if activation is None and all(_are_probabilities(found[output]) for found in before):
        activation = "probabilities"
    _replace_inputs(graph, inputs, padding, length)
    _replace_output(graph, scores, activation, order, before[0][output].shape[1])
    strip_names(model)
    tolerance = _TOLERANCE if foreign.score is None else _TOLERANCE_BETWEEN_FRAMEWORKS
    _check_scores(model, examples, originals, activation, order, tolerance)
    return Adopted(model, length)


def _read(content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise StageError(f"the ONNX file is damaged or incomplete: {str(error).splitlines()[0]}") from error
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        try:
            model = version_converter.convert_version(model, _CONVERT_TO)
        except Exception as error:  # the converter raises bare exceptions of its own
            cure = f"export it again with opset {_OLDEST_OPSET} or later"
            raise StageError(f"expected ONNX opset {_OLDEST_OPSET} or later, got {opset}: {error}; {cure}") from error
    return model


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare exceptions of its own
        raise StageError(f"ONNX Runtime {onnxruntime.__version__} cannot run the model: {error}") from error


def _inputs(graph: onnx.GraphProto) -> list[_Input]:
    stored = {tensor.name for tensor in graph.initializer}
    found = [value for value in graph.input if value.name not in stored]
    inputs = []
    for value in found:
        name, tensor = value.name.lower(), value.type.tensor_type
        dims = len(tensor.shape.dim) if tensor.HasField("shape") else 2
        role: Literal["ids", "mask", "types"] = "mask" if "mask" in name else "ids"
        role = "types" if "type" in name or "segment" in name else role
        if dims != 2 or tensor.elem_type not in _KINDS:
            kind = TensorProto.DataType.Name(tensor.elem_type)
            raise StageError(f"input {value.name!r}: expected ids [batch, tokens], got {kind} of {dims} dimensions")
        inputs.append(_Input(value.name, tensor.elem_type, role))
    if [each.role for each in inputs].count("ids") != 1:
        names = ", ".join(each.name for each in inputs) or "none"
        raise StageError(f"expected one input of token ids, and a mask or token types beside it; got {names}")
    return inputs


def _fixed_length(graph: onnx.GraphProto, inputs: list[_Input], padding: Padding) -> int | None:
    name = next(each.name for each in inputs if each.role == "ids")
    dims = next(value for value in graph.input if value.name == name).type.tensor_type.shape.dim
    found = dims[1].dim_value if len(dims) == 2 else 0
    if found and padding.length not in (None, found):
        raise StageError(f"the model takes {found} tokens, got a length of {padding.length}; leave it out")
    length = found or padding.length
    if length is None and padding.side == "left":
        raise UsageError("--pad-side left: the model takes any length, so nothing is padded; add --pad-to, or leave it")
    return length


def _pad(ids: Sequence[int], padding: Padding, length: int | None) -> Row:
    fill = [padding.id] * ((length or len(ids)) - len(ids))
    return np.array([[*fill, *ids] if padding.side == "left" else [*ids, *fill]], dtype=np.int64)


def _run_foreign(
    session: onnxruntime.InferenceSession, inputs: list[_Input], row: Row, pad_id: int
) -> dict[str, Scores]:
    """What the model says of one text before it is changed, by output."""
    fed = {"ids": row, "mask": row != pad_id, "types": row * 0}
    try:
        found = session.run(None, {each.name: fed[each.role].astype(_KINDS[each.kind]) for each in inputs})
    except Exception as error:  # onnxruntime raises bare exceptions of its own
        cure = "name the most that it takes with --max-length, or with --pad-to the one length that it takes"
        raise StageError(f"the model fails on a text of {row.shape[1]} tokens: {str(error).strip()}; {cure}") from error
    return {output.name: np.asarray(array) for output, array in zip(session.get_outputs(), found, strict=True)}


def _find_output(found: dict[str, Scores], labels: int) -> str:
    widths = (labels, 1) if labels == 2 else (labels,)
    wide = [name for name, array in found.items() if array.ndim == 2 and array.shape[1] in widths]
    if not wide:
        got = ", ".join(f"{name} {list(array.shape)}" for name, array in found.items())
        raise StageError(f"expected an output of {labels} scores, one a label, got {got}; check the labels")
    return min(wide, key=lambda name: "logit" not in name.lower())  # the first of the graph where several are alike


def _last_activation(graph: onnx.GraphProto, output: str) -> tuple[str | None, str]:
    """The softmax or sigmoid that makes an output, if any, and the tensor before it."""
    made_by = {name: node for node in graph.node for name in node.output}
    name = output
    while (node := made_by.get(name)) is not None and node.op_type == "Identity":
        name = node.input[0]
    if node is not None and node.op_type in ("Softmax", "Sigmoid"):
        return node.op_type, node.input[0]
    return None, output


def _are_probabilities(scores: Scores) -> bool:
    sums = 1.0 if scores.shape[1] == 1 else scores.sum(axis=1)
    return bool((scores >= 0).all() and (scores <= 1).all() and np.allclose(sums, 1.0, atol=1e-3))


def _replace_inputs(graph: onnx.GraphProto, inputs: list[_Input], padding: Padding, length: int | None) -> None:
    constants: dict[str, object] = {}
    nodes = []
    ids = "input_ids"
    if length is not None or any(each.role == "mask" for each in inputs):
        constants["pad_id"] = np.int64(padding.id)
    if length is not None:
        constants |= {"length": np.array([length]), "one": np.array([1]), "two": np.array([2])}
        left, right = ([0], [0, 0]) if padding.side == "left" else ([0, 0, 0], [])
        constants |= {"pads_before": np.array(left), "pads_after": np.array(right, dtype=np.int64)}
        nodes += [
            helper.make_node("Shape", [ids], ["shape"]),
            helper.make_node("Slice", ["shape", "one", "two"], ["tokens"]),
            helper.make_node("Sub", ["length", "tokens"], ["gap"]),
            helper.make_node("Concat", ["pads_before", "gap", "pads_after"], ["pads"], axis=0),
            helper.make_node("Pad", [ids, "pads", "pad_id"], ["padded"]),
        ]
        ids = "padded"
    for each in inputs:
        source = ids
        if each.role == "mask":
            source = "kept"
            nodes += [
                helper.make_node("Equal", [ids, "pad_id"], ["is_padding"]),
                helper.make_node("Not", ["is_padding"], [source]),
            ]
        if each.role == "types":
            source, constants["zero"] = "types", np.int64(0)
            nodes += [helper.make_node("Mul", [ids, "zero"], [source])]
        nodes += [helper.make_node("Cast", [source], [_PREFIX + each.name], to=each.kind)]
    _add_constants(graph, constants)
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    taken = {_PREFIX + each.name for each in inputs}
    kept = [value for value in graph.input if value.name not in taken]
    batch = next(value for value in graph.input if value.name in taken).type.tensor_type.shape.dim
    rows = batch[0].dim_value if len(batch) == 2 and batch[0].dim_value else "batch"
    del graph.input[:]
    graph.input.extend([helper.make_tensor_value_info("input_ids", TensorProto.INT64, [rows, "tokens"]), *kept])


def _replace_output(
    graph: onnx.GraphProto, scores: str, activation: str | None, order: Sequence[int], width: int
) -> None:
    constants: dict[str, object] = {}
    nodes, name = [], scores
    if activation == "probabilities" and width > 1:
        constants["smallest"] = np.float32(_SMALLEST_PROBABILITY)
        nodes += [
            helper.make_node("Max", [name, "smallest"], ["positive"]),
            helper.make_node("Log", ["positive"], ["log"]),
        ]
        name = "log"
    if width == 1:  # of two labels only the second has a score: the log of its odds
        if activation == "probabilities":
            raise StageError("expected the one score to be made by a Sigmoid or to be a logit; export logits")
        constants["zero_score"] = np.float32(0)
        nodes += [
            helper.make_node("Mul", [name, "zero_score"], ["first"]),
            helper.make_node("Concat", ["first", name], ["both"], axis=1),
        ]
        name = "both"
    constants["label_order"] = np.array(order)
    nodes += [helper.make_node("Gather", [name, "label_order"], ["logits"], axis=1)]
    _add_constants(graph, constants)
    graph.node.extend(nodes)
    rows = graph.input[0].type.tensor_type.shape.dim[0]
    shape = [rows.dim_value or rows.dim_param, len(order)]
    del graph.output[:]
    graph.output.extend([helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)])


def _add_constants(graph: onnx.GraphProto, constants: Mapping[str, object]) -> None:
    graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items())


def _two_columns(scores: Scores, activation: str | None) -> NDArray[np.floating]:
    """The scores of both labels where a model gives one for the second alone."""
    if scores.shape[1] > 1:
        return scores
    return np.concatenate([1 - scores if activation else scores * 0, scores], axis=1)


def _activate(logits: Scores, activation: str | None, width: int) -> NDArray[np.floating]:
    if activation is None:
        return logits
    if activation == "Sigmoid" and width > 1:  # each label by itself
        return 1 / (1 + np.exp(-logits))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _check_scores(
    model: onnx.ModelProto,
    examples: Sequence[Sequence[int]],
    originals: list[Scores],
    activation: str | None,
    order: Sequence[int],
    tolerance: float,
) -> None:
    session = _session(model.SerializeToString())
    for number, (ids, scores) in enumerate(zip(examples, originals, strict=True)):
        expected = _two_columns(scores, activation)[:, list(order)]
        logits = session.run(None, {"input_ids": np.array([ids], dtype=np.int64)})[0]
        apart = float(np.abs(_activate(logits, activation, scores.shape[1]) - expected).max())
        if not apart <= tolerance * max(1.0, float(np.abs(expected).max())):
            told = f"example {number}: the package gives other scores than the model, {apart:.3g} apart"
            raise StageError(f"{told}; look for branches on shapes or values, or name its one length with --pad-to")
