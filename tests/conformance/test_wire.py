"""Our messages are, on the wire, those that clients ship: each field has the number and type that it has there."""

from collections.abc import Iterator
from typing import Any

import pytest

from tianti.serving.grpc.proto import oip_pb2, tfs_pb2

_TFS = "ovmsclient.tfs_compat.protos.tensorflow"
_THEIRS = (
    *(f"{_TFS}_serving.apis.{name}_pb2" for name in ("model", "predict", "input", "classification", "regression")),
    *(f"{_TFS}_serving.apis.{name}_pb2" for name in ("inference", "get_model_status", "get_model_metadata")),
    *(f"{_TFS}_serving.{name}_pb2" for name in ("apis.model_management", "util.status")),
    *(f"{_TFS}.core.framework.{name}_pb2" for name in ("tensor", "tensor_shape", "types")),
    *(f"{_TFS}.core.{name}_pb2" for name in ("example.example", "example.feature", "protobuf.meta_graph")),
)


def messages(descriptors: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for descriptor in descriptors:
        name = f"{prefix}{descriptor.name}"
        yield name, descriptor
        yield from messages(descriptor.nested_types, f"{name}.")


def shape(field: Any) -> tuple[Any, ...]:
    """What two fields must have in common for the same bytes to mean the same in both."""
    kind = field.message_type.name if field.message_type else "whole" if field.type in (3, 5, 14) else field.type
    return field.number, field.is_repeated, kind


def compare(ours: Any, theirs: dict[str, Any]) -> int:
    seen = 0
    for name, descriptor in messages(ours.DESCRIPTOR.message_types_by_name.values()):
        for field in descriptor.fields:
            assert shape(field) == shape(theirs[name].fields_by_name[field.name]), f"{name}.{field.name}"
            seen += 1
        for enum in descriptor.enum_types:
            assert values(enum).items() <= values(theirs[name].enum_types_by_name[enum.name]).items()
    return seen


def values(enum: Any) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def test_the_open_inference_protocol() -> None:
    service = pytest.importorskip("tritonclient.grpc.service_pb2", reason="tritonclient[grpc] is not installed")
    assert compare(oip_pb2, dict(messages(service.DESCRIPTOR.message_types_by_name.values()))) > 40


def test_tensorflow_serving() -> None:
    modules = [pytest.importorskip(name, reason="ovmsclient is not installed") for name in _THEIRS]
    found = dict(messages(m for module in modules for m in module.DESCRIPTOR.message_types_by_name.values()))
    assert compare(tfs_pb2, found) > 50
    types = next(module for module in modules if module.__name__.endswith("types_pb2"))
    theirs = values(types.DESCRIPTOR.enum_types_by_name["DataType"])
    assert values(tfs_pb2.DESCRIPTOR.enum_types_by_name["DataType"]).items() <= theirs.items()


def test_a_field_of_another_type_is_noticed() -> None:
    theirs = dict(messages(tfs_pb2.DESCRIPTOR.message_types_by_name.values()))
    assert compare(tfs_pb2, theirs)
    theirs["ClassificationResponse"] = theirs["RegressionResponse"]
    with pytest.raises(AssertionError, match=r"ClassificationResponse\.result"):
        compare(tfs_pb2, theirs)
