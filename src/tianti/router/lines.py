"""JSON lines of a local file, written by a thread of their own, so that no request waits for a disk.

It writes some lines at once: a thread that wakes for each would take the processor from the next request.
Not here: what a line says (`journal`, `egress`).
Invariants: whatever becomes of the file, no request is lost or late; lines that could not be written are said once in
the log of the program; a line that a crash cut off is never continued by the next.
"""

import atexit
import logging
import threading
from collections import deque
from pathlib import Path

import msgspec

from tianti.errors import UsageError

_WAITING = 10_000  # lines that a slow disk may leave unwritten; more are dropped
_GATHER_S = 0.2  # before lines are written: what a crash of the program loses
_BATCH = 256
_CLOSING_S = 5.0
_log = logging.getLogger("tianti")


class Lines:
    """Safe to use from several threads; several processes may append to one file.

    Args:
        path: the file; it is made where there is none, and its folder is not.
        option: what names it, for an error's message.
        lacks: what is missing where it cannot be written, such as `the decision log lacks decisions`.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path, option: str, lacks: str) -> None:
        try:
            torn = _ends_within_a_line(path)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(
                f"{option}: expected a file that can be written, got {path}: {error}; name another"
            ) from error
        self._path, self._lacks, self._torn = path, lacks, torn
        self._said = False
        self._lines: deque[bytes] = deque()
        self._some, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tianti-{option}", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # for a program that forgets to

    @property
    def has_room(self) -> bool:
        """Whether another line is taken; where none is, the log says so."""
        if len(self._lines) < _WAITING:
            return True
        self._say("its disk does not keep up")
        return False

    def put(self, line: msgspec.Struct) -> None:
        """Have a line written soon. Never raises and never waits."""
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
            _log.warning("%s from now on, in %s: %s; requests are answered", self._lacks, self._path, why)


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
