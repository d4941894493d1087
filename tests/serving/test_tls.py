"""TLS between a real server and our own client, on loopback: who is refused, and what changes without a restart."""

import asyncio
import http.client
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

import tianti.serving.tls
from tests.asgi_server import LOOPS, asgi_server, echo, reply
from tests.fault_server import answer_of
from tests.papers import Papers
from tianti import Trust, load
from tianti.cli.answer import predict_command
from tianti.errors import UpstreamError, UsageError
from tianti.package import Release
from tianti.runtimes.http import Connection
from tianti.serving.access import Access, Scope
from tianti.serving.connection import Limits, guarded
from tianti.serving.tls import Tls, server_context
from tianti.serving.tokens import create_token, revoke_tokens
from tianti.spec import Reason, Tier

BODY = b'{"a": 1}'


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


@contextmanager
def serving(tls: Tls, app: object = echo, **options: object) -> Iterator[str]:
    with asgi_server(app, ssl_context_factory=lambda *_: server_context(tls), **options) as port:  # type: ignore[arg-type]
        yield f"https://127.0.0.1:{port}"


def ask(url: str, trust: Trust) -> bytes:
    async def run() -> bytes:
        connection = Connection(url, trust=trust)
        try:
            return await connection.call("/", 10.0, BODY)
        finally:
            await connection.aclose()

    return asyncio.run(run())


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at with every use."""
    monkeypatch.setattr("tianti.store.watched._EVERY_S", 0.0)


def test_a_node_with_a_private_authority_answers_who_trusts_it(papers: Papers) -> None:
    with serving(papers.tls) as url:
        assert ask(url, papers.trust) == BODY


@pytest.mark.parametrize("known", ["the world's", "a stranger's"])
def test_control_who_trusts_another_authority_refuses_the_node(papers: Papers, known: str) -> None:
    trust = Trust(ca=None if known == "the world's" else papers.strangers_ca)
    with serving(papers.tls) as url, pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url, trust)


def test_control_a_certificate_for_another_name_is_refused(papers: Papers) -> None:
    signed = papers.nodes.issue_cert("elsewhere.example")
    papers.write("node.pem", signed.cert_chain_pems[0].bytes())
    papers.write("node.key", signed.private_key_pem.bytes())
    with serving(papers.tls) as url, pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url, papers.trust)


def test_a_caller_with_a_certificate_is_answered_and_one_without_or_with_anothers_is_not(papers: Papers) -> None:
    strange = papers.issue(papers.strangers, "strange")
    with serving(papers.mutual) as url:
        assert ask(url, papers.mutual_trust) == BODY
        for trust in (papers.trust, papers.trust._replace(certificate=strange.certificate, key=strange.key)):
            with pytest.raises(UpstreamError, match="cannot be asked"):
                ask(url, trust)


def test_http_on_a_port_of_tls_and_old_tls_get_nothing(papers: Papers) -> None:
    with serving(papers.tls) as url:
        port = int(url.rpartition(":")[2])
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.request("GET", "/")
            plain.getresponse()
        plain.close()
        with pytest.raises(UpstreamError):
            ask(url.replace("https", "http"), Trust())
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(papers.nodes_ca)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        secure = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=old)
        with pytest.raises(OSError):
            secure.request("GET", "/")
        secure.close()
        assert ask(url, papers.trust) == BODY  # and the node goes on


@pytest.mark.parametrize("loop", LOOPS)
def test_the_limits_of_a_connection_hold_within_tls_and_who_never_greets_keeps_nobody_out(
    papers: Papers, loop: str
) -> None:
    kind = guarded(Limits(head_bytes=2000, head_s=0.3))
    context = ssl.create_default_context(cafile=str(papers.nodes_ca))
    with serving(papers.mutual._replace(client_ca=None), http=kind, loop=loop) as url, ExitStack() as silent:
        port = int(url.rpartition(":")[2])
        for _ in range(20):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert ask(url, papers.trust) == BODY
        for sent, status in ((b"GET / HTTP/1.1\r\nx: " + b"x" * 5000, 431), (b"GET /", 408), (b"\0", 400)):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.sendall(sent)
                assert secure.recv(65_536).startswith(b"HTTP/1.1 %d" % status)
                while secure.recv(65_536):
                    pass


@pytest.mark.usefixtures("_at_once")
def test_a_new_certificate_is_shown_without_a_restart(papers: Papers) -> None:
    with serving(papers.tls) as url:
        assert ask(url, papers.trust) == BODY
        papers.issue(papers.strangers, "node")
        with pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(url, papers.trust)
        assert ask(url, Trust(ca=papers.strangers_ca)) == BODY


@pytest.mark.usefixtures("_at_once")
def test_a_certificate_whose_key_is_not_there_yet_changes_nothing(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(papers.tls) as url, caplog.at_level(logging.ERROR, "tianti"):
        key = papers.node.key.read_bytes()
        papers.issue(papers.nodes, "node")
        new = papers.node.key.read_bytes()
        papers.node.key.write_bytes(key)
        assert [ask(url, papers.trust) for _ in range(2)] == [BODY] * 2
        assert len(caplog.records) == 1 and "is not the key of" in caplog.text
        papers.node.key.write_bytes(new)
        assert ask(url, papers.trust) == BODY
        assert len(caplog.records) == 1


@pytest.mark.usefixtures("_at_once")
def test_a_callers_certificate_whose_key_is_not_there_yet_changes_nothing(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    async def once(scope: dict, receive: object, send: object) -> None:
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def run(url: str) -> None:
        connection = Connection(url, trust=papers.mutual_trust)
        await connection.call("/", 10.0)
        key = papers.caller.key.read_bytes()
        papers.issue(papers.callers, "caller")
        new = papers.caller.key.read_bytes()
        for content in (key, key, new):
            papers.caller.key.write_bytes(content)
            await connection.call("/", 10.0)
        await connection.aclose()

    with serving(papers.mutual, once) as url, caplog.at_level(logging.ERROR, "tianti"):
        asyncio.run(run(url))
    assert "is not the key of" in caplog.text


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("tickets", [None, 2])
def test_callers_of_an_authority_that_was_removed_are_refused_also_where_they_resume_a_session(
    papers: Papers, tickets: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second case is the control: a node that gave out tickets would go on answering."""
    if tickets is not None:
        monkeypatch.setattr(tianti.serving.tls, "_read", lambda tls: giving_tickets(read(tls), tickets))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(papers.nodes_ca)
    context.load_cert_chain(*papers.caller)
    with serving(papers.mutual) as url:
        port = int(url.rpartition(":")[2])
        session = raw(port, context, None)
        assert ask(url, papers.mutual_trust) == BODY
        papers.write("callers-ca.pem", papers.strangers.cert_pem.bytes())
        with pytest.raises(UpstreamError):
            ask(url, papers.mutual_trust)
        if tickets is None:
            with pytest.raises(OSError):
                raw(port, context, session)
        else:
            raw(port, context, session)


read = tianti.serving.tls._read


def giving_tickets(context: ssl.SSLContext, count: int) -> ssl.SSLContext:
    context.num_tickets = count
    return context


def raw(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """One request over a connection that resumes a session; gives the session of that one."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        if not secure.recv(1000).startswith(b"HTTP/1.1 200"):
            raise OSError("refused")
        return secure.session


@pytest.mark.usefixtures("_at_once")
def test_a_caller_takes_up_its_new_certificate_and_token_without_a_restart(papers: Papers) -> None:
    seen = []

    async def note(scope: dict, receive: object, send: object) -> None:
        seen.append(dict(scope["headers"]).get(b"authorization"))
        await reply(send, b"{}")

    token = papers.write("token", b"first\n")

    async def run(url: str) -> None:
        connection = Connection(url, trust=papers.mutual_trust._replace(token_file=token))
        await connection.call("/", 10.0)
        token.write_bytes(b"second")
        await connection.call("/", 10.0)
        await connection.aclose()

    with serving(papers.mutual, note) as url:
        asyncio.run(run(url))
    assert seen == [b"Bearer first", b"Bearer second"]


def test_the_command_line_climbs_with_what_it_is_told(papers: Papers, release: Release, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    token = papers.write("token", create_token(tokens, "me", (Scope.PREDICT,)).encode())
    ca, certificate, key = map(str, (papers.nodes_ca, *papers.caller))
    trusting = ["--upstream-ca", ca, "--upstream-cert", certificate, "--upstream-key", key]
    with serving(papers.mutual, node_that_knows(Access(tokens), release.id)) as url:
        ask = ["--release", str(release.folder), "--upstream", url, "--deadline-ms", "5000", "luminaire"]
        said = [
            CliRunner().invoke(predict_command, options, catch_exceptions=False).stdout
            for options in ([*trusting, "--upstream-token-file", str(token), *ask], [*trusting, *ask], ask)
        ]
    assert ["  cloud  " in line for line in said] == [True, False, False]


@pytest.mark.parametrize(
    ("broken", "how"),
    [
        *((broken, how) for broken in ("certificate", "key", "client_ca") for how in ("missing", "junk")),
        ("certificate", "another's"),
        ("key", "another's"),
    ],
)
def test_an_error_says_which_file_is_wrong(papers: Papers, broken: str, how: str) -> None:
    path = getattr(papers.mutual, broken)
    path.unlink()
    if how == "junk":
        path.write_bytes(bytes(range(256)))
    if how == "another's":
        other = papers.issue(papers.nodes, "other")
        shutil.copy(getattr(other, broken), path)
    with pytest.raises(UsageError, match=r"node\.key" if how == "another's" else path.name):
        server_context(papers.mutual)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(papers: Papers) -> None:
    encrypt = ["openssl", "pkey", "-in", str(papers.node.key), "-aes128", "-passout", "pass:secret"]
    papers.node.key.write_bytes(subprocess.run(encrypt, check=True, capture_output=True).stdout)
    with pytest.raises(UsageError, match="passphrase"):
        server_context(papers.tls)


def node_that_knows(access: Access, release: str) -> object:
    """What a cloud node answers to one text, for who may ask."""

    async def app(scope: dict, receive: object, send: object) -> None:
        await receive()
        try:
            access.check(dict(scope["headers"]).get(b"authorization"), Scope.PREDICT)
        except Exception:
            await reply(send, b'{"error": "not known"}', 401)
        else:
            await reply(send, answer_of(release))

    return app


@pytest.mark.usefixtures("_at_once")
def test_a_ladder_climbs_over_mutual_tls_with_a_token_until_that_is_revoked(
    papers: Papers, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens.json"
    monkeypatch.setenv("EDGE_TOKEN", create_token(tokens, "edge", (Scope.PREDICT,)))
    trust = papers.mutual_trust._replace(token_env="EDGE_TOKEN")
    app = node_that_knows(Access(tokens), release.id)
    with (
        serving(papers.mutual, app) as url,
        load(release.folder, upstream=url, trust=trust, audits=0.0, deadline_ms=5000) as ladder,
        load(release.folder, upstream=url, trust=papers.mutual_trust, audits=0.0, deadline_ms=5000) as nobody,
    ):
        above = ladder.predict("luminaire")
        assert (above.tier, above.decision.certified) == (Tier.CLOUD, True)
        assert nobody.predict("luminaire").decision.reason is Reason.UPSTREAM_DOWN
        revoke_tokens(tokens, "edge")
        here = ladder.predict("luminaire")
        assert (here.tier, here.decision.reason) == (Tier.DEVICE, Reason.UPSTREAM_DOWN)
