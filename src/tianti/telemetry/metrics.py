"""A node's metrics as Prometheus reads them, of all its processes together.

Not here: counting (`tally`), names (`families`), the route that shows them (`serving`).
Invariant: showing never changes a number, and may run in any thread while others count.
"""

import importlib.metadata
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from tianti.errors import needs_extra
from tianti.spec import Tier
from tianti.telemetry.families import COUNTERS, GAUGES, HISTOGRAMS, VERSION_CHARS
from tianti.telemetry.tally import Key, Snapshot, Tally
from tianti.telemetry.workers import Place

with needs_extra("serve"):
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector

# a version that is no number, over which the library stumbles
_STRANGE = re.compile(rb"version=(?![0-9]{1,9}(\.[0-9]{1,9})*\s*(?:[;,]|\Z))").search
_MOST = 64  # releases that are told of; the oldest that is not loaded any more makes room

Value = TypeVar("Value")
Loaded = tuple[str, str, int]
"""A model's name, a release's id, its number."""


class Metrics:
    """Made in the process that answers, after any fork.

    Args:
        tier: whose node this is.
        run: where several processes answer on one port: a folder of this run, the same for all.
        worker: the number of this process, from 0; one that replaces a dead one takes its number.
    """

    def __init__(self, tier: Tier, run: Path | None = None, worker: int = 0) -> None:
        self._tier = tier
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._in_flight: Callable[[], float] = lambda: 0
        self._backlog_ms: Callable[[], float] = lambda: 0.0
        self._loaded: Callable[[], Iterable[Loaded]] = lambda: ()
        self._process = ProcessCollector(registry=None)
        self.unknown = Tally(tier)
        """Of requests that name no model of this node."""
        self._registry = CollectorRegistry()
        self._registry.register(_Shown(self))
        self._place = None if run is None else Place(run, worker, self._snapshot)

    def of(self, model: str, release: str) -> Tally:
        """The numbers of a release; to be kept at hand while it is loaded."""
        key = (model, release[:VERSION_CHARS])
        if key not in self._tallies:
            loaded = {(name, each[:VERSION_CHARS]) for name, each, _ in self._loaded()}
            past = [other for other in self._tallies if other not in loaded]
            if len(self._tallies) >= _MOST and past:
                del self._tallies[past[0]]
            self._tallies[key] = Tally(self._tier)
        return self._tallies[key]

    def watch(
        self,
        in_flight: Callable[[], float],
        backlog_ms: Callable[[], float],
        loaded: Callable[[], Iterable[Loaded]],
    ) -> None:
        """What is asked when somebody reads, from any thread."""
        self._in_flight, self._backlog_ms, self._loaded = in_flight, backlog_ms, loaded

    def render(self, accept: bytes = b"") -> tuple[bytes, bytes]:
        """The body and its content type: OpenMetrics where that is asked for. Milliseconds: not for an event loop."""
        encode, media_type = choose_encoder("" if _STRANGE(accept) else accept.decode("latin-1"))
        return encode(self._registry), media_type.encode()

    def close(self) -> None:
        """Leave this process's counters to the others."""
        if self._place is not None:
            self._place.close()

    def everybody(self) -> tuple[Snapshot, int]:
        """The numbers of all processes, and how many they are."""
        return (self._snapshot(), 1) if self._place is None else self._place.everybody()

    def _snapshot(self) -> Snapshot:
        snapshot = Snapshot(counters={}, histograms={}, gauges={})
        for (model, version), tally in [(("", ""), self.unknown), *self._tallies.copy().items()]:
            tally.write_into(snapshot, model, version)
        gauges = snapshot.gauges
        gauges["tianti_in_flight",] = self._in_flight()
        gauges["tianti_backlog_seconds",] = self._backlog_ms() / 1e3
        for model, release, number in self._loaded():
            gauges["tianti_release_loaded", model, release[:VERSION_CHARS], self._tier, str(number)] = 1
        for family in self._process.collect():
            into = snapshot.counters if family.type == "counter" else gauges
            into[family.name,] = family.samples[0].value
        return snapshot


class _Shown(Collector):
    """The library's side: turns numbers into its families when they are read."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not read anything yet

    def collect(self) -> Iterator[Metric]:
        numbers, workers = self._metrics.everybody()
        numbers.gauges["tianti_workers",] = workers
        numbers.gauges["tianti_build_info", _version(), platform.python_version()] = 1
        for family in COUNTERS:
            counter = CounterMetricFamily(family.name, family.says, labels=family.labels)
            for labels, value in _of(numbers.counters, family.name):
                counter.add_metric(labels, value)
            yield counter
        for family in GAUGES:
            gauge = GaugeMetricFamily(family.name, family.says, labels=family.labels)
            for labels, value in _of(numbers.gauges, family.name):
                gauge.add_metric(labels, value)
            yield gauge
        for family, bounds in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(family.name, family.says, labels=family.labels)
            for labels, (*counts, total) in _of(numbers.histograms, family.name):
                limits = [*map(str, bounds), "+Inf"]
                histogram.add_metric(labels, list(zip(limits, accumulate(counts), strict=True)), total)
            yield histogram


def _of(numbers: dict[Key, Value], name: str) -> list[tuple[Key, Value]]:
    return [(key[1:], value) for key, value in numbers.items() if key[0] == name]


def _version() -> str:
    try:
        return importlib.metadata.version("tianti")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "source"
