"""What a text is written in and of: the scripts of its letters; its words, or pairs of characters, as in Chinese.

Not here: tokens of a model, which its `tokenizer.json` makes. Scripts are read off the names of the characters in
Python's own Unicode tables.
Invariant: two texts that count as one (`normalise`) have the same words.
"""

import functools
import unicodedata
from collections import Counter
from itertools import groupby

from tianti.data.rows import normalise

NO_SCRIPT = "none"
"""The main script of a text without any letter."""
_NAMES = {"Cjk": "Han", "Ideographic": "Han"}
_UNPARTED = {"Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"}


@functools.lru_cache(maxsize=65_536)
def script_of(character: str) -> str | None:
    """The script of a letter, such as Latin; None for what is no letter."""
    if not unicodedata.category(character).startswith("L"):
        return None
    return _named(character)


def _named(character: str) -> str:
    first = unicodedata.name(character, "OTHER").partition(" ")[0].partition("-")[0].title()
    return _NAMES.get(first, first)


def scripts(text: str) -> Counter[str]:
    """How many letters of each script."""
    counts: Counter[str] = Counter()
    for character, times in Counter(unicodedata.normalize("NFKC", text)).items():
        if (script := script_of(character)) is not None:
            counts[script] += times
    return counts


def main_script(counts: Counter[str]) -> str:
    """The script of most letters; of two the first by name."""
    return min(counts, key=lambda script: (-counts[script], script), default=NO_SCRIPT)


def words(text: str) -> set[str]:
    """The words of a text; where a script does not part them, such as Chinese, the pairs of its characters.

    Numbers and signs are none: each new one would be a new word.
    """
    found: set[str] = set()
    for kind, run in groupby(normalise(text), key=_kind):
        if kind is not None:
            characters = "".join(run)
            pairs = kind == "unparted" and len(characters) > 1
            found |= {characters[i : i + 2] for i in range(len(characters) - 1)} if pairs else {characters}
    return found


@functools.lru_cache(maxsize=65_536)
def _kind(character: str) -> str | None:
    if unicodedata.category(character)[0] not in "LM":  # marks belong to the letter before them
        return None
    return "unparted" if _named(character) in _UNPARTED else "parted"
