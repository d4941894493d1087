"""Time several models on the same texts in turns: all see the same machine, none runs in the other's caches."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

_BLOCK = 25


def p50_in_turns(runners: Mapping[str, Callable[[str], object]], texts: Sequence[str]) -> dict[str, float]:
    """The median of one text in milliseconds, by runner; each answers 25 texts at a time."""
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for start in range(0, len(texts), _BLOCK):
        for name, run in runners.items():
            taken[name] += _time_block(run, texts[start : start + _BLOCK])
    return {name: statistics.median(times) for name, times in taken.items()}


def _time_block(run: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """Milliseconds of each text; a first call, not counted, brings the model back into the processor's caches."""
    run(texts[-1])
    found = []
    for text in texts:
        start = time.perf_counter()
        run(text)
        found.append((time.perf_counter() - start) * 1e3)
    return found
