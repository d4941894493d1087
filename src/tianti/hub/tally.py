"""What a hub has done since it began, and how its fleet is, as Prometheus reads it.

Not here: the route (`site`). Invariant: numbers of the process only; the fleet's are of the ledger.
"""

from collections.abc import Iterable, Iterator, Sequence

from tianti.errors import needs_extra
from tianti.fleet import Fleet

with needs_extra("serve"):
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector


class Tally:
    """Counts of one process."""

    def __init__(self) -> None:
        self.reports = self.refused = self.enrolled = self.turned_away = 0


def render(tally: Tally, fleet: Fleet, warnings: Sequence[str], well: bool) -> bytes:
    """The numbers in Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Shown(tally, fleet, warnings, well))
    return generate_latest(registry)


class _Shown(Collector):
    def __init__(self, tally: Tally, fleet: Fleet, warnings: Sequence[str], well: bool) -> None:
        self._tally, self._fleet, self._warnings, self._well = tally, fleet, warnings, well

    def collect(self) -> Iterable[Metric]:
        reports = CounterMetricFamily("tianti_hub_reports", "Reports by what became of them.", labels=["outcome"])
        reports.add_metric(["taken"], self._tally.reports)
        reports.add_metric(["refused"], self._tally.refused)
        yield reports
        enrolments = CounterMetricFamily("tianti_hub_enrolments", "Enrolments by outcome.", labels=["outcome"])
        enrolments.add_metric(["taken"], self._tally.enrolled)
        enrolments.add_metric(["refused"], self._tally.turned_away)
        yield enrolments
        yield GaugeMetricFamily(
            "tianti_hub_well", "Whether the last look at the repository went well.", float(self._well)
        )
        yield GaugeMetricFamily("tianti_hub_warnings", "What a person has to do (GET /fleet).", len(self._warnings))
        yield from self._of_the_fleet()

    def _of_the_fleet(self) -> Iterator[Metric]:
        devices = GaugeMetricFamily(
            "tianti_fleet_devices", "Devices; heard: of within an hour.", labels=["product", "channel", "tier", "state"]
        )
        for key, states in self._fleet.devices.items():
            for state, count in states.items():
                devices.add_metric([*key.split("/"), state], count)
        yield devices
        fates = GaugeMetricFamily(
            "tianti_fleet_fates",
            "Devices by what became of a release.",
            labels=["product", "channel", "release", "fate"],
        )
        for key, counts in self._fleet.fates.items():
            product, channel, release = key.split("/")
            for fate, count in counts.items():
                fates.add_metric([product, channel, release[:12], fate], count)
        yield fates
        labels = ["product", "channel", "release"]
        share = GaugeMetricFamily(
            "tianti_fleet_rollout_ppm", "Of a rollout's step, of a million devices.", labels=labels
        )
        halted = GaugeMetricFamily("tianti_fleet_rollout_halted", "Whether a rollout is halted.", labels=labels)
        for each in self._fleet.rollouts:
            values = [each.product, each.channel, each.release[:12]]
            share.add_metric(values, each.ppm)
            halted.add_metric(values, float(each.halted))
        yield from (share, halted)
