"""The contracts of hosting services for containers that bring their own server: Amazon SageMaker and Vertex AI.

    GET /ping     POST /invocations                           "Custom Inference Code with Hosting Services"
    GET $AIP_HEALTH_ROUTE     POST $AIP_PREDICT_ROUTE         "Custom container requirements for prediction"

The services wait for 200 from the health routes before they send requests. Vertex AI sets the two variables in the
container; elsewhere the routes are /health and /predict. They may fall on another dialect's: these come first.
Not here: the bytes (`protocols.sagemaker`, `protocols.tfs_serve`), the port (8080 for both, unless configured).
Invariant: a request that names no model is for the only one.
"""

import os
from collections.abc import Mapping

from tianti.errors import UsageError
from tianti.protocols import sagemaker, tfs_serve
from tianti.serving.asked import choose_model, complete
from tianti.serving.health import make_ready
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models


def routes(models: Models, environ: Mapping[str, str] = os.environ) -> list[Route]:
    """Where these services ask.

    Raises:
        UsageError: the environment names a route that is none.
    """
    ready = make_ready(models)
    health, predict = environ.get("AIP_HEALTH_ROUTE", "/health"), environ.get("AIP_PREDICT_ROUTE", "/predict")
    for path in (health, predict):
        if not path.startswith("/") or "{" in path:
            raise UsageError(f"AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE: expected a path such as /predict, got {path!r}")

    async def invoke(call: Call) -> Reply:
        """Answer texts, as an endpoint of Amazon SageMaker."""
        content_type, accept = (call.headers.get(name, b"").decode("latin-1") for name in (b"content-type", b"accept"))
        asked = sagemaker.decode_invocation(call.body, content_type, accept)
        name = choose_model(models, asked.model)
        response = await models.infer(name, complete(asked.request, call), call.via("sagemaker"))
        body = asked.write(response, response.labels)
        return Reply(body, media_type=asked.media_type.encode())

    async def vertex(call: Call) -> Reply:
        """Answer instances, as a custom container of Vertex AI."""
        asked = tfs_serve.decode_vertex(call.body)
        name = choose_model(models, asked.model)
        response = await models.infer(name, complete(asked.request, call), call.via("vertex"))
        return Reply(tfs_serve.encode_predictions(response, response.labels, rows=True))

    found = {"/invocations": Route("POST", "/invocations", invoke, "predict")}
    found[predict] = Route("POST", predict, vertex, "predict")
    return [*found.values(), *(Route("GET", path, ready, None) for path in dict.fromkeys(("/ping", health)))]
