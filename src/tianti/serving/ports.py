"""Take a port, for one process or for several that answer on it together.

Not here: listening (`serve`). Invariant: until somebody listens callers are refused at once; no two nodes share a port.
"""

import os
import socket
import sys

from tianti.errors import UsageError

SPREADS = sys.platform == "linux"
"""Does the system spread connections over several sockets of one port? Elsewhere all processes listen on one."""


def open_port(host: str, port: int, option: str = "--port") -> socket.socket:
    """Take a port without listening on it yet; 0 takes a free one. `option`: that gave it.

    Raises:
        UsageError: it is taken, or there is no such host or port.
    """
    address = _address(host)
    opened = _make_socket(address)
    try:
        _bind(opened, address, port)
    except (OSError, OverflowError) as error:
        opened.close()
        raise UsageError(f"port {port} of {host} cannot be opened: {error}; choose another, or {option} 0") from error
    return opened


def open_ports(host: str, port: int, count: int, option: str = "--port") -> list[socket.socket]:
    """Take one port for several processes, with a socket for each where the system spreads connections over them.

    A connection waits in the queue of its socket, so one that is kept open here outlives the process that it is for.
    Raises as `open_port`.
    """
    first = open_port(host, port, option)
    if not SPREADS:
        return [first] * count
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # now that it is ours, for no other node could bind it
    return [first, *(_join(first) for _ in range(count - 1))]


def _join(first: socket.socket) -> socket.socket:
    host, port = first.getsockname()[:2]
    opened = _make_socket(host)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        opened.setsockopt(socket.SOL_SOCKET, option, 1)
    opened.bind((host, port))
    return opened


def _address(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _make_socket(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: 40 ms an answer otherwise
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def let_restart(opened: socket.socket) -> None:
    """Before it listens: a node that takes the port later does not have to wait for the connections of this one."""
    if os.name == "posix":
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _bind(opened: socket.socket, address: str, port: int) -> None:
    """Take it alone: while two have the option, both may take a port that neither listens on yet."""
    try:
        opened.bind((address, port))
    except OSError:
        if os.name != "posix":  # elsewhere the option lets two programs share a port
            raise
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((address, port))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
