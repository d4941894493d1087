"""One file for each process of a node, so that whichever is asked can tell of all of them.

    RUN/0.worker   RUN/1.worker   ...        one place a process; written once a second and before each answer

Not here: what is counted (`tally`).
Invariants: what was shown is on disk, and a process that takes a dead one's place goes on from its numbers, so that no
counter ever goes back; the gauges of a process that has stopped writing are not counted. Where the disk fails, that is
said once and each process tells of itself.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tianti.telemetry.tally import Snapshot, merge

_EVERY_S = 1.0
_ALIVE_S = 5.0  # since it last wrote
_log = logging.getLogger("tianti")
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Place:
    """This process's file among those of its node.

    Args:
        folder: made for this run of the node, and gone with it; the same for all of its processes.
        number: of the process, from 0; no two that live have the same.
        take: this process's own numbers.
    """

    def __init__(self, folder: Path, number: int, take: Callable[[], Snapshot]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{number}.worker"
        self._take = take
        self._before = msgspec.structs.replace(_read(self._path), gauges={})
        self._said = False
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tianti-metrics", daemon=True)
        self._thread.start()

    def everybody(self) -> tuple[Snapshot, int]:
        """The numbers of the whole node, and how many of its processes live."""
        own = self._write(time.time())
        others = [_read(path) for path in sorted(self._path.parent.glob("*.worker")) if path != self._path]
        alive = [time.time() - each.written_s < _ALIVE_S for each in others]
        shown = [
            each if lives else msgspec.structs.replace(each, gauges={})
            for each, lives in zip(others, alive, strict=True)
        ]
        return merge([own, *shown]), 1 + sum(alive)

    def close(self) -> None:
        """Leave the last numbers behind, as those of a process that has ended."""
        self._ending.set()
        self._thread.join()
        self._write(0.0)

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_S):
            self._write(time.time())

    def _write(self, now_s: float) -> Snapshot:
        with self._lock:  # two writers' numbers could come to the disk in the wrong order
            snapshot = merge([self._before, self._take()])
            snapshot.written_s = now_s
            temporary = self._path.with_suffix(".tmp")
            try:
                temporary.write_bytes(msgspec.msgpack.encode(snapshot))
                os.replace(temporary, self._path)  # no fsync: the folder does not outlive the run
            except OSError as error:
                if not self._said:
                    _log.warning("other processes do not see this one's metrics: %s", error)
                self._said = True
            return snapshot


def _read(path: Path) -> Snapshot:
    try:
        return _decode(path.read_bytes())
    except OSError:  # there is none, or it is being replaced
        return Snapshot()
