"""What one release has done on this node, in plain numbers, and their sums over processes.

The library's own counters take a lock for each value, which is three times the cost (`benchmarks.telemetry_cost`), and
cannot be added up over processes; so they are only made when somebody reads (`metrics`).
Not here: names (`families`), files (`workers`).
Invariants: counters only grow; each is added to by one thread, any thread may take a snapshot; no text and no label of
one is kept.
"""

from asyncio import CancelledError
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tianti.errors import DeadlineError, OverloadError, QuotaError
from tianti.spec import Prediction, Priority, Reason, Tier
from tianti.telemetry.families import BATCHES, SECONDS, STARTED, Cached, Outcome

Key = tuple[str, ...]
"""A family's name and the values of its labels."""


class Snapshot(msgspec.Struct, kw_only=True):
    """All numbers of a process at one moment. A histogram is its buckets' counts, then the sum of its values."""

    counters: dict[Key, float] = {}
    histograms: dict[Key, list[float]] = {}
    gauges: dict[Key, float] = {}
    written_s: float = 0.0


def outcome_of(error: BaseException) -> Outcome:
    """What became of a request that ended by this error."""
    if isinstance(error, QuotaError):
        return "quota"
    if isinstance(error, OverloadError):
        return "shed"
    if isinstance(error, DeadlineError):
        return "deadline"
    return "abandoned" if isinstance(error, CancelledError) else "error"


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The sums of all numbers, and the earliest of all starts."""
    merged = Snapshot(counters={}, histograms={}, gauges={})
    for each in snapshots:
        for key, value in each.counters.items():
            merged.counters[key] = merged.counters.get(key, 0.0) + value
        for key, counts in each.histograms.items():
            before = merged.histograms.get(key)
            merged.histograms[key] = counts if before is None else [a + b for a, b in zip(before, counts, strict=True)]
        for key, value in each.gauges.items():
            before_value = merged.gauges.get(key)
            if before_value is not None:
                value = min(before_value, value) if key[0] == STARTED else before_value + value
            merged.gauges[key] = value
    return merged


class Buckets:
    """A histogram."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value in the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """One release's numbers. `ran` is for the thread that runs the engine, all else for the one that answers."""

    __slots__ = ("_batches", "_counters", "_engine", "_requests", "_tier", "_waits")

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._counters: Counter[Key] = Counter()  # by the family's name without `tianti_`, and its own labels
        self._requests, self._waits, self._engine = Buckets(SECONDS), Buckets(SECONDS), Buckets(SECONDS)
        self._batches = Buckets(BATCHES)

    def answered(self, dialect: str, seconds: float, predictions: Sequence[Prediction]) -> None:
        """A request was answered, `seconds` after it came."""
        counters = self._counters
        counters["requests", dialect, "ok"] += 1
        counters["texts",] += len(predictions)
        self._requests.add(seconds)
        for prediction in predictions:
            decision = prediction.decision
            if prediction.tier is not self._tier:
                counters["escalations", prediction.tier] += 1
            if decision.degraded:
                counters["degraded", decision.reason] += 1
            if not decision.certified:
                counters["uncertified",] += 1
                if decision.reason is Reason.PRIVATE:
                    counters["private",] += 1

    def held(self, types: Iterable[str]) -> None:
        """A text stays here, since it holds what may not leave."""
        for each in types:
            self._counters["held", each] += 1

    def redacted(self, places: Mapping[str, int]) -> None:
        """A text leaves, with so many places of each type replaced."""
        for each, count in places.items():
            self._counters["redacted", each] += count

    def failed(self, dialect: str, outcome: Outcome) -> None:
        """A request was not answered, or nobody was there to take the answer."""
        self._counters["requests", dialect, outcome] += 1

    def ran(self, batch: int, padded_tokens: int, tokens: int, waits_s: Iterable[float], engine_s: float) -> None:
        """The engine ran a batch of texts.

        Args:
            batch: how many texts.
            padded_tokens: what the engine computed: texts times the longest one's tokens.
            tokens: those of them that are not padding.
            waits_s: how long each text waited for the engine.
            engine_s: how long the run took.
        """
        counters = self._counters
        counters["engine_tokens",] += tokens
        counters["engine_padded_tokens",] += padded_tokens
        self._batches.add(batch)
        self._engine.add(engine_s)
        for wait_s in waits_s:
            self._waits.add(wait_s)

    def shed(self, priority: Priority, reason: str) -> None:
        """A request was refused before it was run; `reason` is a word of the code's, such as `backlog` or `quota`."""
        self._counters["shed", priority, reason] += 1

    def abandoned(self) -> None:
        """A text was not run, since nobody waits for its answer any more."""
        self._counters["abandoned",] += 1

    def cached(self, result: Cached) -> None:
        """What the cache did for a text."""
        self._counters["cache", result] += 1

    def write_into(self, snapshot: Snapshot, model: str, version: str) -> None:
        """Add all numbers, under this model and version; from any thread."""
        labels = (model, version, self._tier)
        for (name, *own), count in dict(self._counters).items():  # a copy is one step; the loop is not
            snapshot.counters[f"tianti_{name}", *labels, *own] = count
        for name, buckets in self._histograms():
            snapshot.histograms[f"tianti_{name}", *labels] = [*buckets.counts, buckets.total]

    def _histograms(self) -> tuple[tuple[str, Buckets], ...]:
        return (
            ("request_seconds", self._requests),
            ("queue_wait_seconds", self._waits),
            ("engine_seconds", self._engine),
            ("batch_size", self._batches),
        )
