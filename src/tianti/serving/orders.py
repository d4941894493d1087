"""Which models were unloaded while the node runs, and loaded again: what all of its processes go by.

    RUN/orders     ["unload","assistant"]     ["load","assistant"]     a line an order, in the order in which they came

Not here: loading (`catalogue`), when to look (`build`).
Invariant: every process sees the same orders, also one that takes a dead one's place.
"""

from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

_Line = tuple[Literal["load", "unload"], str]


class Orders:
    """`run`: the folder of several processes; None: there is one, and nobody to tell."""

    def __init__(self, run: Path | None) -> None:
        self._path = None if run is None else run / "orders"
        self._given = b""

    def give(self, order: Literal["load", "unload"], name: str) -> None:
        """Have all processes load or unload a model."""
        line = b"\n" + msgspec.json.encode((order, name)) + b"\n"  # what a crash cut off is not continued
        if self._path is None:
            self._given += line
            return
        with self._path.open("ab", buffering=0) as file:
            file.write(line)

    def stamp(self) -> int:
        """Another one after every order."""
        return len(self._read())

    def unloaded(self) -> set[str]:
        """The models that are not to be loaded."""
        found: set[str] = set()
        for line in self._read().splitlines():
            with suppress(msgspec.DecodeError):  # cut off, or not whole yet
                order, name = msgspec.json.decode(line, type=_Line)
                (found.add if order == "unload" else found.discard)(name)
        return found

    def _read(self) -> bytes:
        if self._path is None:
            return self._given
        return self._path.read_bytes() if self._path.exists() else b""
