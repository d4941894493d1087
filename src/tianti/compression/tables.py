"""Shrink the lookup tables of an exported model: the word table to 4 or 8 bits, the others to narrower types.

Not here: matmuls (`quantize`), the scale rule (`scales`). Invariant: only standard ONNX operators are written; codes
are unpacked after the lookup, so what a text costs grows with its tokens and not with the vocabulary.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tianti.compression.scales import quantize_rows, row_scales
from tianti.errors import StageError, needs_extra

with needs_extra("train"):
    from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

# what hands ids on, all or some; CumSum, Equal or Shape make positions, masks and lengths of them
_CARRIERS = {"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Slice"}
# a smaller tensor saves little more than the node that widens it again costs
_WORTH_NARROWING_BYTES = 2048
_CODES, _SCALES, _LOW_BITS, _FOUR, _OFFSET = "word_codes", "word_scales", "word_low_bits", "word_shift", "word_offset"


def shrink_tables(graph: GraphProto, bits: int) -> None:
    """Rewrite, in place, the word table to `bits` (4 or 8), alias maps to int16 and position tables to fp16.

    The word table is the largest float table looked up by `input_ids`, directly or through an alias map.

    Raises:
        StageError: there is no such table, or it has an odd width and `bits` is 4.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    lookups = _word_lookups(graph, tensors)
    if not lookups:
        raise StageError("expected a float table looked up by input_ids, found none; quantise with embedding='none'")
    name = max((lookup.input[0] for lookup in lookups), key=lambda name: int(np.prod(tensors[name].dims)))
    table = numpy_helper.to_array(tensors[name])
    if bits == 4 and table.shape[1] % 2:
        raise StageError(f"expected an even width for 4-bit codes, got {table.shape[1]}; choose another or int8")
    for number, lookup in enumerate(lookup for lookup in lookups if lookup.input[0] == name):
        _replace(graph, lookup, _decoder(lookup, bits, f"word{number}_"))
    _remove_if_unused(graph, tensors[name])
    graph.initializer.extend(_encode(table, bits))
    _narrow_lookups(graph)


def read_word_table(graph: GraphProto) -> NDArray[np.float32] | None:
    """The largest float table looked up by the ids of any classifier, [vocabulary, width]; None where there is none."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    # padding to a length, and what TensorFlow does about negative ids, still hand the same ids on
    lookups = _word_lookups(graph, tensors, _CARRIERS | {"Pad", "Add"})
    tables = [numpy_helper.to_array(tensors[lookup.input[0]]) for lookup in lookups]
    return max(tables, key=len, default=None)


def _word_lookups(
    graph: GraphProto, tensors: dict[str, TensorProto], carriers: Collection[str] = _CARRIERS
) -> list[NodeProto]:
    """Gathers on axis 0 of a 2-D float table by the input's ids, or by what an alias map makes of them."""
    ids, found = {graph.input[0].name}, []
    for node in graph.node:
        if node.op_type in carriers and node.input[0] in ids:
            ids.update(node.output)
        if node.op_type != "Gather" or node.input[1] not in ids or node.input[0] not in tensors:
            continue
        table = tensors[node.input[0]]
        if table.data_type != TensorProto.FLOAT and len(table.dims) == 1:
            ids.update(node.output)
        elif table.data_type == TensorProto.FLOAT and len(table.dims) == 2 and not any(a.i for a in node.attribute):
            found.append(node)
    return found


def _encode(table: NDArray[np.float32], bits: int) -> list[TensorProto]:
    """The table as codes and scales, and the constants that `_decoder` reads.

    4-bit codes are stored with 8 added, two a byte: the first half of a row's columns in the low four bits, the second
    half in the high ones, so that unpacking is one Concat.
    """
    scales = row_scales(table, bits)
    codes = quantize_rows(table, scales, bits)
    stored = {_CODES: codes, _SCALES: scales[:, None]}
    if bits == 4:
        low, high = np.split((codes + 8).astype(np.uint8), 2, axis=1)
        stored[_CODES] = low | (high << 4)
        stored |= {_LOW_BITS: np.uint8(15), _FOUR: np.uint8(4), _OFFSET: np.float32(8)}
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]


def _decoder(lookup: NodeProto, bits: int, prefix: str) -> list[NodeProto]:
    """Nodes that give what `lookup` gave, from codes and scales; `prefix` keeps their tensors apart."""
    ids, codes = lookup.input[1], prefix + "codes"
    nodes = [
        helper.make_node("Gather", [_CODES, ids], [codes]),
        helper.make_node("Gather", [_SCALES, ids], [prefix + "scale"]),
    ]
    if bits == 4:
        low, high, both, shifted = (prefix + part for part in ("low", "high", "both", "shifted"))
        nodes += [
            helper.make_node("BitwiseAnd", [codes, _LOW_BITS], [low]),
            helper.make_node("BitShift", [codes, _FOUR], [high], direction="RIGHT"),
            helper.make_node("Concat", [low, high], [both], axis=-1),
            helper.make_node("Cast", [both], [shifted], to=TensorProto.FLOAT),
            helper.make_node("Sub", [shifted, _OFFSET], [prefix + "whole"]),
        ]
    else:
        nodes += [helper.make_node("Cast", [codes], [prefix + "whole"], to=TensorProto.FLOAT)]
    return [*nodes, helper.make_node("Mul", [prefix + "whole", prefix + "scale"], list(lookup.output))]


def _replace(graph: GraphProto, node: NodeProto, others: list[NodeProto]) -> None:
    place = list(graph.node).index(node)
    del graph.node[place]
    for offset, other in enumerate(others):
        graph.node.insert(place + offset, other)


def _remove_if_unused(graph: GraphProto, tensor: TensorProto) -> None:
    if not any(tensor.name in node.input for node in graph.node):
        graph.initializer.remove(tensor)


def _narrow_lookups(graph: GraphProto) -> None:
    """Store what is left to look up (alias maps, positions, scales) in 16 bits, widened by a Cast of the constant.

    Engines fold that Cast when they load, so it costs nothing a text.
    """
    looked_up = {node.input[0] for node in graph.node if node.op_type in ("Gather", "Slice")}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in looked_up]:
        array = numpy_helper.to_array(tensor)
        narrow = _narrow_type(array)
        if narrow is None or array.nbytes < _WORTH_NARROWING_BYTES:
            continue
        stored = f"{tensor.name}_narrow"
        cast = helper.make_node("Cast", [stored], [tensor.name], to=tensor.data_type)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(narrow), stored))
        graph.node.insert(0, cast)


def _narrow_type(array: NDArray[np.generic]) -> DTypeLike | None:
    if array.dtype == np.float32:
        return np.float16 if np.abs(array).max() <= np.finfo(np.float16).max else None
    if array.dtype in (np.int32, np.int64):
        fits = [kind for kind in (np.int16, np.int32) if np.abs(array).max() <= np.iinfo(kind).max]
        return fits[0] if fits and fits[0] != array.dtype else None
    return None
