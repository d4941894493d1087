"""What is made of files that others may change meanwhile: certificates, tokens.

Not here: what they hold. Invariants: a change is noticed within a second of use, without a restart; a change that
cannot be used leaves what was made before, and is logged once.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

_log = logging.getLogger("tianti")
_EVERY_S = 1.0

T = TypeVar("T")


class Watched(Generic[T]):
    """A value made by `make`, which reads `paths`; made anew when one of them changes. Raises at first as `make`."""

    def __init__(
        self, paths: Sequence[Path], make: Callable[[], T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._paths, self._make, self._clock = paths, make, clock
        self._seen = self._stamps()  # before it is read: what is written meanwhile is seen the next time
        self._value = make()
        self._look_at_s = clock() + _EVERY_S

    def get(self) -> T:
        """The value of now."""
        now_s = self._clock()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + _EVERY_S
            self._look()
        return self._value

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._value = self._make()
        except Exception as error:  # whatever a file holds, who uses this goes on
            _log.error("%s; what was read before stays in use", error)

    def _stamps(self) -> list[tuple[int, ...] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, ...] | None:
    """More than the time: a file that is renamed into place may have the old one's, and other permissions are news."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
