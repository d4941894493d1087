"""Gates before a release is offered: at least as good as the one that serves, on the whole and in every named slice.

Not here: measuring (`pipeline`), self-tests. Invariants: pure; what the serving release was measured on must be
measured of the new one too. On all rows it must not be worse at all; a slice is small, so there it must not be worse
by more than chance explains: one side of a test of two shares, at 95 %.
"""

import math
from typing import Any

from tianti.package import ReleaseRecord

SLICE_ROWS = 30
"""A slice of fewer test rows says nothing."""
_Z = 1.645  # the normal distribution's 95th percentile


def worse(release: ReleaseRecord, serving: ReleaseRecord) -> list[str]:
    """In what a release is worse than the serving one, as sentences; empty: in nothing that was measured."""
    new, old = release.metrics, serving.metrics
    if "accuracy" not in old:
        return []
    if "accuracy" not in new:
        return [f"accuracy: expected at least {old['accuracy']:.2%}, which serves, got none; evaluate the release"]
    found = []
    if new["accuracy"] < old["accuracy"]:
        short = old["accuracy"] - new["accuracy"]
        found.append(
            f"accuracy: expected at least {old['accuracy']:.2%}, got {new['accuracy']:.2%} ({short:.2%} short)"
        )
    parts = {(part["column"], part["value"]): part for part in new.get("slices", ())}
    for before in old.get("slices", ()):
        name = before["column"], before["value"]
        if before["n"] >= SLICE_ROWS and (line := _against(parts.get(name), before)):
            found.append(f"accuracy on {'='.join(name)}: {line}")
    return found


def _against(part: dict[str, Any] | None, before: dict[str, Any]) -> str | None:
    expected = f"expected about {before['accuracy']:.1%} of {before['n']} rows"
    if part is None or not part["n"]:
        return f"{expected}, got none; evaluate the release on this slice"
    least = before["accuracy"] - _Z * _deviation(part, before)
    got = f"{expected}, {least:.1%} at least, got {part['accuracy']:.1%} of {part['n']}"
    return got if part["accuracy"] < least else None


def _deviation(part: dict[str, Any], before: dict[str, Any]) -> float:
    """Of the difference of two shares that are one."""
    rows = part["n"] + before["n"]
    both = (part["n"] * part["accuracy"] + before["n"] * before["accuracy"]) / rows
    return math.sqrt(both * (1 - both) * (1 / part["n"] + 1 / before["n"]))
