"""OpenVINO Model Server's client, as it comes: TensorFlow Serving's REST and gRPC. Version 0 is its newest."""

from typing import Any

import numpy as np
import pytest

from tests.conformance.node import Served

ovmsclient = pytest.importorskip("ovmsclient", reason="ovmsclient is not installed")
from ovmsclient.tfs_compat.base import errors  # noqa: E402


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, node: Served) -> Any:
    if request.param == "http":
        return ovmsclient.make_http_client(node.http)
    return ovmsclient.make_grpc_client(node.grpc)


def strings(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_texts_are_answered(client: Any, version: int) -> None:
    outputs = client.predict({"text": np.array(["lamp", "sonata"])}, "tiny", version)
    assert strings(outputs["label"]) == ["lights", "music"]
    assert outputs["scores"].shape == (2, 3 if version == 1 else 2)


def test_one_text_as_bytes(client: Any) -> None:
    outputs = client.predict({"text": b"lamp"}, "tiny")
    assert strings(outputs["label"]) == ["lights"]


def test_token_ids(client: Any) -> None:
    outputs = client.predict({"input_ids": np.array([[2], [5]], np.int64)}, "tiny")
    assert strings(outputs["label"]) == ["lights", "music"]


def test_status(client: Any) -> None:
    assert {number: said["state"] for number, said in client.get_model_status("tiny").items()} == {2: "AVAILABLE"}
    assert list(client.get_model_status("tiny", 1)) == [1]


def test_metadata(client: Any) -> None:
    metadata = client.get_model_metadata("tiny")
    if "metadata" in metadata:  # this client looks for names that TensorFlow Serving does not give, and hands it on
        metadata = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert [dim["size"] for dim in metadata["inputs"]["text"]["tensor_shape"]["dim"]] == ["-1"]
    else:
        assert metadata["model_version"] == 2
        assert metadata["inputs"] == {"text": {"shape": [-1], "dtype": "DT_STRING"}}
    assert {"label", "score", "scores"} <= set(metadata["outputs"])


def test_what_is_not_here_is_not_found(client: Any) -> None:
    for name, version in (("other", 0), ("tiny", 9)):
        with pytest.raises(errors.ModelNotFoundError):
            client.predict({"text": np.array(["lamp"])}, name, version)


def test_a_wrong_input_is_named(client: Any) -> None:
    with pytest.raises(errors.InvalidInputError, match="text"):
        client.predict({"sentence": np.array(["lamp"])}, "tiny")
