"""What a comparison of two tables found, as records, and the same in sentences.

Not here: finding it (`diff`). Invariant: a sentence calls a difference one only where it is `claimed`.
"""

import msgspec

_SHOWN = 5


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and share of one label, or of one main script, on both sides; `p` is corrected for all that was tested."""

    name: str
    old: int
    new: int
    old_share: float
    new_share: float
    p: float
    claimed: bool = False


class LengthDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles of the lengths in characters; `distance` is the greatest between the two shares up to any length."""

    old: dict[str, int]
    new: dict[str, int]
    distance: float
    p: float
    claimed: bool = False


class Word(msgspec.Struct, frozen=True):
    """A word, or a pair of characters, that no row of OLD has, and how many rows of NEW have it."""

    word: str
    rows: int
    claimed: bool


class Unseen(msgspec.Struct, frozen=True, kw_only=True):
    """Words of NEW that OLD never saw.

    `share` of NEW's rows have one; `usual_share` of OLD's rows have one that no other row of OLD has, which is what to
    expect of new rows of the same source. `claimed` of the `distinct` words are more than chance.
    """

    distinct: int
    share: float
    usual_share: float
    claimed: int
    most: list[Word]


class Leak(msgspec.Struct, frozen=True):
    """A text of NEW that is also in OLD; it conflicts where OLD has it, and never with this label."""

    text: str
    label: str
    old_labels: list[str]
    conflicts: bool


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """Texts of NEW that OLD has too (`rows` of NEW bear them), the conflicting ones first among the examples."""

    rows: int
    texts: int
    conflicting: int
    examples: list[Leak]


class TableFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One table: rows with an empty text, without a label, that repeat a text, whose text bears several labels.

    `letters`: shares of the scripts among all letters.
    """

    rows: int
    empty: int
    unlabelled: int
    duplicates: int
    contradicting: int
    letters: dict[str, float]


class TableDiff(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison. `labels` is None where rows bear none; `rate` is that of any false claim at all."""

    rate: float
    old: TableFacts
    new: TableFacts
    labels: list[Shift] | None
    scripts: list[Shift]
    lengths: LengthDiff
    unseen: Unseen
    overlap: Overlap


def findings(found: TableDiff) -> list[str]:
    """What matters, as sentences for people."""
    return [
        *_overlap(found),
        *([] if found.labels is None else _labels(found.labels)),
        _mix("main script", "main scripts", found.scripts),
        _lengths(found.lengths),
        _words(found.unseen),
        *_flaws("OLD", found.old, found.labels is not None),
        *_flaws("NEW", found.new, found.labels is not None),
    ]


def _overlap(found: TableDiff) -> list[str]:
    overlap = found.overlap
    if not overlap.texts:
        return ["No text of NEW is also in OLD."]
    share = overlap.rows / found.new.rows
    lines = [f"{_counted('text', overlap.texts)} of NEW {_is(overlap.texts)} also in OLD ({share:.1%} of its rows)."]
    if overlap.conflicting:
        count = overlap.conflicting
        lines.append(f"{_counted('text', count)} of NEW {_is(count)} also in OLD with another label.")
    return lines


def _labels(shifts: list[Shift]) -> list[str]:
    lines = [_mix("label", "labels", shifts)]
    for where, gone in (
        ("only in NEW", [s for s in shifts if not s.old]),
        ("only in OLD", [s for s in shifts if not s.new]),
    ):
        if gone:
            each = _listed([f"{shift.name} ({shift.old + shift.new:,} rows)" for shift in gone])
            lines.append(f"{_counted('label', len(gone))} {_is(len(gone))} {where}: {each}.")
    return lines


def _mix(one: str, many: str, shifts: list[Shift]) -> str:
    claimed = [shift for shift in shifts if shift.claimed]
    if not claimed:
        return f"No {one}'s share differs by more than chance."
    each = _listed([f"{shift.name} {shift.old_share:.1%} -> {shift.new_share:.1%}" for shift in claimed])
    return f"Shares of {len(claimed):,} of {len(shifts):,} {many} differ by more than chance: {each}."


def _lengths(lengths: LengthDiff) -> str:
    if not lengths.claimed:
        return "Lengths differ by no more than chance."
    median = f"median {lengths.old['p50']:,} -> {lengths.new['p50']:,} characters"
    apart = f"up to some length NEW has {100 * lengths.distance:.1f} points more or fewer of its texts"
    return f"Lengths differ by more than chance: {median}; {apart}."


def _words(unseen: Unseen) -> str:
    most = _listed([f"{word.word} ({word.rows:,})" for word in unseen.most if word.claimed])
    more = f", {unseen.claimed:,} of them more often than chance: {most}" if unseen.claimed else ""
    return (
        f"{unseen.share:.1%} of NEW's rows have a word that OLD never saw ({unseen.usual_share:.1%} of OLD's have one "
        f"that no other row has); {unseen.distinct:,} such words{more}."
    )


def _flaws(name: str, facts: TableFacts, labelled: bool) -> list[str]:
    counts = [
        (facts.empty, "without a text"),
        (facts.unlabelled if labelled else 0, "without a label"),
        (facts.duplicates, "that repeat a text"),
        (facts.contradicting if labelled else 0, "whose text bears several labels"),
    ]
    told = [f"{what} {count:,}" for count, what in counts if count]
    return [f"Rows of {name}: {', '.join(told)}."] if told else []


def _counted(noun: str, count: int) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _listed(items: list[str]) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
