"""The words of a text as an explanation weighs them, and the text without some of them, or some of them alone.

A word is what blanks part, without the marks around it; where a script does not part words (Chinese, Japanese, Thai and
the like) it is two characters; `!!` and an emoji are words too.
Not here: weighing (`occlusion`), a model's own tokens.
Invariants: words are ascending, do not overlap and are never empty; what stands between them is never changed.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

_UNPARTED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Myanmar, Khmer
    r"\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_JOINED = (
    r"\u0300-\u036f\ufe00-\ufe0f\U000e0100-\U000e01ef"  # combining marks, variation selectors
    r"\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b6-\u17d3\u3099\u309a"
)
_MARKS = (
    r"\s!?,.;:'\"`()\[\]{}<>/\\|~*_\-"
    r"\u2010-\u203a\u3000-\u3004\u3008-\u303f\u30fb\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65·"
    r"¡¿«»،؛؟।॥።፡"
)
_LETTER = rf"[^{_MARKS}{_UNPARTED}]"
_CHARACTER = rf"[{_UNPARTED}][{_JOINED}]*"
_WORD = re.compile(rf"(?:{_CHARACTER}){{1,2}}|{_LETTER}+(?:['’.\-]{_LETTER}+)*|[!?！？؟]+")
_FIRST = re.compile(_LETTER)


class Word(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text, and what they say for the label: against it where below 0."""

    start: int
    end: int
    weight: float = 0.0


def cut(text: str) -> list[Word]:
    """The words of a text, in their order, with weight 0."""
    return [Word(*found.span()) for found in _WORD.finditer(text)]


def without(text: str, words: Sequence[Word], dropped: Collection[int]) -> str:
    """The text without the words of these indices; of two blanks that meet one goes, and letters do not meet."""
    kept, at = "", 0
    for index in sorted(dropped):
        kept += text[at : words[index].start]
        at = words[index].end
        if (not kept or kept[-1].isspace()) and text[at : at + 1].isspace():
            at += 1
        elif _FIRST.match(kept[-1:]) and _FIRST.match(text, at):
            kept += " "
    return kept + text[at:]


def alone(text: str, words: Sequence[Word], kept: Collection[int]) -> str:
    """The words of these indices, with what stands between two neighbours of which both are kept."""
    parts: list[str] = []
    last = -2
    for index in sorted(kept):
        start, end, _ = words[index]
        before = text[words[last].end : start] if index == last + 1 else " " if parts else ""
        parts += [before, text[start:end]]
        last = index
    return "".join(parts)
