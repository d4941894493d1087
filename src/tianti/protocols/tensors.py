"""Tensors by name, as both protocols for model servers send them; and what they mean for a classifier of texts.

Not here: bytes (`oip_tensors`, `tfs`), sockets (`runtimes.endpoint`).
Invariant: what cannot be read in exactly one way is a UsageError that says what was expected.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from tianti.errors import UsageError
from tianti.spec import Endpoint, EndpointInput

_FLOATS = ("FP16", "FP32", "FP64", "BF16")
# the first that fits
_NAMED_LIKE: tuple[tuple[str, Literal["ids", "mask", "types"]], ...] = (
    ("mask", "mask"),
    ("type", "types"),
    ("segment", "types"),
    ("id", "ids"),
    ("token", "ids"),
)
_SUM_TO_ONE = 1e-3
_LEAST = 1e-9  # what a probability is not taken below, so that its logarithm stays finite


class Tensor(NamedTuple):
    """`data` is flat, in row-major order; `datatype` is a word of the Open Inference Protocol; -1: a size left open."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any]


class Classified(msgspec.Struct, frozen=True):
    """What a classifier said of one text; `scores` are probabilities by label, empty where it gave none."""

    label: str
    score: float
    scores: dict[str, float] = {}


def find_inputs(signature: Sequence[Tensor]) -> tuple[EndpointInput, ...]:
    """What a server takes, from the inputs that its metadata names.

    Raises:
        UsageError: it says nothing, or takes what is neither a text nor a text's tokens.
    """
    if not signature:
        raise UsageError(
            "the server does not say what it takes: expected `inputs` in the model's metadata; declare them"
        )
    found = [_find_input(tensor) for tensor in signature]
    holds = sorted(tensor.holds for tensor in found)
    if holds != ["text"] and not (holds.count("ids") == 1 and "text" not in holds and len(set(holds)) == len(holds)):
        raise UsageError(f"expected a model that takes a text, or input ids, got {', '.join(map(_shown, signature))}")
    return tuple(found)


def _find_input(tensor: Tensor) -> EndpointInput:
    if tensor.datatype == "BYTES":
        return EndpointInput(name=tensor.name, holds="text", datatype="BYTES", rank=max(len(tensor.shape), 1))
    if tensor.datatype not in ("INT64", "INT32") or len(tensor.shape) != 2:
        raise UsageError(f"expected inputs of text or of whole numbers [batch, tokens], got {_shown(tensor)}")
    holds = next((holds for part, holds in _NAMED_LIKE if part in tensor.name.lower()), None)
    if holds is None:
        got = _shown(tensor)
        raise UsageError(f"expected inputs named like input_ids, attention_mask and token_type_ids, got {got}")
    length = tensor.shape[1] if tensor.shape[1] > 0 else None
    return EndpointInput(name=tensor.name, holds=holds, datatype=tensor.datatype, length=length)


def text_tensors(endpoint: Endpoint, text: str) -> list[Tensor]:
    """The inputs for one text, where the server takes texts."""
    (tensor,) = endpoint.inputs
    return [Tensor(tensor.name, "BYTES", (1,) * tensor.rank, [text])]


def token_tensors(endpoint: Endpoint, ids: Sequence[int]) -> list[Tensor]:
    """The inputs for one text's ids, special ones included."""
    columns = {"ids": (list(ids), endpoint.pad_id), "mask": ([1] * len(ids), 0), "types": ([0] * len(ids), 0)}
    made = []
    for tensor in endpoint.inputs:
        row, padding = columns[tensor.holds]
        row = row + [padding] * ((tensor.length or 0) - len(row))
        made.append(Tensor(tensor.name, tensor.datatype, (1, len(row)), row))
    return made


def read_outputs(endpoint: Endpoint, outputs: Sequence[Tensor]) -> Endpoint:
    """The endpoint with the part that says how answers are read, from an answer to one text.

    `endpoint.labels`, in the order of the columns, or those that the answer itself names.

    Raises:
        UsageError: there is no single output that can be read as scores or as a label.
    """
    names = [tensor for tensor in outputs if tensor.datatype == "BYTES" and len(tensor.data) == 1]
    label = next((tensor for tensor in names if tensor.name == "label"), names[0] if len(names) == 1 else None)
    if label is not None:
        score = next((t.name for t in outputs if t.name == "score" and t.datatype in _FLOATS), None)
        return msgspec.structs.replace(endpoint, output=label.name, says="label", score=score, labels=())
    rows = [tensor for tensor in outputs if tensor.datatype in _FLOATS and len(tensor.data) >= 2]
    fitting = [tensor for tensor in rows if not endpoint.labels or len(tensor.data) == len(endpoint.labels)]
    if len(fitting) != 1:
        wanted = f"{len(endpoint.labels)} scores" if endpoint.labels else "scores"
        got = ", ".join(map(_shown, outputs))
        raise UsageError(f"expected one output of {wanted} for a text, or one of a label, got {got}")
    (scores,) = fitting
    if not endpoint.labels:
        cure = "give cloud.labels, a file with one a line in the order of the outputs"
        raise UsageError(f"output {_shown(scores)} does not name its {len(scores.data)} labels; {cure}")
    kind = "probabilities" if _are_probabilities(_numbers(scores)) else "logits"
    return msgspec.structs.replace(endpoint, output=scores.name, says=kind)


def read_answer(endpoint: Endpoint, outputs: Sequence[Tensor]) -> Classified:
    """What an answer to one text says.

    Raises:
        UsageError: it is not such an answer as the endpoint gave before.
    """
    tensor = next((tensor for tensor in outputs if tensor.name == endpoint.output), None)
    if tensor is None:
        raise UsageError(f"expected an output {endpoint.output!r}, got {', '.join(map(_shown, outputs))}")
    if endpoint.says == "label":
        return _read_label(endpoint, tensor, outputs)
    if len(tensor.data) != len(endpoint.labels):
        raise UsageError(f"expected {len(endpoint.labels)} scores, got {_shown(tensor)}")
    values = np.array(_numbers(tensor))
    if not np.isfinite(values).all():
        raise UsageError("expected finite scores, got some that are not")
    if endpoint.says == "probabilities":
        values = np.log(np.maximum(values, _LEAST))
    values = np.exp(values - values.max())
    values /= values.sum()
    best = int(values.argmax())
    return Classified(
        endpoint.labels[best], float(values[best]), dict(zip(endpoint.labels, values.tolist(), strict=True))
    )


def _read_label(endpoint: Endpoint, tensor: Tensor, outputs: Sequence[Tensor]) -> Classified:
    if len(tensor.data) != 1 or not isinstance(tensor.data[0], str):
        raise UsageError(f"expected one label, got {_shown(tensor)}")
    label: str = tensor.data[0]
    score = next((_numbers(other)[0] for other in outputs if other.name == endpoint.score and other.data), 1.0)
    if label.lstrip().startswith("{"):  # MLServer's Hugging Face runtime sends a pipeline's answer as JSON
        try:
            found = msgspec.json.decode(label, type=_PipelineAnswer)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UsageError(f"expected a label and a score in JSON: {error}") from error
        label, score = found.label, found.score
    if not label:
        raise UsageError("expected a label, got an empty one")
    return Classified(label, min(max(score, 0.0), 1.0) if math.isfinite(score) else 0.0)


class _PipelineAnswer(msgspec.Struct):
    label: str
    score: float = 1.0


def _numbers(tensor: Tensor) -> list[float]:
    try:
        return msgspec.convert(tensor.data, list[float])
    except msgspec.ValidationError as error:
        raise UsageError(f"output {tensor.name}: expected numbers: {error}") from error


def _are_probabilities(values: Sequence[float]) -> bool:
    return min(values) >= 0.0 and abs(sum(values) - 1.0) < _SUM_TO_ONE


def _shown(tensor: Tensor) -> str:
    return f"{tensor.name} {tensor.datatype} {list(tensor.shape)}"
