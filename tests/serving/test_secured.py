"""A node as it is run for others: tokens, TLS, mutual TLS and gRPC in one `tianti serve`, asked by all who might."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.papers import Papers
from tests.serve_process import ServeProcess
from tests.tiny_release import make_release
from tianti import Trust, load
from tianti.package import Release
from tianti.serving.tokens import Scope, create_token
from tianti.spec import Reason, Tier

_ASK = b'{"text": "luminaire"}'


class Node(NamedTuple):
    """One that runs, what it trusts, and its tokens by name."""

    process: ServeProcess
    papers: Papers
    tokens: dict[str, str]
    grpc_port: int

    def connect(self, certificate: bool = True) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.papers.nodes_ca))
        if certificate:
            context.load_cert_chain(*self.papers.caller)
        return http.client.HTTPSConnection(*self.process.address, timeout=20, context=context)

    def ask(self, path: str, token: str | None, body: bytes | None = _ASK, **headers: str) -> http.client.HTTPResponse:
        connection = self.connect()
        if token is not None:
            headers["authorization"] = f"Bearer {self.tokens.get(token, token)}"
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def trust(self, token: str) -> Trust:
        return self.papers.mutual_trust._replace(token_env=f"TIANTI_TEST_{token.upper()}")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def node(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("secured")
    papers, file = Papers(folder), folder / "tokens.json"
    tokens = {
        "shop": create_token(file, "shop", (Scope.PREDICT,)),
        "ops": create_token(file, "ops", (Scope.ADMIN, Scope.TELEMETRY)),
        "slow": create_token(file, "slow", (Scope.PREDICT,), quota_per_s=1.0),
    }
    os.environ |= {f"TIANTI_TEST_{name.upper()}": token for name, token in tokens.items()}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        grpc_port = probe.getsockname()[1]
    options = ["--tier", "cloud", "--release", release.folder, "--host", "0.0.0.0", "--tokens", file]
    tls = ["--tls-cert", papers.node.certificate, "--tls-key", papers.node.key, "--client-ca", papers.callers_ca]
    with ServeProcess(*options, *tls, "--grpc-port", str(grpc_port)) as process:
        yield Node(process, papers, tokens, grpc_port)
        assert process.stop() == 0
        assert not any(token in process.log for token in tokens.values())
    for name in tokens:
        del os.environ[f"TIANTI_TEST_{name.upper()}"]


def test_the_right_token_and_certificate_are_answered(node: Node) -> None:
    assert node.ask("/v1/predict", "shop").status == 200
    assert node.ask("/metrics", "ops", None).status == 200
    assert node.ask("/readyz", None, None).status == 200  # health is open to whoever may connect


@pytest.mark.parametrize("token", [None, "", "made-up", "shop2"])
def test_who_has_no_token_is_asked_for_one(node: Node, token: str | None) -> None:
    for path, body in (("/v1/predict", _ASK), ("/metrics", None), ("/status", None)):
        answer = node.ask(path, token, body)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.headers["x-request-id"] and answer.headers["retry-after"] is None


def test_who_has_a_token_for_something_else_is_refused(node: Node) -> None:
    for path, token, body in (("/v1/predict", "ops", _ASK), ("/metrics", "shop", None), ("/status", "shop", None)):
        answer = node.ask(path, token, body)
        assert (answer.status, answer.headers["www-authenticate"]) == (403, None)


def test_who_has_had_its_share_is_told_when_to_come_again(node: Node) -> None:
    answers = [node.ask("/v1/predict", "slow") for _ in range(3)]
    refused = [each for each in answers if each.status == 429]
    assert answers[0].status == 200 and refused
    assert all(1 <= int(each.headers["retry-after"]) <= 3 for each in refused)
    assert node.ask("/v1/predict", "shop").status == 200  # others are served


def test_a_body_is_not_waited_for_before_the_token_is_known(node: Node) -> None:
    """Only headers are sent, of eight megabytes: the refusal comes all the same. With a token it waits: the control."""
    for token, comes in (("made-up", True), (node.tokens["shop"], False)):
        connection = node.connect()
        connection.putrequest("POST", "/v1/predict")
        connection.putheader("content-length", "7999999")
        connection.putheader("authorization", f"Bearer {token}")
        connection.endheaders()
        assert connection.sock is not None
        connection.sock.settimeout(20.0 if comes else 0.3)
        if comes:
            assert connection.getresponse().status == 401
        else:
            with pytest.raises(TimeoutError):
                connection.getresponse()
        connection.close()


def test_who_shows_no_certificate_is_not_talked_to(node: Node) -> None:
    connection = node.connect(certificate=False)
    with pytest.raises(OSError):  # TLS 1.3 tells it with the first bytes that are read
        connection.request("GET", "/readyz")
        connection.getresponse()
    connection.close()


def predict(node: Node, release: Release, *options: str | Path) -> dict[str, object]:
    command = [sys.executable, "-m", "tianti", "predict", "--release", release.folder, "--upstream", node.process.url]
    command += ["--json", "--deadline-ms", "10000", *options, "luminaire"]
    url = [str(each).replace("0.0.0.0", "localhost") for each in command]
    return json.loads(subprocess.run(url, check=True, capture_output=True, text=True).stdout)


def test_the_command_line_climbs_to_it_and_without_papers_does_not(node: Node, release: Release) -> None:
    papers, known = node.papers, ["--upstream-ca", node.papers.nodes_ca]
    shown = ["--upstream-cert", papers.caller.certificate, "--upstream-key", papers.caller.key]
    answer = predict(node, release, *known, *shown, "--upstream-token-env", "TIANTI_TEST_SHOP")
    assert (answer["tier"], answer["label"]) == ("cloud", "lights")
    for options in (known, [*known, *shown], [*shown, "--upstream-token-env", "TIANTI_TEST_SHOP"]):
        answer = predict(node, release, *options)
        assert answer["tier"] == "device" and answer["decision"]["degraded"]  # type: ignore[index]


def test_a_program_climbs_to_it(node: Node, release: Release) -> None:
    url = node.process.url.replace("0.0.0.0", "localhost")
    for token, tier in (("shop", Tier.CLOUD), ("ops", Tier.DEVICE)):
        with load(release.folder, upstream=url, trust=node.trust(token), deadline_ms=10_000, audits=0.0) as ladder:
            answer = ladder.predict("luminaire")
        assert answer.tier is tier
        assert answer.decision.degraded == (tier is Tier.DEVICE)
        assert answer.decision.reason is (Reason.TOP if tier is Tier.CLOUD else Reason.UPSTREAM_DOWN)


def test_grpc_asks_for_the_same_papers(node: Node) -> None:
    grpc = pytest.importorskip("grpc")
    from tianti.serving.grpc.proto import oip_pb2

    ca = node.papers.nodes_ca.read_bytes()
    certificate, key = (each.read_bytes() for each in node.papers.caller)
    asked = oip_pb2.ModelReadyRequest(name="tiny").SerializeToString()

    def code(token: str | None, shown: bool = True) -> str:
        credentials = grpc.ssl_channel_credentials(ca, *((key, certificate) if shown else ()))
        metadata = () if token is None else (("authorization", f"Bearer {node.tokens.get(token, token)}"),)
        with grpc.secure_channel(f"localhost:{node.grpc_port}", credentials) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
            try:
                call(asked, timeout=20, metadata=metadata)
            except grpc.RpcError as error:
                return error.code().name
        return "OK"

    assert [code(token) for token in ("shop", None, "made-up", "ops")] == [
        "OK",
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
    ]
    assert code("shop", shown=False) == "UNAVAILABLE"


def test_it_does_not_start_for_others_without_papers_unless_told_so(release: Release, tmp_path: Path) -> None:
    options = ["--tier", "cloud", "--release", release.folder, "--host", "0.0.0.0"]
    tokens = tmp_path / "tokens.json"
    create_token(tokens, "shop", (Scope.PREDICT,))
    for lacking in ([], ["--tokens", tokens]):
        with pytest.raises(AssertionError, match=r"can be reached from elsewhere.*--insecure"):
            ServeProcess(*options, *lacking)
    with ServeProcess(*options, "--insecure") as node:
        with socket.create_connection(node.address, timeout=20) as raw:
            raw.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 200")
        assert node.stop() == 0
