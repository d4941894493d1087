"""What cleaning found, in numbers, and the same in sentences.

Not here: finding it (`clean`, `prepare`). Invariant: `read` of a source is the sum of its other counts; nothing is
dropped that is not counted.
"""

from typing import NamedTuple

import msgspec

from tianti.spec import Role


class SourceCounts(msgspec.Struct, kw_only=True):
    """What became of a source's rows: each is kept or counted under the one reason for which it was dropped.

    `leaked`: its text is also in a source that goes before (see `clean`). `conflicting`: a train row whose text bears
    another label too.
    """

    read: int
    empty: int = 0
    duplicate: int = 0
    leaked: int = 0
    conflicting: int = 0
    kept: int = 0


class RoleCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a role; `conflicting` of them bear a text that has another label too, and are kept."""

    rows: int
    conflicting: int
    labels: dict[str, int]


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths of all kept texts, in characters."""

    p50: int
    p95: int
    longest: int


class CleaningReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` did. `sources` are the keys of `data:` that name files."""

    sources: dict[str, SourceCounts]
    roles: dict[Role, RoleCounts]
    out_of_scope: str | None
    characters: Lengths
    warnings: list[str]


class _Dropped(NamedTuple):
    field: str
    words: str


_DROPPED = (
    _Dropped("empty", "without text or label"),
    _Dropped("duplicate", "repeated"),
    _Dropped("leaked", "also in another source"),
    _Dropped("conflicting", "with two labels for one text"),
)


def describe(report: CleaningReport) -> list[str]:
    """The report as sentences for people."""
    lines = [_describe_source(name, counts) for name, counts in report.sources.items()]
    lines.append("roles: " + ", ".join(f"{role} {counts.rows:,}" for role, counts in report.roles.items()))
    lines.append(_describe_labels(report))
    if kept := {role: counts.conflicting for role, counts in report.roles.items() if counts.conflicting}:
        where = ", ".join(f"{role} {count:,}" for role, count in kept.items())
        lines.append(f"rows kept although their text bears another label too: {where}")
    lengths = report.characters
    within = f"median {lengths.p50:,}, 95% within {lengths.p95:,}, longest {lengths.longest:,}"
    lines.append(f"text length in characters: {within}")
    return lines + [f"warning: {warning}" for warning in report.warnings]


def _describe_source(name: str, counts: SourceCounts) -> str:
    dropped = [f"{count:,} {words}" for field, words in _DROPPED if (count := getattr(counts, field))]
    rest = f"; dropped: {', '.join(dropped)}; {counts.kept:,} kept" if dropped else ", all kept"
    return f"{name}: {counts.read:,} rows{rest}"


def _describe_labels(report: CleaningReport) -> str:
    train = report.roles[Role.TRAIN].labels
    if train.keys() == {""}:
        return "labels: none of their own; the cloud is asked"
    in_scope = [count for label, count in train.items() if label != report.out_of_scope]
    each = f"{min(in_scope):,}" if min(in_scope) == max(in_scope) else f"{min(in_scope):,} to {max(in_scope):,}"
    line = f"labels: {len(in_scope)} in scope, {each} train rows each"
    return line if report.out_of_scope is None else f"{line}; {train.get(report.out_of_scope, 0):,} out of scope"
