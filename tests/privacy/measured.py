"""How well found what is known to be in texts: exactly its characters, and as its type."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tests.privacy.corpus import Row
from tianti.privacy.contract import Found


class Measured(NamedTuple):
    known: int
    hit: int
    found: int
    wrong: tuple[str, ...]
    """Of each mistake: what it is, and the text."""

    @property
    def recall(self) -> float:
        return self.hit / self.known if self.known else 1.0

    @property
    def precision(self) -> float:
        return self.hit / self.found if self.found else 1.0


def measure(find: Callable[[str], Sequence[Found]], rows: Iterable[Row], clean: Iterable[str]) -> dict[str, Measured]:
    """By type; `clean` are texts in which nothing is to be found."""
    known, hit, found = Counter[str](), Counter[str](), Counter[str]()
    wrong: dict[str, list[str]] = {}
    cases = [(row.text, (row.start, row.end, row.kind)) for row in rows] + [(text, None) for text in clean]
    for text, value in cases:
        said = [(one.start, one.end, one.kind) for one in find(text)]
        found.update(kind for _, _, kind in said)
        if value is not None:
            known[value[2]] += 1
            hit[value[2]] += value in said
            if value not in said:
                wrong.setdefault(value[2], []).append(f"missed {text[value[0] : value[1]]!r} in {text!r}, found {said}")
        for start, end, kind in said:
            if (start, end, kind) != value:
                wrong.setdefault(kind, []).append(f"{text[start:end]!r} in {text!r} is no {kind}")
    kinds = {*known, *found}
    return {kind: Measured(known[kind], hit[kind], found[kind], tuple(wrong.get(kind, ()))) for kind in sorted(kinds)}
