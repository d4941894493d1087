"""Whether a node may be reached from elsewhere: only over TLS, and by callers that it knows.

Not here: either of them (`tls`, `access`). Invariant: who says nothing about safety has a node that stays local.
"""

import socket

from tianti.errors import UsageError
from tianti.runtimes.trust import is_loopback
from tianti.serving.access import Access
from tianti.serving.tls import Tls


def check_exposure(host: str, access: Access | None, tls: Tls | None, insecure: bool) -> None:
    """Refuse a host that others can reach where anybody could ask, or read what is asked.

    Raises:
        UsageError: it is such a host, or a name that cannot be looked up.
    """
    if insecure or _is_local(host):
        return
    lacks = []
    if tls is None:
        lacks.append("TLS (--tls-cert FILE --tls-key FILE)")
    if access is None and (tls is None or tls.client_ca is None):
        lacks.append("a way to know callers (--tokens FILE, or --client-ca FILE)")
    if lacks:
        raise UsageError(
            f"host: {host!r} can be reached from elsewhere, and lacks {' and '.join(lacks)}; give it, or serve on "
            "127.0.0.1, or say --insecure where something in front of the node does both"
        )


def _is_local(host: str) -> bool:
    """All addresses that a name has must be local; none at all means every interface."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"host: expected an address of this machine or its name, got {host!r}: {error}") from error
    return all(is_loopback(str(address[0])) for *_, address in found)
