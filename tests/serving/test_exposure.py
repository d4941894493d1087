"""A node that others can reach is one that knows its callers, over TLS; or it is told not to."""

from pathlib import Path

import pytest

from tianti.errors import UsageError
from tianti.serving.access import Access, Scope
from tianti.serving.exposure import check_exposure
from tianti.serving.tls import Tls
from tianti.serving.tokens import create_token

TLS = Tls(Path("node.pem"), Path("node.key"))
MUTUAL = TLS._replace(client_ca=Path("ca.pem"))
ELSEWHERE = ["0.0.0.0", "::", "", "192.168.1.5", "8.8.8.8", "::ffff:8.8.8.8", "fe80::1"]


@pytest.fixture
def access(tmp_path: Path) -> Access:
    create_token(tmp_path / "tokens.json", "shop", (Scope.PREDICT,))
    return Access(tmp_path / "tokens.json")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_what_only_this_machine_reaches_needs_nothing(host: str) -> None:
    check_exposure(host, None, None, insecure=False)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_what_others_reach_needs_tls_and_known_callers(host: str, access: Access) -> None:
    for has, tls, lacks in (
        (None, None, "--tls-cert.* and .*--tokens"),
        (access, None, "lacks TLS"),
        (None, TLS, "--client-ca"),
    ):
        with pytest.raises(UsageError, match=lacks):
            check_exposure(host, has, tls, insecure=False)
    check_exposure(host, access, TLS, insecure=False)
    check_exposure(host, None, MUTUAL, insecure=False)
    check_exposure(host, None, None, insecure=True)


def test_a_name_is_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"here": ["127.0.0.1", "::1"], "both": ["127.0.0.1", "10.0.0.1"]}
    monkeypatch.setattr(
        "tianti.serving.exposure.socket.getaddrinfo",
        lambda host, *_, **__: [(0, 0, 0, "", (ip, 0)) for ip in found[host]],
    )
    check_exposure("here", None, None, insecure=False)
    with pytest.raises(UsageError, match="from elsewhere"):
        check_exposure("both", None, None, insecure=False)


@pytest.mark.parametrize("host", ["no such name", "256.256.256.256.invalid", "a" * 300])
def test_a_name_that_is_none_is_named(host: str) -> None:
    with pytest.raises(UsageError, match="expected an address of this machine"):
        check_exposure(host, None, None, insecure=False)
