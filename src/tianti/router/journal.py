"""A node's decision log: one JSON line for every request that entered the ladder here, appended to a file.

A thread of its own writes, so that no request waits for a disk, and some lines at once: a thread that wakes for each
would take the processor from the next request.
Not here: what a line says (`spec.logged`), reading it again (`pipeline.decisions`).
Invariants: whatever becomes of the file, no request is lost or late; lines that could not be written are said once in
the log of the program; a line that a crash cut off is never continued by the next.
"""

import atexit
import logging
import threading
import time
from collections import deque
from pathlib import Path

import msgspec

from tianti.errors import UsageError
from tianti.spec import Prediction, Tier
from tianti.spec.logged import logged

_WAITING = 10_000  # lines that a slow disk may leave unwritten; more are dropped
_GATHER_S = 0.2  # before lines are written: what a crash of the program loses
_BATCH = 256
_CLOSING_S = 5.0
_log = logging.getLogger("tianti")


class Journal:
    """Safe to use from several threads; several processes may append to one file.

    Args:
        path: the file; it is made where there is none, and its folder is not.
        texts: keep the raw texts too.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path, texts: bool = False) -> None:
        try:
            torn = _ends_within_a_line(path)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(f"log: expected a file that can be written, got {path}: {error}; name another") from error
        self._path, self._texts, self._torn = path, texts, torn
        self._said = False
        self._lines: deque[bytes] = deque()
        self._some, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="tianti-journal", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # for a program that forgets to

    def write(self, prediction: Prediction, release: str, entry: Tier, deadline_ms: float, text: str) -> None:
        """Have a line written soon. Never raises and never waits."""
        if len(self._lines) >= _WAITING:
            self._say("its disk does not keep up")
            return
        line = logged(prediction, time.time(), release, entry, deadline_ms, text if self._texts else None)
        self._lines.append(msgspec.json.encode(line) + b"\n")
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what is left, and end the thread. Closing twice does no harm."""
        atexit.unregister(self.close)
        self._ending.set()
        self._some.set()
        self._thread.join(_CLOSING_S)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._some.wait()
            self._ending.wait(_GATHER_S)
            self._some.clear()  # before the lines are taken: what comes meanwhile sets it again
            while self._lines:
                self._append(b"".join(self._lines.popleft() for _ in range(min(len(self._lines), _BATCH))))
        self._file.close()

    def _append(self, lines: bytes) -> None:
        content = b"\n" + lines if self._torn else lines
        try:
            self._torn = self._file.write(content) != len(content)
            if self._torn:
                self._say("its disk took only a part")
        except OSError as error:
            self._say(str(error))

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            _log.warning("the decision log %s lacks decisions from now on: %s; requests are answered", self._path, why)


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
