"""Quantities as people write them in ladder.yaml ("1.5 MB", "2 ms", "95%"), as plain numbers.

Decimal units: 1 MB = 10^6 bytes. Not here: where a quantity is allowed (see `ladder`).
Invariant: a text that is not exactly a number and a unit is an error; nothing is guessed.
"""

import re

from tianti.errors import SpecError

_SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%]+)\s*")


def size_bytes(text: str, key: str) -> int:
    """Bytes in a size such as "1.5 MB"."""
    return round(_number(text, _SIZES, key, "1.5 MB"))


def time_ms(text: str, key: str) -> float:
    """Milliseconds in a time such as "2 ms"."""
    return _number(text, _TIMES, key, "2 ms")


def share(value: str | float, key: str) -> float:
    """A share in [0, 1] from "95%" or 0.95."""
    number = _number(value, {"%": 0.01}, key, "95%") if isinstance(value, str) else float(value)
    if not 0.0 <= number <= 1.0:
        raise SpecError(f"{key}: expected a share between 0% and 100% (or 0 and 1), got {value!r}")
    return number


def percent(share: float) -> str:
    """A level as people write it: 0.0025 is "0.25%", never rounded, since rounding down would promise more."""
    return f"{100 * share:.10g}%"


def _number(text: str, units: dict[str, float] | dict[str, int], key: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise SpecError(f"{key}: expected a number and one of {', '.join(units)} (such as {example!r}), got {text!r}")
    # round away what 0.01 * 95 leaves behind in binary
    return round(float(match[1]) * units[match[2]], 12)
