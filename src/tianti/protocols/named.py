"""A batch as named tensors, and its answers: what the inputs and outputs of every dialect with tensors mean.

    text            BYTES [n] or [n, 1]
    input_ids       INT64 or INT32 [n, tokens], special ones included, of the answering model's tokenizer
    attention_mask  of the same shape: 1 where the token is one, 0 where it is padding; without it all are tokens
    token_type_ids  of the same shape: 0, since a text stands alone

Not here: bytes (`oip`, `raw`, gRPC's messages).
Invariant: what is decoded is checked by `check_request`; what cannot be read in exactly one way is a UsageError.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tianti.errors import UsageError
from tianti.protocols.infer import InferRequest, InferResponse, check_request
from tianti.protocols.tensors import Tensor
from tianti.spec import Priority, Tier

DATATYPES = {
    "label": "BYTES",
    "score": "FP32",
    "scores": "FP32",
    "labels": "BYTES",
    "tier": "BYTES",
    "package": "BYTES",
    "decision": "BYTES",
}
"""Of the outputs: all [n], but `scores` [n, k] and its columns' names, `labels` [k]. A decision is JSON text."""

_WHOLE = ("INT64", "INT32")
_TOKENS = ("input_ids", "attention_mask", "token_type_ids")


class _Parameters(msgspec.Struct):
    release: str | None = None
    point: float | None = None
    passed_by: Tier | None = None
    deadline_ms: float | None = None
    audit: bool = False
    priority: Priority = Priority.INTERACTIVE
    private: bool = False


def make_request(
    inputs: Sequence[Tensor],
    parameters: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    id: str | None = None,  # noqa: A002
) -> InferRequest:
    """The request that tensors ask; texts are str, or bytes of UTF-8. Unknown parameters are left alone.

    Raises:
        UsageError: the tensors are not those above, a parameter or an output is wrong, or a limit is passed.
    """
    try:
        found = msgspec.convert(dict(parameters or {}), _Parameters, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"parameters: {error}") from error
    check_outputs(outputs)
    named = {tensor.name: tensor for tensor in inputs}
    if not (set(named) == {"text"} or ("input_ids" in named and set(named) <= set(_TOKENS))) or len(named) < len(
        inputs
    ):
        got = ", ".join(tensor.name for tensor in inputs) or "none"
        raise UsageError(f"inputs: expected text, or input_ids (and {' and '.join(_TOKENS[1:])}), got {got}")
    texts = _texts(named["text"]) if "text" in named else ()
    ids = _ids(named) if "input_ids" in named else ()
    asked = InferRequest(texts=texts, ids=ids, outputs=tuple(outputs), id=id, **msgspec.structs.asdict(found))
    return check_request(asked)


def check_outputs(names: Sequence[str]) -> None:
    """Raises: UsageError: one of them is not an output."""
    if unknown := sorted(set(names) - set(DATATYPES)):
        raise UsageError(f"outputs: expected some of {', '.join(DATATYPES)}; got {', '.join(unknown)}")


def make_outputs(response: InferResponse, wanted: Sequence[str] = ()) -> list[Tensor]:
    """The tensors that answer, all or those wanted, in that order; `data` is str and float.

    A batch may hold answers of packages with different labels; a label that a package lacks has probability 0 there.
    """
    answers = response.predictions
    labels = list(dict.fromkeys(label for answer in answers for label in answer.scores))
    columns: dict[str, list[Any]] = {
        "label": [answer.label for answer in answers],
        "score": [answer.score for answer in answers],
        "scores": [answer.scores.get(label, 0.0) for answer in answers for label in labels],
        "labels": labels,
        "tier": [str(answer.tier) for answer in answers],
        "package": [answer.package for answer in answers],
        "decision": [msgspec.json.encode(answer.decision).decode() for answer in answers],
    }
    shapes = {"scores": (len(answers), len(labels)), "labels": (len(labels),)}
    return [
        Tensor(name, DATATYPES[name], shapes.get(name, (len(answers),)), columns[name]) for name in wanted or DATATYPES
    ]


def describe(labels: Sequence[str]) -> tuple[list[Tensor], list[Tensor]]:
    """What goes in and comes out, without data, for metadata; -1 is the batch's size.

    `input_ids` is not among the inputs: a client takes what is listed for required.
    """
    shapes = {"scores": (-1, len(labels)), "labels": (len(labels),)}
    outputs = [Tensor(name, datatype, shapes.get(name, (-1,)), []) for name, datatype in DATATYPES.items()]
    return [Tensor("text", "BYTES", (-1,), [])], outputs


def _texts(tensor: Tensor) -> tuple[str, ...]:
    if tensor.datatype != "BYTES" or tensor.shape not in ((len(tensor.data),), (len(tensor.data), 1)):
        expected = f"BYTES [n] or [n, 1] for its {len(tensor.data)} texts"
        raise UsageError(f"input text: expected {expected}, got {tensor.datatype} {list(tensor.shape)}")
    try:
        return tuple(text.decode() if isinstance(text, bytes) else text for text in tensor.data)
    except UnicodeDecodeError as error:
        raise UsageError(f"input text: expected UTF-8, got other bytes: {error.reason}") from error


def _ids(named: Mapping[str, Tensor]) -> tuple[tuple[int, ...], ...]:
    tokens = named["input_ids"]
    for tensor in named.values():
        fits = len(tensor.shape) == 2 and math.prod(tensor.shape) == len(tensor.data) and min(tensor.shape) > 0
        if tensor.datatype not in _WHOLE or not fits or tensor.shape != tokens.shape:
            expected = f"{' or '.join(_WHOLE)} [n, tokens], the same for all, with {len(tensor.data)} values"
            raise UsageError(f"input {tensor.name}: expected {expected}, got {tensor.datatype} {list(tensor.shape)}")
    if "token_type_ids" in named and any(named["token_type_ids"].data):
        raise UsageError("input token_type_ids: expected zeros, since a text stands alone; got others")
    mask = named["attention_mask"].data if "attention_mask" in named else [1] * len(tokens.data)
    if not set(mask) <= {0, 1}:
        raise UsageError("input attention_mask: expected zeros and ones, got others")
    width = tokens.shape[1]
    return tuple(
        tuple(token for token, real in zip(tokens.data[at : at + width], mask[at : at + width], strict=True) if real)
        for at in range(0, len(tokens.data), width)
    )
