"""Endpoints over real HTTP: what they take and say is found out, and their answers are read in either protocol."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.endpoint_server import EndpointServer, fails, send, slow
from tests.tiny_release import WORDS
from tianti.errors import DeadlineError, PackageError, RefusedError, TextRefusedError, UpstreamError, UsageError
from tianti.package import read_release
from tianti.runtimes.endpoint import EndpointClient, client_of
from tianti.serving.local import local_node
from tianti.spec import Endpoint, Tier

CLOUD_WORDS = {row[2]: label for label, row in WORDS.items()}


def endpoint_at(url: str, **rest: object) -> Endpoint:
    start = Endpoint(url=url, protocol="oip", model="", version=None, inputs=(), labels=tuple(WORDS), max_length=8)
    return msgspec.structs.replace(start, **rest)


def discover(endpoint: Endpoint, tokenizer: Path | None = None) -> Endpoint:
    async def run() -> Endpoint:
        client = EndpointClient(endpoint, tokenizer)
        try:
            return await client.discover("lamp")
        finally:
            await client.aclose()

    return asyncio.run(run())


def ask(endpoint: Endpoint, text: str, tokenizer: Path | None = None, remaining_s: float = 5.0) -> object:
    async def run() -> object:
        client = EndpointClient(endpoint, tokenizer)
        try:
            return (await client.ask(text, remaining_s))[0]
        finally:
            await client.aclose()

    return asyncio.run(run())


@pytest.fixture
def cloud(tiny_release: Path) -> Path:
    return read_release(tiny_release).package(Tier.CLOUD).folder


@pytest.mark.parametrize("protocol", ["oip", "tfs"])
@pytest.mark.parametrize("takes", ["tokens", "text"])
@pytest.mark.parametrize("says", ["logits", "probabilities", "label"])
def test_whatever_it_takes_and_says_it_answers_as_the_model_does(
    cloud: Path, protocol: str, takes: str, says: str
) -> None:
    tokenizer = cloud / "tokenizer.json" if takes == "tokens" else None
    with EndpointServer(cloud, takes, says) as server:
        found = discover(endpoint_at(server.url, protocol=protocol, model="big"), tokenizer)
        assert (found.says, found.version) == (says, "7")
        assert {tensor.holds for tensor in found.inputs} == ({"text"} if takes == "text" else {"ids", "mask"})
        for text, label in CLOUD_WORDS.items():
            said = ask(found, text, tokenizer)
            assert said.label == label
            assert said.score > 0.9
            if says != "label":
                assert sum(said.scores.values()) == pytest.approx(1.0)


def test_the_only_model_of_a_server_is_found(cloud: Path) -> None:
    with EndpointServer(cloud, "text") as server:
        assert discover(endpoint_at(server.url)).model == "big"
        with pytest.raises(UsageError, match="name one"):
            discover(endpoint_at(server.url, protocol="tfs"))


def test_one_of_our_own_nodes_is_an_endpoint_too(tiny_release: Path) -> None:
    release = read_release(tiny_release)
    with local_node(Tier.CLOUD, tiny_release) as url:
        found = discover(endpoint_at(url, labels=()))
        assert (found.model, found.version, found.says) == ("tiny", release.id, "label")
        assert ask(found, "luminaire").label == "lights"
        assert ask(found, "nonsense").label == "other"  # its own head rejects, which the scores alone do not tell


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ()}, "give cloud.labels"),
        ({"labels": ("a", "b")}, "expected one output of 2 scores"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_an_error(cloud: Path, change: dict[str, object], message: str) -> None:
    with EndpointServer(cloud, "text") as server, pytest.raises(UsageError, match=message):
        discover(endpoint_at(server.url, model="big", **change))


def test_tokens_need_a_tokenizer(cloud: Path) -> None:
    with EndpointServer(cloud) as server, pytest.raises(UsageError, match=r"give cloud\.tokenizer"):
        discover(endpoint_at(server.url, model="big"))


def test_a_tokenizer_for_a_server_of_texts_and_another_version_than_the_named_are_errors(cloud: Path) -> None:
    with EndpointServer(cloud, "text") as server:
        with pytest.raises(UsageError, match=r"remove cloud\.tokenizer"):
            discover(endpoint_at(server.url), cloud / "tokenizer.json")
        original = server._oip
        server._oip = lambda logits: original(logits) | {"model_version": "8"}
        with pytest.raises(UsageError, match=r"expected answers of 7, .* gave one of 8"):
            discover(endpoint_at(server.url, version="7"))


def test_another_model_or_version_is_refused(cloud: Path) -> None:
    with EndpointServer(cloud, "text") as server:
        found = discover(endpoint_at(server.url))
        server.version = "8"
        with pytest.raises(RefusedError, match="no version 7"):
            ask(found, "sonata")


def test_a_secret_is_sent_and_never_kept(cloud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", "s3cret")
    with EndpointServer(cloud, "text") as server:
        found = discover(endpoint_at(server.url, key_env="BIG_KEY"))
        assert set(server.headers) == {"Bearer s3cret"}
        assert b"s3cret" not in msgspec.json.encode(found)
        monkeypatch.delenv("BIG_KEY")
        with pytest.raises(UsageError, match="environment variable BIG_KEY, got none"):
            ask(found, "sonata")


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"[]",
        b'{"outputs": []}',
        b'{"outputs": [{"name": "said", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 0.2]}]}',
        b'{"outputs": [{"name": "said", "datatype": "FP32", "shape": [1, 3], "data": [1e999, 0, 0]}]}',
        b'{"outputs": [{"name": "said", "datatype": "FP32", "shape": [1, 3], "data": ["a", 0, 0]}]}',
        b'{"outputs": [{"name": "said", "datatype": "FP32", "shape": [1, 3], "data": [[1], 0, 0]}]}',
        b'{"outputs": [{"name": "other", "datatype": "FP32", "shape": [1, 3], "data": [0, 0, 0]}]}',
    ],
)
def test_what_is_no_answer_is_an_upstream_error(cloud: Path, body: bytes) -> None:
    def answer(handler, _number) -> bool:  # noqa: ANN001
        send(handler, 200, body)
        return True

    with EndpointServer(cloud, "text") as server:
        found = discover(endpoint_at(server.url))
        server.fault = answer
        with pytest.raises(UpstreamError):
            ask(found, "sonata")


def test_a_slow_one_is_given_up_in_time_and_a_failing_one_may_recover(cloud: Path) -> None:
    with EndpointServer(cloud, "text") as server:
        found = discover(endpoint_at(server.url))
        server.fault = slow(1.0)
        with pytest.raises(DeadlineError):
            ask(found, "sonata", remaining_s=0.1)
        kinds = {500: UpstreamError, 503: UpstreamError, 429: UpstreamError, 401: RefusedError, 422: TextRefusedError}
        for status, kind in kinds.items():
            server.fault = fails(0, status=status)
            with pytest.raises(kind) as caught:
                ask(found, "sonata")
            assert type(caught.value) is kind


def test_a_package_with_a_model_names_no_endpoint(cloud: Path) -> None:
    with pytest.raises(PackageError, match="run by a node"):
        client_of(read_release(cloud.parents[1]).package(Tier.CLOUD))
