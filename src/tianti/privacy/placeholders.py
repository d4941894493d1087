"""Placeholders: what stands in a text for what must not leave it, in which forms an answer may give one back, and what
each stands for.

Not here: finding what to replace (`finder`), when what was kept expires (`conversation`).
Invariant: what this gives is the only thing in a text that `look_alikes` sees, once all that it saw there before was
replaced. Values are in no repr.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from secrets import token_bytes
from types import MappingProxyType

from tianti.errors import PrivacyError
from tianti.privacy.normalise import normalise
from tianti.spec.privacy import SECRETS

ESCAPED = "text"
"""The type of what only looks like a placeholder."""

ROOM = 4_000_000
"""Characters that one set of placeholders may stand for, each value counting a hundred more."""

Key = tuple[str, int]
"""Name and number of a placeholder."""

Row = tuple[str, int, str | None]
"""Type, number and value of a placeholder; None: a secret, of which nothing is kept."""

_BLANKS = r"[\s_\-\\*]"  # of a text that is normalised; a backslash and stars are Markdown's
_OPEN, _CLOSE = "⟦〚【〖﹝「『〔⟪［[", "⟧〛】〗﹞」』〕⟫］]"
_BRACKETS = re.escape(_OPEN + _CLOSE)
_INSIDE = rf"[^{_BRACKETS}]{{3,60}}"
# between the brackets that are ours, anything: a model may have translated it
_FORMS = re.compile(
    rf"(?P<ours>⟦[^⟦⟧]{{1,60}}⟧)|\[\[{_INSIDE}\]\]|\\\[{_INSIDE}\]|[{re.escape(_OPEN)}]{_INSIDE}[{re.escape(_CLOSE)}]"
)
_PARTS = re.compile(rf"{_BLANKS}*([A-Z].*?){_BLANKS}*(?<![0-9])([0-9]{{1,12}}){_BLANKS}*")
_BETWEEN = re.compile(rf"{_BLANKS}+")
_BARE = re.compile(r"(?<![0-9A-Za-z_])[A-Z](?:\\?[0-9A-Z_]){0,40}\\?_[0-9]{1,12}(?![0-9A-Za-z_])")


def read(written: str) -> Key:
    """Name, as `name_of` writes it, and number of something in brackets; of no name: it has no such parts."""
    parts = _PARTS.fullmatch(normalise(written.strip(f"\\{_OPEN}{_CLOSE}")).text.upper())
    return ("", 0) if parts is None else (_BETWEEN.sub("_", parts[1]), int(parts[2]))


@cache
def name_of(kind: str) -> str:
    """A type as `read` gives it back, however its underscores were written."""
    return _BETWEEN.sub("_", kind).strip("_").upper()


def look_alikes(text: str, names: frozenset[str], start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
    """What an answer's reader would take for a placeholder: brackets of ours, or others around one of `names`."""
    for written in _FORMS.finditer(text, start, len(text) if end is None else end):
        if written["ours"] or read(written[0])[0] in names:
            yield written


class Placeholders:
    """Gives placeholders, and says what each stands for.

    `last` and `rows` are what an earlier one's `last` and `rows` said.
    """

    __slots__ = ("_given", "_key", "_room", "_rows", "last")

    def __init__(self, last: Mapping[str, int] = MappingProxyType({}), rows: Iterable[Row] = ()) -> None:
        self.last = dict(last)  # number given last, by name
        self._rows: dict[Key, Row] = {}
        self._given: dict[tuple[str, str | bytes], str] = {}
        self._room = ROOM
        self._key = b""
        for row in rows:
            self._keep(row)

    def __repr__(self) -> str:
        return f"<{len(self._rows)} placeholders>"

    @property
    def rows(self) -> list[Row]:
        """What the placeholders stand for."""
        return list(self._rows.values())

    def give(self, kind: str, value: str) -> str:
        """The placeholder of a value: the same for the same characters, numbered from 1 in order of appearance.

        Raises:
            PrivacyError: there is no room for another value.
        """
        known = (kind, self._digest(value) if kind in SECRETS else value)
        given = self._given.get(known)
        if given is None:
            name = name_of(kind)
            number = self.last[name] = self.last.get(name, 0) + 1
            self._keep((kind, number, None if kind in SECRETS else value))
            given = self._given[known] = _written(kind, number)
        return given

    def value(self, key: Key) -> str | None:
        """What a placeholder stands for; None: a secret.

        Raises:
            KeyError: no such placeholder was given, or it was forgotten.
        """
        return self._rows[key][2]

    def without_brackets(self, text: str) -> Iterator[str]:
        """What has the name and number of a placeholder that was given, but no brackets: it is told, not restored."""
        for written in _BARE.finditer(text):
            row = self._rows.get(read(written[0]))
            if row is not None and row[2] is not None:
                yield written[0]

    def forget(self) -> None:
        """Drop every value. Numbers go on: an old placeholder must not come to stand for a new value."""
        self._given.clear()
        self._rows.clear()
        self._room = ROOM

    def _keep(self, row: Row) -> None:
        kind, number, value = row
        self._room -= 100 + len(value or "")
        if self._room < 0:
            raise PrivacyError(f"placeholders stand for more than {ROOM} characters; begin another conversation")
        self._rows[name_of(kind), number] = row
        if value is not None:
            self._given[kind, value] = _written(kind, number)

    def _digest(self, value: str) -> bytes:
        self._key = self._key or token_bytes(32)
        return blake2b(value.encode("utf-8", "surrogatepass"), key=self._key).digest()


def _written(kind: str, number: int) -> str:
    return f"⟦{kind.upper()}_{number}⟧"


def replace(text: str, spans: Iterable[tuple[int, int, str]], names: frozenset[str], given: Placeholders) -> str:
    """A text with placeholders for `spans` (start, end, type; ascending, apart) and for what looks like one."""
    parts: list[str] = []
    at = 0
    for start, end, kind in spans:
        parts += _escaped(text, at, start, names, given)
        parts.append(given.give(kind, text[start:end]))
        at = end
    parts += _escaped(text, at, len(text), names, given)
    return "".join(parts)


def _escaped(text: str, start: int, end: int, names: frozenset[str], given: Placeholders) -> Iterator[str]:
    for written in look_alikes(text, names, start, end):
        yield text[start : written.start()]
        yield given.give(ESCAPED, written[0])
        start = written.end()
    yield text[start:end]
