"""Predictions to count, and metrics read back as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from tianti.spec import Decision, Prediction, Probabilities, Reason, Tier
from tianti.telemetry.metrics import Metrics

RELEASE = "0123456789abcdef" * 4


def prediction(tier: Tier = Tier.EDGE, reason: Reason = Reason.SCORE, certified: bool = True) -> Prediction:
    degraded = reason is Reason.BUSY
    decision = Decision(reason=reason, point=0.01, certified=certified, degraded=degraded)
    return Prediction(
        label="music",
        score=0.9,
        probabilities=Probabilities.of({"music": 0.9}),
        tier=tier,
        package="p" * 64,
        decision=decision,
    )


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, model, version and tier left out."""
    body, _ = metrics.render()
    return parse(body.decode())


def parse(text: str) -> dict[tuple[str, ...], float]:
    common = {"model", "version", "tier"}
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *(value for name, value in sample.labels.items() if name not in common))
            found[key] = found.get(key, 0.0) + sample.value
    return found
