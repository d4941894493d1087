"""Certificates for tests: an authority for nodes, one for callers, and what they sign; PEM files in a folder."""

from pathlib import Path
from typing import NamedTuple

import trustme

from tianti.runtimes.trust import Trust
from tianti.serving.tls import Tls


class Pair(NamedTuple):
    certificate: Path
    key: Path


class Papers:
    """Of one folder; `issue` again for what comes later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.nodes, self.callers, self.strangers = trustme.CA(), trustme.CA(), trustme.CA()
        self.nodes_ca = self.write("nodes-ca.pem", self.nodes.cert_pem.bytes())
        self.callers_ca = self.write("callers-ca.pem", self.callers.cert_pem.bytes())
        self.strangers_ca = self.write("strangers-ca.pem", self.strangers.cert_pem.bytes())
        self.node = self.issue(self.nodes, "node")
        self.caller = self.issue(self.callers, "caller")
        self.tls = Tls(*self.node)
        self.mutual = Tls(*self.node, self.callers_ca)
        self.trust = Trust(ca=self.nodes_ca)
        self.mutual_trust = Trust(self.nodes_ca, *self.caller)

    def write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path

    def issue(self, authority: trustme.CA, name: str) -> Pair:
        signed = authority.issue_cert("localhost", "127.0.0.1")
        chain = b"".join(blob.bytes() for blob in signed.cert_chain_pems)
        return Pair(self.write(f"{name}.pem", chain), self.write(f"{name}.key", signed.private_key_pem.bytes()))
