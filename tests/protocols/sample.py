"""An answer to encode, with a label that has no probability of its own (out of scope)."""

from tianti.protocols.infer import InferResponse
from tianti.spec import Decision, Prediction, Probabilities, Reason, Tier

LABELS = ("lights", "music")


def predict(label: str, score: float, **scores: float) -> Prediction:
    decision = Decision(reason=Reason.TOP, certified=True)
    return Prediction(
        label=label,
        score=score,
        probabilities=Probabilities.of(scores),
        tier=Tier.CLOUD,
        package="p",
        decision=decision,
    )


RESPONSE = InferResponse(
    model="tiny",
    release="r1",
    predictions=(predict("music", 0.75, lights=0.25, music=0.75), predict("other", 0.5, lights=0.625, music=0.375)),
)
