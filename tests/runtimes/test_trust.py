"""What a caller is told of its own certificates and tokens, and what never leaves the machine."""

from pathlib import Path

import pytest

from tests.papers import Papers
from tianti import Trust
from tianti.errors import UsageError
from tianti.runtimes.http import Connection
from tianti.runtimes.trust import is_loopback


@pytest.mark.parametrize("url", ["http://edge:8081", "http://10.0.0.5:8081", "http://[2001:db8::1]:80"])
def test_a_token_is_not_sent_in_the_clear_to_another_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    with pytest.raises(UsageError, match="expected https://") as raised:
        Connection(url, trust=Trust(token_env="TOKEN"))
    assert "s3cret" not in str(raised.value)
    Connection(url)  # without a secret it may
    Connection("http://127.0.0.1:8081", trust=Trust(token_env="TOKEN"))
    Connection("http://[::1]:8081", trust=Trust(token_env="TOKEN"))


def test_what_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    papers = Papers(tmp_path)
    empty, binary = papers.write("empty", b"\n"), papers.write("binary", bytes(range(128, 256)))
    monkeypatch.setenv("NONE", "")
    wrong = {
        "name both": Trust(certificate=papers.caller.certificate),
        "not the key of": Trust(certificate=papers.caller.certificate, key=papers.node.key),
        "variable NONE, got none": Trust(token_env="NONE"),
        "empty, got none": Trust(token_file=empty),
        "no header can hold": Trust(token_file=binary),
        "gone cannot be read": Trust(token_file=tmp_path / "gone"),
        "no-ca cannot be read": Trust(ca=tmp_path / "no-ca"),
        "expected certificates in PEM": Trust(ca=papers.caller.key),
        "got both": Trust(token_env="HOME", token_file=empty),
    }
    for message, trust in wrong.items():
        with pytest.raises(UsageError, match=message):
            Connection("https://edge:8081", trust=trust)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
    ],
)
def test_what_is_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local
