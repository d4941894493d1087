"""The end of a server's sockets: whoever had connected is answered, and nobody can hold it up for ever.

Not here: when to end (`serve`), what one connection does then (`connection`).
Invariants: a request that was whole when the server was told to stop is answered; whatever callers do, it is over
within BACKLOG_S and DRAIN_S, and no connection is left; a second signal does not wait.
"""

import asyncio
import os
import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.server import ServerState

DRAIN_S = 30.0  # for requests under way
BACKLOG_S = 5.0  # for those to be let in that had connected
_GRACE_S = 0.25  # and to send theirs
_TURN_S = 0.05


async def let_in(listening: socket.socket, state: "ServerState", now: Callable[[], bool]) -> None:
    """Wait for those in the backlog, which a busy loop takes one by one, and then for what they ask.

    `now`: is it time to end at once?
    """
    if os.name == "posix":
        listening.listen(0)  # the kernel lets nobody else in
    began_s = time.monotonic()
    until_s = began_s + _GRACE_S
    while (now_s := time.monotonic()) < until_s and not now():
        if _someone_waits(listening):
            until_s = min(now_s + _GRACE_S, began_s + BACKLOG_S)
        elif not state.connections:
            return
        await asyncio.sleep(_GRACE_S / 50)


async def finish(state: "ServerState", also: "asyncio.Future[None]", now: Callable[[], bool]) -> None:
    """Let what is under way be answered, and `also` be done; then cut what is left."""
    for connection in list(state.connections):
        connection.shutdown()
    until_s = time.monotonic() + DRAIN_S
    while (state.connections or state.tasks or not also.done()) and time.monotonic() < until_s and not now():
        await asyncio.sleep(_TURN_S)
    for connection in list(state.connections):
        if connection.transport is not None:
            connection.transport.abort()
    if state.connections or state.tasks:
        await asyncio.sleep(_TURN_S)  # they are told that nobody waits any more
    for task in list(state.tasks):
        task.cancel()


def _someone_waits(listening: socket.socket) -> bool:
    """Is there a connection in the backlog?"""
    return bool(select.select([listening], [], [], 0.0)[0])
