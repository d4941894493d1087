"""Read a decision log again.

Not here: writing it (`router.journal`), deciding anew (`fates`, `replay`).
Invariant: every line is a decision, or counted as cut off by a crash, or the whole read is one error that names it.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec

from tianti.errors import DataError, UsageError
from tianti.spec import TIERS
from tianti.spec.logged import SCHEMA, Logged

_BEGINS = f'{{"schema":"{SCHEMA}",'.encode()
_CURE = "`tianti serve --log FILE` and `load(log=FILE)` write one"


class DecisionLog(NamedTuple):
    """The decisions of one release, in the order of the file, and how many lines were cut off in mid-write."""

    lines: list[Logged]
    cut: int


def read_log(path: Path) -> DecisionLog:
    """All decisions of a log.

    Raises:
        DataError: there is no such file, or it is not a decision log, or it holds no decision.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a decision log, got: {error.strerror}; {_CURE}") from error
    decoder, lines, cut = msgspec.json.Decoder(Logged), [], 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            decision = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if not isinstance(error, msgspec.ValidationError) and (
                line.startswith(_BEGINS) or _BEGINS.startswith(line)
            ):
                cut += 1
                continue
            raise DataError(
                f"{path}: expected a decision ({SCHEMA}) at line {number}, got: {error}; {_CURE}"
            ) from error
        _check(decision, number, path)
        lines.append(decision)
    if not lines:
        raise DataError(f"{path}: expected decisions, got none; {_CURE}")
    return DecisionLog(lines, cut)


def _check(line: Logged, number: int, path: Path) -> None:
    if line.schema != SCHEMA:
        raise DataError(f"{path}: expected schema {SCHEMA} at line {number}, got {line.schema!r}; update tianti")
    tiers = [said.tier for said in line.seen]
    way = sorted(tiers, key=TIERS.index)
    if tiers != way or not tiers or (tiers[0], tiers[-1]) != (line.entry, line.answered):
        expected = f"a way from {line.entry} up to {line.answered}"
        got = ", ".join(tiers) or "nobody"
        raise DataError(f"{path}: expected {expected} as `seen` of line {number}, got {got}; the line was changed")


def of_release(log: DecisionLog, wanted: str | None) -> DecisionLog:
    """The decisions of one release; `wanted` is its id or the beginning of it, None where the log has one only.

    Raises:
        UsageError: the log is of several, or of none that is wanted.
    """
    counts = Counter(line.release for line in log.lines)
    chosen = [release for release in counts if wanted is None or release.startswith(wanted)]
    if len(chosen) != 1:
        here = ", ".join(f"{release[:12]} ({count:,} decisions)" for release, count in counts.items())
        got = "several" if wanted is None else f"{wanted[:12]!r}"
        raise UsageError(f"LOG: expected decisions of one release, got {got}; name one with --of: {here}")
    return DecisionLog([line for line in log.lines if line.release == chosen[0]], log.cut)
