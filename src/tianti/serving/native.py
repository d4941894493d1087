"""Tianti's own dialect: POST /v1/predict.

Not here: the bytes (`protocols.native`).
Invariant: one text costs as little as it can; this is the route that the figures are of.
"""

from tianti.protocols import native
from tianti.serving.asked import choose_model, complete
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models


def routes(models: Models) -> list[Route]:
    """Where this dialect is asked."""

    async def predict(call: Call) -> Reply:
        """Answer a text, or several."""
        request, model, scores = native.decode_request(call.body)
        response = await models.infer(choose_model(models, model), complete(request, call))
        return Reply(native.encode_response(response, scores))

    return [Route("POST", "/v1/predict", predict, "predict")]
