"""Answers that were paid for, kept one by one: a process that is killed has lost none of them.

Not here: what an answer is; it is bytes here. No text is kept, only its SHA-256.
Invariant: an answer that was put is there after a crash; several processes may share the file.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tianti.errors import StoreError


class AnswerStore:
    """One SQLite file for the answers of one model. Every call opens it anew, so any thread may call.

    Raises:
        StoreError: the file cannot be made, read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make {path.parent}: {error.strerror}; choose a folder that can be written"
            ) from error
        self._run("CREATE TABLE IF NOT EXISTS answers (text TEXT PRIMARY KEY, answer BLOB NOT NULL)")

    def put(self, text: str, answer: bytes) -> None:
        """Keep the answer to a text."""
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", (_key(text), answer))

    def find(self, texts: Iterable[str]) -> dict[str, bytes]:
        """The answers to those texts that have one."""
        kept = dict(self._run("SELECT text, answer FROM answers"))
        return {text: kept[key] for text in texts if (key := _key(text)) in kept}

    def _run(self, statement: str, values: tuple[str | bytes, ...] = ()) -> list[tuple[str, bytes]]:
        try:
            with closing(sqlite3.connect(self._path, timeout=30.0)) as connection, connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path} cannot be used: {error}; move it away to ask anew") from error


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
