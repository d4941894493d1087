"""Triton's own client, as it comes: HTTP with binary tensors, and gRPC."""

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conformance.node import Served
from tianti.package import Release
from tianti.protocols.oip import OUTPUTS

triton_http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
triton_grpc = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
from tritonclient.utils import InferenceServerException  # noqa: E402

TEXTS = np.array(["lamp", "sonata"], dtype=object)


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, node: Served) -> Iterator[Any]:
    kind, url = (triton_http, node.http) if request.param == "http" else (triton_grpc, node.grpc)
    found = kind.InferenceServerClient(url)
    found.kind = kind
    yield found
    found.close()


def texts(kind: Any, values: Any = TEXTS) -> list[Any]:
    tensor = kind.InferInput("text", list(values.shape), "BYTES")
    tensor.set_data_from_numpy(values)
    return [tensor]


def labels(result: Any) -> list[str]:
    return [label.decode() for label in result.as_numpy("label")]


def told(metadata: Any, name: str) -> Any:
    return metadata[name] if isinstance(metadata, dict) else getattr(metadata, name)


def test_health_and_metadata(client: Any, release: Release, newer: Release) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("tiny") and client.is_model_ready("tiny", release.id)
    assert not client.is_model_ready("other") and not client.is_model_ready("tiny", "9")
    assert told(client.get_server_metadata(), "name") == "tianti"
    metadata = client.get_model_metadata("tiny")
    assert list(told(metadata, "versions")) == [newer.id, release.id]
    assert [told(tensor, "name") for tensor in told(metadata, "outputs")] == list(OUTPUTS)
    index = client.get_model_repository_index()
    assert len(index if isinstance(index, list) else index.models) == 2


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_texts_are_answered_with_every_output(client: Any, shape: tuple[int, ...], newer: Release) -> None:
    result = client.infer("tiny", texts(client.kind, TEXTS.reshape(shape)))
    assert labels(result) == ["lights", "music"]
    assert result.as_numpy("scores").shape == (2, 2)
    assert result.as_numpy("scores").dtype == np.float32
    assert [label.decode() for label in result.as_numpy("labels")] == ["lights", "music"]
    assert told(result.get_response(), "model_version") == newer.id


def test_version_outputs_id_and_parameters(client: Any, release: Release) -> None:
    wanted = [client.kind.InferRequestedOutput("label"), client.kind.InferRequestedOutput("score")]
    result = client.infer(
        "tiny",
        texts(client.kind),
        model_version=release.id,
        outputs=wanted,
        request_id="7",
        parameters={"deadline_ms": 5000, "private": True},
    )
    response = result.get_response()
    assert [told(output, "name") for output in told(response, "outputs")] == ["label", "score"]
    assert (told(response, "id"), told(response, "model_version")) == ("7", release.id)
    assert result.as_numpy("decision") is None


@pytest.mark.parametrize(
    ("name", "version", "said"), [("other", "", "unknown model 'other'"), ("tiny", "9", "unknown version '9'")]
)
def test_what_is_not_here_is_said_so(client: Any, name: str, version: str, said: str) -> None:
    with pytest.raises(InferenceServerException, match=said):
        client.infer(name, texts(client.kind), model_version=version)


def test_a_wrong_input_is_said_so(client: Any) -> None:
    tensor = client.kind.InferInput("sentence", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["lamp"], dtype=object))
    with pytest.raises(InferenceServerException, match="expected one tensor named text"):
        client.infer("tiny", [tensor])


def test_token_ids_in_place_of_texts(client: Any, newer: Release) -> None:
    """Ids of `lamp` and of `song air`, the second of the tokenizer's words and on."""
    ids, mask = np.array([[2, 0], [5, 6]], np.int64), np.array([[1, 0], [1, 1]], np.int64)
    inputs = []
    for name, values in (("input_ids", ids), ("attention_mask", mask)):
        inputs.append(client.kind.InferInput(name, [2, 2], "INT64"))
        inputs[-1].set_data_from_numpy(values)
    assert labels(client.infer("tiny", inputs)) == ["lights", "music"]


@pytest.mark.parametrize("binary", [(False, False), (False, True), (True, False)])
def test_http_with_json_on_either_side(node: Served, binary: tuple[bool, bool]) -> None:
    with triton_http.InferenceServerClient(node.http) as client:
        tensor = triton_http.InferInput("text", [2], "BYTES")
        tensor.set_data_from_numpy(TEXTS, binary_data=binary[0])
        wanted = [triton_http.InferRequestedOutput(name, binary_data=binary[1]) for name in ("label", "scores")]
        result = client.infer("tiny", [tensor], outputs=wanted)
        found = result.as_numpy("label").tolist()
        assert [label.decode() if isinstance(label, bytes) else label for label in found] == ["lights", "music"]
        assert result.as_numpy("scores").shape == (2, 2)


def test_http_many_at_once_over_few_connections(node: Served) -> None:
    with triton_http.InferenceServerClient(node.http, concurrency=4) as client:
        waiting = [client.async_infer("tiny", texts(triton_http)) for _ in range(16)]
        assert all(labels(each.get_result()) == ["lights", "music"] for each in waiting)


def test_a_stream_answers_in_order_and_survives_a_failure(node: Served) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    with triton_grpc.InferenceServerClient(node.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        for number, name in enumerate(("tiny", "other", "tiny")):
            client.async_stream_infer(name, texts(triton_grpc), request_id=str(number))
        found = [answers.get(timeout=10) for _ in range(3)]
        client.stop_stream()
    assert isinstance(found[1], InferenceServerException) and "unknown model 'other'" in str(found[1])
    assert [result.get_response().id for result in (found[0], found[2])] == ["0", "2"]


def test_grpc_of_asyncio_and_with_compression(node: Served) -> None:
    from tritonclient.grpc import aio

    async def ask() -> list[str]:
        async with aio.InferenceServerClient(node.grpc) as client:
            return labels(await client.infer("tiny", texts(triton_grpc), compression_algorithm="gzip"))

    assert asyncio.run(ask()) == ["lights", "music"]


def test_a_client_that_allows_too_little_time_is_told(node: Served) -> None:
    with (
        triton_grpc.InferenceServerClient(node.grpc) as client,
        pytest.raises(InferenceServerException, match=r"(?i)deadline"),
    ):
        client.infer("tiny", texts(triton_grpc), client_timeout=0.001)
