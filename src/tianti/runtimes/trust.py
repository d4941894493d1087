"""How our nodes above are known, and what this one shows them: authorities, certificates, tokens.

Not here: sockets (`http`), the node's own side (`serving.tls`).
Invariants: a secret comes from a file or a named environment variable, never from a URL; none is sent in the clear to
another machine.
"""

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tianti.errors import UsageError

if TYPE_CHECKING:
    import ssl  # OpenSSL is read when a connection needs it, not by those who stay on the device


class Trust(NamedTuple):
    """Files are PEM, and read again when they change.

    `ca`: the authority that signs the nodes' certificates; default: those that the world trusts. `certificate`, `key`:
    what this side shows, where nodes ask for one. `token_env`, `token_file`: the variable or the file that holds a
    token (`tianti token create`).
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token_env: str | None = None
    token_file: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All that it names."""
        return [path for path in (self.ca, self.certificate, self.key, self.token_file) if path is not None]


def client_context(trust: Trust) -> "ssl.SSLContext":
    """What connections to https URLs are made with, once it is given the files (`take_up`)."""
    import ssl

    import httpx2

    if trust.ca is None:
        return httpx2.create_ssl_context(trust_env=False)
    context = _client_side()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def take_up(context: "ssl.SSLContext", trust: Trust) -> None:
    """Give a context what the files hold now; an authority is only ever added.

    Raises:
        UsageError: a file cannot be used.
    """
    if (trust.certificate is None) != (trust.key is None):
        raise UsageError("expected a certificate and its key, got one of them; name both")
    if trust.ca is not None:
        context.load_verify_locations(cadata=read_certificates(trust.ca, "the upstream's authority"))
    if trust.certificate is not None and trust.key is not None:
        load_pair(_client_side(), trust.certificate, trust.key)  # a bad pair spoils a context
        load_pair(context, trust.certificate, trust.key)


def token_header(trust: Trust) -> dict[str, str]:
    """The header that carries the token, where there is one.

    Raises:
        UsageError: it is not there, or cannot be in a header.
    """
    if trust.token_env is not None and trust.token_file is not None:
        raise UsageError("expected the token in an environment variable or in a file, got both; name one")
    if trust.token_env is not None:
        where = f"the environment variable {trust.token_env}"
        return bearer("the upstream's token", where, os.environ.get(trust.token_env, ""))
    if trust.token_file is not None:
        return bearer("the upstream's token", str(trust.token_file), _read(trust.token_file, "the upstream's token"))
    return {}


def bearer(what: str, where: str, secret: str) -> dict[str, str]:
    """The header that carries a secret found there.

    Raises:
        UsageError: there is none, or it cannot be in a header; the message does not hold it.
    """
    secret = secret.strip()
    if not secret:
        raise UsageError(f"{what}: expected a key in {where}, got none")
    if not (secret.isascii() and secret.isprintable()):
        raise UsageError(f"{what}: the key in {where} has characters that no header can hold")
    return {"authorization": f"Bearer {secret}"}


def load_pair(context: "ssl.SSLContext", certificate: Path, key: Path) -> None:
    """Give a context its certificate.

    Raises:
        UsageError: a file cannot be read or is not PEM, or they do not belong together; says which.
    """
    import ssl

    read_certificates(certificate, "certificate")
    _read(key, "key")
    try:
        context.load_cert_chain(certificate, key, _ask_nobody)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(f"key: {key} is not the key of the certificate {certificate}; name its own") from error
        raise UsageError(f"key: expected a private key in PEM, got {key}, which holds none that can be read") from error


def read_certificates(path: Path, what: str) -> str:
    """The text of a file of PEM certificates.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    import ssl

    text = _read(path, what).encode("ascii", "ignore").decode()  # around the PEM may stand anything
    try:
        _client_side().load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"{what}: expected certificates in PEM, got {path}, which holds none that can be read"
        ) from error
    return text


def is_loopback(host: str) -> bool:
    """Is this an address of this machine that no other one reaches? A name is not looked up, but for `localhost`."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _client_side() -> "ssl.SSLContext":
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"{what}: {path} cannot be read: {error.strerror}; name a file that can") from error


def _ask_nobody() -> str:
    """OpenSSL would ask on the terminal, and wait."""
    raise UsageError("key: expected one without a passphrase, got an encrypted one; decrypt it: openssl pkey")
