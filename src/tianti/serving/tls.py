"""The node's side of TLS: its certificate, and whether callers must show one of theirs (mutual TLS).

Not here: sockets (`serve`), the asking side (`runtimes.trust`).
Invariants: TLS 1.2 at least; files that change are taken up within a second, for connections that are made from then
on; files that cannot be used leave the certificate of before.
"""

import ssl
from pathlib import Path
from typing import NamedTuple

from tianti.runtimes.trust import load_pair, read_certificates
from tianti.store import Watched


class Tls(NamedTuple):
    """PEM files: the node's certificate (and those up to its authority), its key, and who signs the callers' ones."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


def server_context(tls: Tls) -> ssl.SSLContext:
    """What a server listens with.

    Raises:
        UsageError: a file cannot be used; says which.
    """
    files = [path for path in tls if path is not None]
    current = Watched(files, lambda: _read(tls))
    front = _read(tls)

    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = current.get()

    # each connection takes the context of now: one that is changed in place keeps authorities that were removed, and
    # is spoilt by a certificate whose key is not there yet
    front.sni_callback = choose
    return front


def _read(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, tls.certificate, tls.key)
    if tls.client_ca is not None:
        context.load_verify_locations(cadata=read_certificates(tls.client_ca, "the callers' authority"))
        context.verify_mode = ssl.CERT_REQUIRED
        # a session that is resumed is not verified again, and would outlive the removal of its authority; Python can
        # switch that off in TLS 1.3 only
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
    return context
