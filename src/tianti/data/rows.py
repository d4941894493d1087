"""One labelled text, and the keys by which texts and rows are told apart.

Not here: reading rows (`read`), and what a model sees: its normalisation lives in `tokenizer.json`.
Invariant: two texts that differ only in case, blanks or Unicode width are one text.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import msgspec


class Row(msgspec.Struct, frozen=True):
    """A text and its label; `group` maps each slice column to this row's value."""

    text: str
    label: str
    group: dict[str, str] = {}


def normalise(text: str) -> str:
    """What two texts must share to count as one: NFKC, casefolded, blanks collapsed; empty where nothing is said."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_key(text: str) -> str:
    """SHA-256 of a normalised text, as 64 hexadecimal digits: what roles are kept by."""
    return hashlib.sha256(normalise(text).encode()).hexdigest()


def row_key(row: Row) -> str:
    """SHA-256 of a row's normalised text and its label, as 64 hexadecimal digits."""
    content = f"{normalise(row.text)}\n{row.label}"  # a normalised text holds no line break
    return hashlib.sha256(content.encode()).hexdigest()


def by_text(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each text key, in order of first appearance."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[text_key(row.text)].append(row)
    return found
