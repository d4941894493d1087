"""What holds for every gRPC call: statuses, access, deadlines, cancellation, limits, TLS, an orderly end."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from tests.grpc_node import grpc_node, models_of
from tianti.errors import (
    AccessError,
    DeadlineError,
    OverloadError,
    QuotaError,
    RunError,
    TiantiError,
    UnknownModelError,
    UsageError,
)
from tianti.package import Release
from tianti.protocols.infer import MAX_BODY_BYTES, InferRequest, InferResponse
from tianti.serving.access import Access, Scope
from tianti.serving.grpc.proto import oip_pb2, tfs_pb2
from tianti.serving.grpc.server import start_grpc
from tianti.serving.models import Via
from tianti.serving.tls import Tls
from tianti.serving.tokens import create_token

PREDICT = "/tensorflow.serving.PredictionService/Predict"
LIVE = "/inference.GRPCInferenceService/ServerLive"


def request(*texts: bytes) -> Any:
    shape = tfs_pb2.TensorShapeProto(dim=[{"size": len(texts)}])
    text = tfs_pb2.TensorProto(dtype=tfs_pb2.DT_STRING, tensor_shape=shape, string_val=texts)
    return tfs_pb2.PredictRequest(model_spec={"name": "tiny"}, inputs={"text": text})


def send(channel: grpc.Channel, body: bytes, path: str = PREDICT, timeout: float | None = 10, **rest: Any) -> bytes:
    return channel.unary_unary(path)(body, timeout=timeout, **rest)


class Stub:
    """In the place of a node's models: does what the test says."""

    names = ("tiny",)
    ready = True

    def __init__(self, infer: Callable[[InferRequest], Any]) -> None:
        self._infer = infer

    def versions(self, name: str) -> tuple[()]:
        return ()

    async def infer(self, name: str, asked: InferRequest, via: Via) -> InferResponse:
        return await self._infer(asked)


def failing(error: Exception) -> Stub:
    async def fail(_asked: InferRequest) -> None:
        raise error

    return Stub(fail)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UsageError("wrong"), "INVALID_ARGUMENT", "wrong"),
        (UnknownModelError("gone"), "NOT_FOUND", "gone"),
        (OverloadError("full", 1.5), "UNAVAILABLE", "full"),
        (QuotaError("enough", 2.0), "RESOURCE_EXHAUSTED", "enough"),
        (DeadlineError("late"), "DEADLINE_EXCEEDED", "late"),
        (AccessError("who", known=False), "UNAUTHENTICATED", "who"),
        (AccessError("no", known=True), "PERMISSION_DENIED", "no"),
        (RunError("the model is broken"), "INTERNAL", "the model is broken"),
        (TiantiError("x" * 100_000), "INTERNAL", "x" * 1000),
        (ZeroDivisionError("secret"), "INTERNAL", "internal error; see the node's log"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_has_its_status(error: Exception, code: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        grpc_node(failing(error)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        send(channel, request(b"lamp").SerializeToString())
    assert (raised.value.code().name, raised.value.details()) == (code, told)
    trailing = dict(raised.value.trailing_metadata())
    retry = {"retry-after": f"{error.retry_after_s:.3f}"} if isinstance(error, OverloadError) else {}
    assert trailing == retry
    assert ("ZeroDivisionError" in caplog.text, "secret" in caplog.text) == (told.startswith("internal"), False)


def test_bytes_that_are_no_message_are_the_callers_fault(release: Release) -> None:
    with grpc_node(models_of(release)) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError, match="expected a message PredictRequest") as raised:
            send(channel, b"\xff\xff\xff")
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as raised:
            send(channel, b"", "/tensorflow.serving.PredictionService/Nothing")
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert send(channel, b"", "/grpc.health.v1.Health/Check") == b"\x08\x01"


def test_a_message_past_the_limit_is_not_read(release: Release) -> None:
    with grpc_node(models_of(release)) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError) as raised:
            send(channel, bytes(MAX_BODY_BYTES + 1))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as raised:  # at the limit it is read, and found to be none
            send(channel, b"\xff" * MAX_BODY_BYTES)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def test_a_call_needs_a_token_for_its_scope(release: Release, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    right = bearer(create_token(tokens, "alice", (Scope.PREDICT,)))
    body, change = request(b"lamp").SerializeToString(), "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    with (
        grpc_node(models_of(release), access=Access(tokens)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for metadata in ((), bearer("wrong")):
            with pytest.raises(grpc.RpcError) as raised:
                send(channel, body, metadata=metadata)
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as raised:
            send(channel, b"", change, metadata=right)
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as raised:
            list(stream(iter([b""]), timeout=10))
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert send(channel, body, metadata=right)
        assert send(channel, b"", LIVE) == oip_pb2.ServerLiveResponse(live=True).SerializeToString()


def test_a_quota_counts_texts(release: Release, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    right = bearer(create_token(tokens, "alice", (Scope.PREDICT,), quota_per_s=0.5))
    with (
        grpc_node(models_of(release), access=Access(tokens)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        assert send(channel, request(*[b"lamp"] * 10).SerializeToString(), metadata=right)
        with pytest.raises(grpc.RpcError) as raised:
            send(channel, request(b"lamp").SerializeToString(), metadata=right)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert float(dict(raised.value.trailing_metadata())["retry-after"]) > 10.0  # one text would have been soon


def test_the_calls_deadline_is_the_requests() -> None:
    seen: list[float | None] = []

    async def note(asked: InferRequest) -> None:
        seen.append(asked.deadline_ms)
        raise UsageError("seen")

    with grpc_node(Stub(note)) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for timeout in (2.0, None):
            with pytest.raises(grpc.RpcError, match="seen"):
                send(channel, request(b"lamp").SerializeToString(), timeout=timeout)
    assert seen[0] is not None and 0.0 < seen[0] < 2000.0
    assert seen[1] is None


def test_a_caller_that_leaves_cancels_its_work() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def wait(_asked: InferRequest) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with grpc_node(Stub(wait)) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(PREDICT).future(request(b"lamp").SerializeToString())
        assert begun.wait(10) and not cancelled.is_set()
        call.cancel()
        assert cancelled.wait(10)
        cancelled.clear()
        with pytest.raises(grpc.RpcError) as raised:  # a deadline that passes is as good
            send(channel, request(b"lamp").SerializeToString(), timeout=0.2)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert cancelled.wait(10)


def test_a_call_under_way_is_answered_before_the_server_ends(release: Release) -> None:
    begun, inner = threading.Event(), models_of(release)

    async def slow(asked: InferRequest) -> InferResponse:
        begun.set()
        await asyncio.sleep(0.5)
        return await inner.infer("tiny", asked, Via("grpc"))

    with ThreadPoolExecutor(1) as pool:
        with grpc_node(Stub(slow)) as port:
            channel = grpc.insecure_channel(f"127.0.0.1:{port}")
            asking = pool.submit(send, channel, request(b"lamp").SerializeToString())
            assert begun.wait(10)
        answer = tfs_pb2.PredictResponse.FromString(asking.result())
        assert answer.outputs["label"].string_val == [b"lights"]
        with pytest.raises(grpc.RpcError):
            send(channel, request(b"lamp").SerializeToString(), timeout=1)
        channel.close()


def test_a_taken_port_is_named_with_the_cure(release: Release) -> None:
    models = models_of(release)
    with grpc_node(models) as port, pytest.raises(UsageError, match=rf"127.0.0.1:{port}.*choose another"):
        asyncio.run(start_grpc(models, f"127.0.0.1:{port}"))


def test_processes_share_a_port_only_if_told(release: Release) -> None:
    models = models_of(release)

    async def start_and_stop(port: int) -> None:
        other = await start_grpc(models, f"127.0.0.1:{port}", share_port=True)
        await other.server.stop(None)

    with grpc_node(models, share_port=True) as port:
        asyncio.run(start_and_stop(port))


def issue(authority: trustme.CA, folder: Path, clients: trustme.CA | None = None) -> Tls:
    """Writes a certificate for 127.0.0.1 into a folder; what was there is replaced."""
    issued, client_ca = authority.issue_cert("127.0.0.1"), None
    issued.cert_chain_pems[0].write_to_path(folder / "node.pem")
    issued.private_key_pem.write_to_path(folder / "node.key")
    if clients is not None:
        client_ca = folder / "clients.pem"
        clients.cert_pem.write_to_path(client_ca)
    return Tls(folder / "node.pem", folder / "node.key", client_ca)


def ask_over_tls(port: int, trusted: trustme.CA, mine: trustme.CA | None = None) -> bytes:
    shown = None if mine is None else mine.issue_cert("client")
    pair = (None, None) if shown is None else (shown.private_key_pem.bytes(), shown.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_channel_credentials(trusted.cert_pem.bytes(), *pair)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        return send(channel, b"", LIVE)


def refused(ask: Callable[..., bytes], *args: Any) -> bool:
    with pytest.raises(grpc.RpcError) as raised:
        ask(*args)
    return raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls_answers_those_who_trust_it_and_a_renewed_certificate_needs_no_restart(
    release: Release, tmp_path: Path
) -> None:
    ours, other = trustme.CA(), trustme.CA()
    tls = issue(ours, tmp_path)
    with grpc_node(models_of(release), tls=tls) as port:
        assert ask_over_tls(port, ours)
        assert refused(ask_over_tls, port, other)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert refused(send, channel, b"", LIVE)
        issue(other, tmp_path)
        assert ask_over_tls(port, other)
        for broken in (b"", b"-----"):  # whatever is found, the last certificate that could be used stays
            tls.certificate.write_bytes(broken)
            assert ask_over_tls(port, other)
        tls.certificate.unlink()
        assert ask_over_tls(port, other)


def test_mutual_tls_refuses_a_client_without_a_certificate_and_one_of_anothers(
    release: Release, tmp_path: Path
) -> None:
    ours, clients, other = trustme.CA(), trustme.CA(), trustme.CA()
    with grpc_node(models_of(release), tls=issue(ours, tmp_path, clients)) as port:
        assert refused(ask_over_tls, port, ours)
        assert refused(ask_over_tls, port, ours, other)
        assert ask_over_tls(port, ours, clients)
        other.cert_pem.write_to_path(tmp_path / "clients.pem")
        assert refused(ask_over_tls, port, ours, clients)
        assert ask_over_tls(port, ours, other)


@pytest.mark.parametrize("broken", ["node.pem", "node.key", "mismatch", "gone"])
def test_a_certificate_that_cannot_be_used_is_named_before_anything_listens(
    release: Release, broken: str, tmp_path: Path
) -> None:
    tls = issue(trustme.CA(), tmp_path)
    if broken == "mismatch":
        trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(tls.key)
    elif broken == "gone":
        tls.key.unlink()
    else:
        (tmp_path / broken).write_bytes(b"-----")
    with pytest.raises(UsageError, match="certificate"), grpc_node(models_of(release), tls=tls):
        pass


def test_grpc_is_imported_only_with_the_server() -> None:
    code = (
        "import sys, tianti.serving, tianti.serving.grpc, tianti.serving.oip; before = 'grpc' in sys.modules;"
        "import tianti.serving.grpc.server; print(before, 'grpc' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "True"]


def test_a_missing_extra_is_named_with_its_cure() -> None:
    code = (
        "import sys; sys.modules['grpc'] = None\n"
        "from tianti.errors import MissingExtraError\n"
        "try:\n    import tianti.serving.grpc.server\nexcept MissingExtraError as error:\n    print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'tianti[grpc]'" in printed
