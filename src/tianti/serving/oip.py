"""temporary"""

import importlib.metadata

import msgspec

from tianti.protocols import oip
from tianti.protocols.infer import InferRequest
from tianti.protocols.oip_tensors import INDEX_PATH, encode_index
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models


def routes(models: Models) -> list[Route]:
    """temporary"""

    async def infer(call: Call) -> Reply:
        name = call.params["name"]
        release = models.find(name, call.params.get("version"))
        asked = oip.decode_request(call.body)
        if "version" in call.params:
            asked = msgspec.structs.replace(asked, release=release)
        return Reply(oip.encode_response(await models.infer(name, asked), asked.outputs))

    async def metadata(call: Call) -> Reply:
        name = call.params["name"]
        release = models.find(name, call.params.get("version"))
        releases = tuple(version.release for version in models.versions(name))
        return Reply(oip.encode_model_metadata(name, releases, models.outputs(name, release)))

    async def ready(call: Call) -> Reply:
        models.find(call.params["name"], call.params.get("version"))
        return Reply(oip.encode_model_ready(call.params["name"]))

    async def health(call: Call) -> Reply:
        return Reply(oip.encode_server_health())

    async def server(call: Call) -> Reply:
        return Reply(oip.encode_server_metadata(importlib.metadata.version("tianti")))

    async def index(call: Call) -> Reply:
        (name,) = models.names
        return Reply(encode_index(name, [version.release for version in models.versions(name)]))

    async def status(call: Call) -> Reply:
        return Reply(msgspec.json.encode(models.status()))

    async def native(call: Call) -> Reply:
        asked = msgspec.json.decode(call.body, type=_Native)
        (name,) = models.names
        response = await models.infer(name, InferRequest(texts=(asked.text,)))
        p = response.predictions[0]
        return Reply(msgspec.json.encode(_Answer(p.label, p.score, p.tier, p.package, p.decision)))

    model = "/v2/models/{name}"
    version = f"{model}/versions/{{version}}"
    return [
        Route("GET", "/v2", server),
        Route("GET", "/status", status, "telemetry"),
        Route("POST", INDEX_PATH, index),
        Route("POST", "/v1/predict", native),
        *(Route("GET", path, health) for path in ("/v2/health/live", "/v2/health/ready", "/livez", "/readyz")),
        *(Route("GET", path, metadata) for path in (model, version)),
        *(Route("GET", f"{path}/ready", ready) for path in (model, version)),
        *(Route("POST", f"{path}/infer", infer, "predict") for path in (model, version)),
    ]


class _Native(msgspec.Struct):
    text: str


class _Answer(msgspec.Struct):
    label: str
    score: float
    tier: str
    package: str
    decision: object
