"""A ladder whose calls are spans of the program's OpenTelemetry traces.

Not here: the spans of those who are asked (`telemetry.tracing`). Invariant: answers are those of an untraced ladder.
"""

from collections.abc import Iterable

from tianti.device.ladder import Ladder, Witness
from tianti.router import Node
from tianti.spec import Prediction
from tianti.telemetry.tracing import Tracing


class TracedLadder(Ladder):
    """Each call is one span, `tianti.predict` or `tianti.predict_many`."""

    def __init__(self, node: Node, deadline_ms: float, witness: Witness | None = None) -> None:
        super().__init__(node, deadline_ms, witness)
        self._tracing = Tracing()

    def predict(self, text: str) -> Prediction:
        """As `Ladder.predict`."""
        with self._tracing.calling("tianti.predict") as answered:
            answer = super().predict(text)
            answered([answer])
            return answer

    def predict_many(self, texts: Iterable[str]) -> list[Prediction]:
        """As `Ladder.predict_many`."""
        with self._tracing.calling("tianti.predict_many") as answered:
            answers = super().predict_many(texts)
            answered(answers)
            return answers

    async def apredict(self, text: str) -> Prediction:
        """As `Ladder.apredict`."""
        with self._tracing.calling("tianti.predict") as answered:
            answer = await super().apredict(text)
            answered([answer])
            return answer
