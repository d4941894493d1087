"""Work that one of a node's processes does for all of them, again and again; if it dies, another one takes over.

Not here: the work. Invariant: no two processes do it at once, since who does holds folder/lock.
"""

import contextlib
import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from tianti.errors import TiantiError
from tianti.update.schedule import next_wait_s

_LONGEST_S = 300.0  # between two tries, however many have failed
_END_S = 2.0
_log = logging.getLogger("tianti")


class Leading:
    """Does one work in a thread of its own.

    Args:
        folder: whose lock decides who does it.
        turn: the work; a TiantiError is logged, and the next turn comes later.
        every_s: between two turns, on average.
    """

    def __init__(self, folder: Path, turn: Callable[[], object], every_s: float) -> None:
        self._folder, self._turn, self._every_s = folder, turn, every_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0

    def prepare(self, ready: Path) -> None:
        """Do a first turn, and wait for it, where this file is not there yet."""
        if not ready.exists():
            with FileLock(self._folder / "lock"):
                if not ready.exists():
                    self._try()

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="tianti-leading", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End. A turn that takes long is cut off with the process, which it has to outlast."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _run(self) -> None:
        lock = FileLock(self._folder / "lock")
        while not self._ended.wait(min(_LONGEST_S, next_wait_s(self._every_s, self._failures, random.random()))):
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                self._try()
        lock.release(force=True)

    def _try(self) -> None:
        try:
            self._turn()
            self._failures = 0
        except TiantiError as error:
            _log.log(logging.WARNING if not self._failures else logging.DEBUG, "%s", error)
            self._failures += 1
        except Exception:  # a bug, which must not end the work
            _log.exception("%s is not looked after, by an error that is not its own", self._folder)
            self._failures += 1
