"""TensorFlow Serving's REST API.

    GET  /v1/models/{name}[/versions/{version} | /labels/{label}]     GET …/metadata
    POST …:predict     POST …:classify     POST …:regress

Not here: the bytes (`protocols.tfs_serve`, `protocols.tfs_about`).
Invariant: a path without a version is answered as every request is that names no release.
"""

from tianti.protocols import tfs_about, tfs_serve
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.serving.asked import complete, find_release
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models


def routes(models: Models) -> list[Route]:
    """Where this dialect is asked."""
    handlers = _Handlers(models)
    model, found = "/v1/models/{name}", []
    for path in (model, f"{model}/versions/{{version}}", f"{model}/labels/{{label}}"):
        found.append(Route("POST", f"{path}:predict", handlers.predict, "predict"))
        found.append(Route("POST", f"{path}:classify", handlers.classify, "predict"))
        found.append(Route("POST", f"{path}:regress", handlers.regress, "predict"))
        found.append(Route("GET", f"{path}/metadata", handlers.metadata, "predict"))
        found.append(Route("GET", path, handlers.status, "predict"))
    return found


class _Handlers:
    def __init__(self, models: Models) -> None:
        self._models = models

    async def predict(self, call: Call) -> Reply:
        """Answer rows (`instances`) or columns (`inputs`)."""
        release = find_release(self._models, call)
        asked = tfs_serve.decode_predict(call.body)
        response = await self._infer(call, asked.request, release)
        return Reply(tfs_serve.encode_predictions(response, response.labels, asked.rows))

    async def classify(self, call: Call) -> Reply:
        """The labels and their scores for each example, the answer first."""
        release = find_release(self._models, call)
        asked = tfs_serve.decode_examples(call.body, tfs_serve.CLASSIFY)
        return Reply(tfs_serve.encode_classified(await self._infer(call, asked, release)))

    async def regress(self, call: Call) -> Reply:
        """For each example the score that its answer is right."""
        release = find_release(self._models, call)
        asked = tfs_serve.decode_examples(call.body, tfs_serve.REGRESS)
        return Reply(tfs_serve.encode_regressed(await self._infer(call, asked, release)))

    async def status(self, call: Call) -> Reply:
        """The state of a model's versions."""
        release = find_release(self._models, call)
        versions = self._models.versions(call.params["name"])
        return Reply(tfs_about.encode_status([v.number for v in versions if release in (None, v.release)]))

    async def metadata(self, call: Call) -> Reply:
        """The signatures of a model."""
        name = call.params["name"]
        release = find_release(self._models, call) or self._models.find(name)
        number = next(each.number for each in self._models.versions(name) if each.release == release)
        return Reply(tfs_about.encode_metadata(name, number, self._models.outputs(name, release)))

    async def _infer(self, call: Call, asked: InferRequest, release: str | None) -> InferResponse:
        return await self._models.infer(call.params["name"], complete(asked, call, release), call.via("tfs"))
