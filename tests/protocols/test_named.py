"""Named tensors to a request and an answer to named tensors; their values as raw bytes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.errors import UsageError
from tianti.protocols.infer import MAX_BATCH, InferRequest, InferResponse
from tianti.protocols.named import DATATYPES, describe, make_outputs, make_request
from tianti.protocols.raw import pack, unpack
from tianti.protocols.tensors import Tensor
from tianti.spec import Decision, Prediction, Priority, Reason, Tier


def ids(shape: tuple[int, ...], data: list[int], name: str = "input_ids", datatype: str = "INT64") -> Tensor:
    return Tensor(name, datatype, shape, data)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_texts_come_as_str_or_as_bytes(shape: tuple[int, ...]) -> None:
    asked = make_request([Tensor("text", "BYTES", shape, ["lamp", "开灯".encode()])])
    assert asked == InferRequest(texts=("lamp", "开灯"))


def test_parameters_may_be_written_as_numbers_or_as_text() -> None:
    said = {"point": "0.01", "deadline_ms": 300, "audit": "true", "priority": "batch", "passed_by": "edge", "other": 1}
    asked = make_request([Tensor("text", "BYTES", (1,), ["lamp"])], said, ("label",), "7")
    assert asked == InferRequest(
        texts=("lamp",),
        point=0.01,
        deadline_ms=300.0,
        audit=True,
        priority=Priority.BATCH,
        passed_by=Tier.EDGE,
        outputs=("label",),
        id="7",
    )


def test_padding_is_what_the_mask_says() -> None:
    tokens, mask = ids((2, 3), [5, 6, 0, 7, 0, 0]), ids((2, 3), [1, 1, 0, 1, 0, 0], "attention_mask")
    assert make_request([tokens, mask]).ids == ((5, 6), (7,))
    assert make_request([tokens]).ids == ((5, 6, 0), (7, 0, 0))


TEXT = Tensor("text", "BYTES", (1,), ["lamp"])
TOKENS = ids((1, 2), [5, 6])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "expected text, or input_ids .* got none"),
        ([TEXT, TEXT], "got text, text"),
        ([TEXT, TOKENS], "got text, input_ids"),
        ([ids((1, 2), [1, 1], "attention_mask")], "got attention_mask"),
        ([TEXT._replace(name="sentence")], "got sentence"),
        ([TEXT._replace(datatype="INT64")], r"got INT64 \[1\]"),
        ([TEXT._replace(shape=(2,))], r"for its 1 texts, got BYTES \[2\]"),
        ([TEXT._replace(shape=(-1,))], r"got BYTES \[-1\]"),
        ([TEXT._replace(shape=(0,), data=[])], "expected 1 to 64 texts, got 0"),
        ([TEXT._replace(data=[b"\xff"])], "expected UTF-8"),
        ([Tensor("text", "BYTES", (MAX_BATCH + 1,), ["a"] * (MAX_BATCH + 1))], "got 65"),
        ([TOKENS._replace(shape=(2,))], r"expected INT64 or INT32 \[n, tokens\]"),
        ([TOKENS._replace(shape=(2, 2))], "with 2 values"),
        ([TOKENS._replace(shape=(-1, -2))], "with 2 values"),
        ([TOKENS._replace(datatype="FP32")], "got FP32"),
        ([TOKENS, ids((2, 1), [1, 1], "attention_mask")], "the same for all"),
        ([TOKENS, ids((1, 2), [1, 2], "attention_mask")], "zeros and ones"),
        ([TOKENS, ids((1, 2), [0, 0], "attention_mask")], "row of another length"),
        ([TOKENS, ids((1, 2), [0, 1], "token_type_ids")], "expected zeros"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_an_error(inputs: list[Tensor], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_request(inputs)


@pytest.mark.parametrize(
    "parameters", [{"point": 2.0}, {"point": "nan"}, {"deadline_ms": "inf"}, {"priority": 1}, {"release": 5}]
)
def test_parameters_that_cannot_be_are_an_error(parameters: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_request([TEXT], parameters)


def test_an_output_that_is_not_one_is_an_error() -> None:
    with pytest.raises(UsageError, match="got logits"):
        make_request([TEXT], outputs=("label", "logits"))


def test_outputs_fill_up_with_zero_the_labels_that_a_package_lacks() -> None:
    decision = Decision(reason=Reason.TOP)
    first = Prediction(label="a", score=0.5, scores={"a": 1.0}, tier=Tier.CLOUD, package="p", decision=decision)
    second = msgspec.structs.replace(first, label="b", scores={"b": 1.0}, tier=Tier.EDGE)
    response = InferResponse(model="m", release="r", predictions=(first, second))
    outputs = {tensor.name: tensor for tensor in make_outputs(response)}
    assert list(outputs) == list(DATATYPES)
    assert outputs["scores"] == Tensor("scores", "FP32", (2, 2), [1.0, 0.0, 0.0, 1.0])
    assert outputs["labels"] == Tensor("labels", "BYTES", (2,), ["a", "b"])
    assert outputs["tier"].data == ["cloud", "edge"]
    assert [tensor.name for tensor in make_outputs(response, ("score", "label"))] == ["score", "label"]
    for tensor, told in zip(outputs.values(), describe(["a", "b"])[1], strict=True):
        fits = [size in (-1, real) for size, real in zip(told.shape, tensor.shape, strict=True)]
        assert told[:2] == tensor[:2] and all(fits)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_survive_as_raw_bytes(texts: list[str]) -> None:
    assert unpack("BYTES", pack("BYTES", texts)) == [text.encode() for text in texts]


@given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.sampled_from(["INT64", "INT32"]))
def test_whole_numbers_survive_as_raw_bytes(numbers: list[int], datatype: str) -> None:
    assert unpack(datatype, pack(datatype, numbers)) == numbers


@given(st.binary(max_size=64), st.sampled_from(["BYTES", "INT64", "INT32", "FP32", "FP16", ""]))
def test_any_bytes_are_values_or_a_usage_error(content: bytes, datatype: str) -> None:
    try:
        values = unpack(datatype, content)
    except UsageError:
        return
    assert sum(len(value) + 4 for value in values) == len(content) if datatype == "BYTES" else True


def test_a_value_that_ends_late_says_by_how_much() -> None:
    with pytest.raises(UsageError, match="1 bytes short"):
        unpack("BYTES", b"\x03\x00\x00\x00ab")
