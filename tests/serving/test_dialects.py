"""Every dialect against real models: the same text gets the same answer, whatever it is asked in."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.dispatch import Dispatcher
from tests.serving.loaded import put
from tianti.errors import UnknownModelError, UsageError
from tianti.package import Release
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.serving import health, hosted, native, oip, openapi, tfs
from tianti.serving.http import Route
from tianti.serving.models import Models, Via
from tianti.spec import Priority, Tier


class Recorded(Models):
    """Real models that remember what they were asked, loaded and told to unload."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[InferRequest] = []
        self.moved: list[str] = []

    async def infer(self, name: str, asked: InferRequest, via: Via) -> InferResponse:
        self.asked.append(asked)
        return await super().infer(name, asked, via)

    async def load(self, name: str) -> None:
        self.moved.append(f"load {name}")

    async def unload(self, name: str) -> None:
        self.moved.append(f"unload {name}")


def every_route(models: Recorded, **environ: str) -> list[Route]:
    found = [
        *hosted.routes(models, environ),
        *native.routes(models),
        *oip.routes(models, models),
        *tfs.routes(models),
        *health.routes(models),
    ]
    return [*found, *openapi.routes(found, "1")]


@pytest.fixture
def models(release: Release, newer: Release) -> Iterator[Recorded]:
    models = Recorded()
    put(models, Tier.CLOUD, newer, release)
    yield models


@pytest.fixture
def node(models: Recorded) -> Iterator[Dispatcher]:
    with Dispatcher(every_route(models)) as dispatcher:
        yield dispatcher


TENSOR = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["lamp", "nonsense"]}


def test_the_same_answer_in_every_dialect(node: Dispatcher) -> None:
    two, wanted = ["lamp", "nonsense"], ["lights", "other"]
    rows = {"instances": two}

    def labels(path: str, body: Any, part: str, **headers: str) -> list[str]:
        return [row["label"] for row in node.ask("POST", path, body, **headers)[part]]

    assert labels("/v1/predict", {"texts": two}, "predictions") == wanted
    assert labels("/v1/models/tiny:predict", rows, "predictions") == wanted
    assert labels("/predict", rows, "predictions") == wanted
    assert labels("/invocations", rows, "predictions", content_type="application/json") == wanted
    assert labels("/invocations", b"lamp\nnonsense", "predictions", content_type="text/csv") == wanted
    assert node.ask("POST", "/v1/models/tiny:predict", {"inputs": two})["outputs"]["label"] == wanted
    tensors = node.ask("POST", "/v2/models/tiny/infer", {"inputs": [TENSOR]})["outputs"]
    assert {t["name"]: t["data"] for t in tensors}["label"] == wanted
    examples = {"examples": [{"text": text} for text in two]}
    classes = node.ask("POST", "/v1/models/tiny:classify", examples)["results"]
    assert [row[0][0] for row in classes] == wanted
    scores = node.ask("POST", "/v1/models/tiny:regress", examples)["results"]
    assert scores == [row["score"] for row in node.ask("POST", "/v1/predict", {"texts": two})["predictions"]]


def test_a_triton_client_reads_its_answer(node: Dispatcher) -> None:
    header = {"inputs": [TENSOR | {"data": None, "shape": [1], "parameters": {"binary_data_size": 8}}]}
    header["parameters"] = {"binary_data_output": True}
    text = json.dumps(header).encode()
    reply = node.send(
        "POST", "/v2/models/tiny/infer", text + b"\x04\0\0\0lamp", inference_header_content_length=str(len(text))
    )
    assert reply.media_type == b"application/octet-stream"
    ((name, length),) = reply.headers
    assert name == b"inference-header-content-length"
    outputs = json.loads(reply.body[: int(length)])["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs]
    assert len(reply.body) == int(length) + sum(sizes)
    start = int(length) + sizes[0]
    assert 0.9 < np.frombuffer(reply.body[start : start + sizes[1]], "<f4")[0] <= 1.0


def test_a_version_is_a_number_or_a_release(node: Dispatcher, release: Release, newer: Release) -> None:
    """`drizzle` is a word of the older release only."""

    def label(version: str) -> str:
        path = f"/v1/models/tiny{version}:predict"
        return node.ask("POST", path, {"instances": ["drizzle"]})["predictions"][0]["label"]

    assert [label(version) for version in ("", "/versions/0", "/versions/2")] == ["other"] * 3
    assert label("/versions/1") == label(f"/versions/{release.id}") == "weather"
    assert node.ask("POST", "/v1/predict", {"text": "drizzle", "release": release.id})["release"] == release.id
    for path in ("/v1/models/tiny/versions/9:predict", "/v1/models/tiny/labels/stable:predict"):
        with pytest.raises(UnknownModelError):
            node.ask("POST", path, {"instances": ["drizzle"]})


@pytest.mark.parametrize("path", ["/v1/models/half:predict", "/v1/models/half:regress", "/v2/models/half/infer"])
def test_a_model_that_is_not_here_is_the_first_thing_to_say(node: Dispatcher, path: str) -> None:
    """The last curl line of TensorFlow Serving's page, whose answer is 404."""
    with pytest.raises(UnknownModelError, match="unknown model 'half'"):
        node.ask("POST", path, {"instances": [1.0, 5.0]})


def test_the_curl_lines_of_the_docs(node: Dispatcher) -> None:
    page = (Path(__file__).parents[2] / "docs" / "en" / "http.md").read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", page, flags=re.S) for line in re.split(r"\n(?=curl)", block)
    ]
    for line in lines:
        _curl, _silent, url, *rest = shlex.split(line)
        said = dict(zip(rest[::2], rest[1::2], strict=True))
        headers = dict(re.findall(r"-H '([\w-]+): ([^']+)'", line))
        path = url.removeprefix("http://127.0.0.1:8081").replace("assistant", "tiny")
        reply = node.send("POST" if "-d" in said else "GET", path, said.get("-d", "").encode(), **headers)
        assert (reply.status, len(reply.body) > 0) == (200, True)
    assert len(lines) == 9


def test_status_and_metadata_of_tensorflow_serving(node: Dispatcher) -> None:
    def versions(path: str) -> list[str]:
        return [status["version"] for status in node.ask("GET", path)["model_version_status"]]

    assert versions("/v1/models/tiny") == ["2", "1"]
    assert versions("/v1/models/tiny/versions/1") == ["1"]
    assert versions("/v1/models/tiny/versions/0") == ["2"]
    spec = {"name": "tiny", "signature_name": "", "version": "1"}
    assert node.ask("GET", "/v1/models/tiny/versions/1/metadata")["model_spec"] == spec
    assert node.ask("GET", "/v1/models/tiny/metadata")["metadata"]["labels"] == ["lights", "music"]
    assert node.ask("GET", "/v1/models/tiny/versions/1/metadata")["metadata"]["labels"][2:] == ["weather"]
    for path in ("/v1/models/other", "/v1/models/other/metadata", "/v2/models/other", "/v2/models/other/ready"):
        with pytest.raises(UnknownModelError):
            node.ask("GET", path)


def test_the_model_repository(node: Dispatcher, models: Recorded, release: Release, newer: Release) -> None:
    index = node.ask("POST", "/v2/repository/index")
    assert [(each["version"], each["state"]) for each in index] == [(newer.id, "READY"), (release.id, "READY")]
    assert node.ask("POST", "/v2/repository/models/tiny/load") == {}
    assert node.ask("POST", "/v2/repository/models/tiny/unload", {"parameters": {"unload_dependents": False}}) == {}
    assert models.moved == ["load tiny", "unload tiny"]
    with pytest.raises(UsageError, match="expected none that bring a model"):
        node.ask("POST", "/v2/repository/models/tiny/load", {"parameters": {"config": "{}"}})
    assert node.ask("GET", "/v2")["extensions"] == ["binary_tensor_data", "model_repository"]
    with Dispatcher(oip.routes(models)) as fixed:
        assert fixed.ask("GET", "/v2")["extensions"] == ["binary_tensor_data"]
        with pytest.raises(LookupError):
            fixed.find("POST", "/v2/repository/models/tiny/load")


def test_metadata_of_the_open_inference_protocol(node: Dispatcher, release: Release, newer: Release) -> None:
    for path in ("/v2/models/tiny", f"/v2/models/tiny/versions/{release.id}"):
        assert node.ask("GET", path)["versions"] == [newer.id, release.id]
        assert node.ask("GET", f"{path}/ready") == {"name": "tiny", "ready": True}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/predict", {"text": "lamp"}),
        ("/v2/models/tiny/infer", {"inputs": [TENSOR]}),
        ("/v1/models/tiny:predict", {"instances": ["lamp"]}),
        ("/v1/models/tiny:classify", {"examples": [{"text": "lamp"}]}),
        ("/v1/models/tiny:regress", {"examples": [{"text": "lamp"}]}),
        ("/predict", {"instances": ["lamp"]}),
        ("/invocations", {"instances": ["lamp"]}),
    ],
)
def test_a_deadline_in_the_header(node: Dispatcher, models: Recorded, path: str, body: dict[str, Any]) -> None:
    node.ask("POST", path, body)
    node.ask("POST", path, body, x_tianti_deadline_ms="250.5")
    assert [asked.deadline_ms for asked in models.asked] == [None, 250.5]
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match=r"milliseconds"):
            node.ask("POST", path, body, x_tianti_deadline_ms=wrong)


def test_the_body_wins_over_the_header(node: Dispatcher, models: Recorded) -> None:
    node.ask("POST", "/v1/predict", {"text": "lamp", "deadline_ms": 400}, x_tianti_deadline_ms="250")
    parameters = {"deadline_ms": 300, "priority": "batch", "private": True}
    node.ask("POST", "/predict", {"instances": ["lamp"], "parameters": parameters}, x_tianti_deadline_ms="250")
    assert [asked.deadline_ms for asked in models.asked] == [400, 300]
    assert (models.asked[1].priority, models.asked[1].private) == (Priority.BATCH, True)


def test_the_routes_of_vertex_are_its_environments(models: Recorded) -> None:
    path = "/v1/endpoints/12/deployedModels/34:predict"
    with Dispatcher(every_route(models, AIP_PREDICT_ROUTE=path, AIP_HEALTH_ROUTE="/well")) as vertex:
        assert vertex.ask("POST", path, {"instances": ["lamp"]})["predictions"][0]["label"] == "lights"
        assert vertex.ask("GET", "/well") == {"live": True}
        with pytest.raises(LookupError):
            vertex.find("POST", "/predict")
    same = hosted.routes(models, {"AIP_PREDICT_ROUTE": "/invocations", "AIP_HEALTH_ROUTE": "/ping"})
    assert [(route.method, route.path) for route in same] == [("POST", "/invocations"), ("GET", "/ping")]
    for wrong in ("predict", "/{model}", ""):
        with pytest.raises(UsageError, match="AIP_HEALTH_ROUTE"):
            hosted.routes(models, {"AIP_PREDICT_ROUTE": wrong})


def test_a_node_without_a_model_is_live_and_not_ready(models: Recorded, node: Dispatcher) -> None:
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/ping", "/health"):
        assert node.ask("GET", path) == {"live": True}
    with Dispatcher(every_route(Recorded())) as empty:
        for path in ("/readyz", "/v2/health/ready", "/ping", "/health"):
            assert empty.send("GET", path).status == 503
        assert empty.send("GET", "/livez").status == 200
        with pytest.raises(UnknownModelError):
            empty.ask("POST", "/v1/predict", {"text": "lamp"})


def test_of_several_models_one_has_to_be_named(node: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorded, "names", ("tiny", "other"))
    for path, body in (("/v1/predict", {"text": "lamp"}), ("/predict", {"instances": ["lamp"]})):
        with pytest.raises(UsageError, match="expected one of tiny, other"):
            node.ask("POST", path, body)
    assert node.ask("POST", "/v1/predict", {"text": "lamp", "model": "tiny"})["model"] == "tiny"
    named = {"instances": ["lamp"], "parameters": {"model": "tiny"}}
    assert node.ask("POST", "/predict", named)["predictions"][0]["label"] == "lights"


def test_the_status_of_every_release(node: Dispatcher, release: Release, newer: Release) -> None:
    node.ask("POST", "/v1/predict", {"text": "lamp"})
    status = node.ask("GET", "/status")
    assert list(status["tiny"]) == [newer.id, release.id]
    assert status["tiny"][newer.id]["answered"] == {"cloud": 1}


def test_who_may_ask_what(node: Dispatcher) -> None:
    scopes: dict[str | None, set[str]] = {}
    for route in node.routes:
        scopes.setdefault(route.scope, set()).add(route.path)
    assert scopes["admin"] == {f"/v2/repository/models/{{name}}/{verb}" for verb in ("load", "unload")}
    assert scopes["telemetry"] == {"/status"}
    opened = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/ping", "/health", "/openapi.json"}
    assert scopes[None] == opened
    assert len({(route.method, route.path) for route in node.routes}) == len(node.routes)


def test_the_document_describes_every_route(node: Dispatcher) -> None:
    document = node.ask("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in node.routes}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert declared == {part[1:-1] for part in path.split("/") for part in [part.split(":")[0]] if "{" in part}
            assert operation["summary"].endswith(".")
    text = json.dumps(document)
    for reference in set(references(document)):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    assert "#/components/schemas/PredictBody" in text


@pytest.mark.parametrize("secured", [True, False])
def test_the_document_names_tokens_where_they_are_asked_for(models: Recorded, secured: bool) -> None:
    found = every_route(models)
    with Dispatcher(openapi.routes(found, "1", secured)) as node:
        paths = node.ask("GET", "/openapi.json")["paths"]
    for route in found:
        operation = paths[route.path][route.method.lower()]
        asked = secured and route.scope is not None
        assert operation.get("security") == ([{"token": [route.scope]}] if asked else None)
        assert ({"401", "403"} <= {*operation["responses"]}) is asked
        assert "404" in operation["responses"] or "{" not in route.path


def references(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if "$ref" in tree:
            yield tree["$ref"]
        tree = list(tree.values())
    for child in tree if isinstance(tree, list) else ():
        yield from references(child)
