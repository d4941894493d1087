"""A text as detectors read it, and where each of its characters came from.

Full-width letters, punctuation and blanks become ASCII, decimal digits of any script 0 to 9, dashes and middle dots one
of each; what has no width goes: marks on the character before, such as accents, and control characters but tabs and
ends of lines. Circled and raised digits stay: they number lists and notes.

A text that was wrapped for a machine or spelled out by a person is read a second time, `loosely`: escapes of JSON, URLs
and HTML are what they stand for, one blank or dash is between digits where there were several, none where each stands
alone, Chinese numerals in a row are digits, `wang(at)example[dot]com` is an address.

Not here: finding. Invariant: a character comes of one character or of several in a row, so a span maps back to whole
characters.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
_DOTS = "\u2022\u2027\u2219\u22c5\u30fb\uff65"
_HANGUL_FILLERS = "\u115f\u1160\u3164\uffa0"
_BRAILLE_BLANK = "\u2800"
_LAST = 0x20000  # beyond are Chinese characters, and tags
_TAGS = range(0xE0000, 0xE01F0)


class Normal(NamedTuple):
    """`origin` says which character of the original each one of `text` was; None: the one at the same place.

    `ends`: where the last of the characters ends that each one of `text` was; None: it was one.
    """

    text: str
    origin: Sequence[int] | None
    ends: Sequence[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original that became `start` to `end` (exclusive, not empty) of `text`."""
        if self.origin is None:
            return start, end
        return self.origin[start], self.origin[end - 1] + 1 if self.ends is None else self.ends[end - 1]


def normalise(text: str) -> Normal:
    """The text as detectors read it."""
    if text.isascii() and not _CONTROL.search(text):
        return Normal(text, None)
    plain = text.translate(_TABLE)
    if len(plain) == len(text):
        return Normal(plain, None)
    return Normal(plain, [place for place, one in enumerate(text) if ord(one) not in _GONE])


def loosely(normal: Normal) -> Normal | None:
    """The text of `normal` as its reader, or a person, would understand it; None: no other way."""
    parts = list(_read(normal.text))
    if len(parts) < 2:  # the text itself
        return None
    starts, ends = (list(places) for places in zip(*(place for _, places in parts for place in places), strict=True))
    spans = [normal.span(start, end) for start, end in zip(starts, ends, strict=True)]
    return Normal("".join(text for text, _ in parts), [start for start, _ in spans], [end for _, end in spans])


def _read(text: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Pieces of what is understood, with start and end of where each of their characters comes from."""
    at = 0
    for match in _LOOSE.finditer(text):
        start, end = match.span()
        yield text[at:start], [(place, place + 1) for place in range(at, start)]
        if match.lastgroup in _STEPS:
            step = _STEPS[match.lastgroup]
            yield match[0][::step].translate(_NUMERALS), [(place, place + 1) for place in range(start, end, step)]
        else:
            yield _meant(match), [(start, end)]
        at = end
    yield text[at:], [(place, place + 1) for place in range(at, len(text))]


def _meant(match: re.Match[str]) -> str:
    if match.lastgroup == "between":
        return "-" if "-" in match[0] else " "
    if match.lastgroup == "itself":
        return match["itself"]
    if match.lastgroup in _SIGNS:
        return _SIGNS[match.lastgroup]
    code = int(match[match.lastgroup], 10 if match.lastgroup == "decimal" else 16) if match.lastgroup else 0x20
    one = chr(code).translate(_TABLE) if 0x20 < code < 0xD800 else " "
    return one or " "


def _zeros() -> list[int]:
    """Where the decimal digits of the scripts begin: at a round place, but for those of mathematics."""
    places = [base + unit for base in range(0x660, 0x20000, 16) for unit in (0, 6)] + list(range(0x1D7CE, 0x1D800, 10))
    return [place for place in places if unicodedata.decimal(chr(place), None) == 0]


def _letters() -> dict[int, str]:
    """Full-width and small forms, and the letters of mathematics."""
    places = (*range(0xFF01, 0xFF5F), *range(0xFE50, 0xFE6C), *range(0x1D400, 0x1D6A6))
    plain = {place: unicodedata.normalize("NFKC", chr(place)) for place in places}
    return {place: one for place, one in plain.items() if one.isascii()}


def _of_no_width() -> Iterator[int]:
    for place in range(_LAST):
        if unicodedata.category(chr(place)) in ("Mn", "Me", "Cf", "Cc") and not chr(place).isspace():
            yield place
    yield from map(ord, _HANGUL_FILLERS)
    yield from range(0x2060, 0x2070)
    yield from _TAGS


def _blanks() -> Iterator[int]:
    yield from (place for place in range(0x3001) if chr(place).isspace() and chr(place) not in "\t\r\n")
    yield ord(_BRAILLE_BLANK)


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_GONE = frozenset(_of_no_width())
_TABLE: dict[int, str] = (
    _letters()
    | {zero + digit: str(digit) for zero in _zeros() for digit in range(10)}
    | dict.fromkeys(map(ord, _DASHES), "-")
    | dict.fromkeys(map(ord, _DOTS), "·")
    | dict.fromkeys(_blanks(), " ")
    | dict.fromkeys(_GONE, "")
)
# each begins with what is rare in a text, so that most of it is passed over
_LOOSE = re.compile(
    r"\\u(?P<json>[0-9A-Fa-f]{4})|\\[nrt]|\\{1,7}(?P<itself>[\"'/])|%(?P<url>[0-9A-Fa-f]{2})"
    r"|&(?:#(?P<decimal>[0-9]{1,6});|#[xX](?P<html>[0-9A-Fa-f]{1,5});|nbsp;|(?P<quote>quot;)|(?P<and>amp;))"
    r"|(?P<between>(?<=[0-9])(?:[\t\r\n·~_+]|[ -](?=[\s·~_-]))[\s·~_-]{0,4}(?=[0-9]))"
    r"|(?P<apart>(?<![0-9])[0-9](?:[ -][0-9]){10,})"
    r"|(?P<at> ?(?:@ |[\[({]at[\])}] ?)(?=[0-9A-Za-z]))|(?P<dot>(?:[\[({]dot[\])}]|。(?=(?:com|cn|net|org)(?![a-z]))))"
    r"|(?P<numerals>[〇零一二三四五六七八九幺]{3,})"
)
_STEPS = {"numerals": 1, "apart": 2}
_SIGNS = {"at": "@", "dot": ".", "quote": '"', "and": "&"}
_NUMERALS = str.maketrans("〇零一二三四五六七八九幺", "001234567891")
