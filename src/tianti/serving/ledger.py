"""The audits of a node that has several processes: one sequence, which each of them tests.

    RUN/<release>.audits     a byte an audit: which certified point it was under, and whether the answer differed

A test that may be looked at any time promises how often it raises a false alarm, ever. As many tests as processes would
raise that many times as many, each on its share of the audits; and an alarm in one would leave the others as they are.
Not here: the test (`router.control`), when to look (`build`).
Invariants: all controls see the same audits in the same order; one that begins later sees those of before first.
"""

import logging
from contextlib import suppress
from pathlib import Path
from threading import Lock

from tianti.router import Node

_log = logging.getLogger("tianti")


class Ledger:
    """Safe to use from several threads; `run`: the folder of the node's processes."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._books: dict[Node, _Book] = {}
        self._lock = Lock()

    def join(self, node: Node) -> None:
        """From now on this node's audits are everybody's, and theirs are its own."""
        book = _Book(self._run / f"{node.release}.audits", node)
        with self._lock:
            book.catch_up()
            self._books[node] = book

    def leave(self, node: Node) -> None:
        """It answers no longer."""
        with self._lock:
            del self._books[node]

    def catch_up(self) -> None:
        """Tell every control what has been found since."""
        with self._lock:
            for book in self._books.values():
                book.catch_up()


class _Book:
    def __init__(self, path: Path, node: Node) -> None:
        self._path, self._read = path, 0
        self._control = node.control
        self._alphas = node.certificate.certified_alphas
        self._said = False
        path.touch()
        node.control.report = self._report

    def _report(self, alpha: float, differs: bool) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(bytes([2 * self._alphas.index(alpha) + differs]))
        except (OSError, ValueError) as error:
            if not self._said:
                _log.warning("other processes do not see this one's audits: %s", error)
            self._said = True
            self._control.audited(alpha, differs)

    def catch_up(self) -> None:
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read)
            found = file.read()
            self._read += len(found)
            for each in found:
                self._control.audited(self._alphas[each >> 1], bool(each & 1))
