"""The node's HTTP interface as an OpenAPI 3.1 document: GET /openapi.json.

Bodies are described by the records that are read and written; a summary is the handler's docstring.
Not here: the routes themselves.
Invariant: every route is in it; it is made once.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tianti.protocols import native, oip, sagemaker, tfs_about, tfs_serve
from tianti.router import Status
from tianti.serving.asked import DEADLINE_HEADER
from tianti.serving.http import Call, Reply, Route

_JSON = sagemaker.JSON
_OCTETS = "application/octet-stream"
_REFERENCE = "#/components/schemas/{name}"


class _Bodies(NamedTuple):
    asked: tuple[Any, ...] = ()
    answered: tuple[Any, ...] = ()
    asked_as: tuple[str, ...] = ()  # other media types than JSON
    answered_as: tuple[str, ...] = ()


_TFS = (tfs_serve.PredictRequest,), (tfs_serve.PredictRows, tfs_serve.PredictColumns)
_LINES = (sagemaker.LINES, sagemaker.CSV)
_BODIES = {
    "oip.infer": _Bodies((oip.RequestBody,), (oip.ResponseBody,), (_OCTETS,), (_OCTETS,)),
    "oip.load": _Bodies((oip.Loading,)),
    "oip.unload": _Bodies((oip.Loading,)),
    "tfs.predict": _Bodies(*_TFS),
    "tfs.classify": _Bodies((tfs_serve.ExamplesRequest,), (tfs_serve.Classified,)),
    "tfs.regress": _Bodies((tfs_serve.ExamplesRequest,), (tfs_serve.Regressed,)),
    "tfs.status": _Bodies((), (tfs_about.ModelStatus,)),
    "tfs.metadata": _Bodies((), (tfs_about.ModelMetadata,)),
    "native.predict": _Bodies((native.PredictBody,), (native.PredictedBody,)),
    "hosted.invoke": _Bodies(
        (*_TFS[0], native.PredictBody), (*_TFS[1], native.PredictedBody), (*_LINES, sagemaker.PLAIN), _LINES
    ),
    "hosted.vertex": _Bodies((tfs_serve.VertexRequest,), (tfs_serve.PredictRows,)),
    "health.status": _Bodies((), (dict[str, dict[str, Status]],)),
}


def routes(described: Sequence[Route], version: str) -> list[Route]:
    """Where the document of these routes, and of this one, is read; of one version of the node."""

    async def document(_call: Call) -> Reply:
        """This document."""
        return Reply(body)

    own = Route("GET", "/openapi.json", document, None)
    body = msgspec.json.encode(_describe([*described, own], version))
    return [own]


def _describe(described: Sequence[Route], version: str) -> dict[str, Any]:
    types = {kind: None for bodies in _BODIES.values() for kind in (*bodies.asked, *bodies.answered)}
    references, components = msgspec.json.schema_components([*types, oip.ErrorBody], ref_template=_REFERENCE)
    schemas: dict[Any, Any] = dict(zip([*types, oip.ErrorBody], references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    failed = {"description": "What was expected, and got.", "content": _content([oip.ErrorBody], (), schemas)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tianti node", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Error": failed},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    room, handler = route.handle.__module__.rpartition(".")[2], route.handle.__name__
    bodies = _BODIES.get(f"{room}.{handler}", _Bodies())
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.method == "POST" and route.scope == "predict":
        header = {"name": DEADLINE_HEADER.decode(), "in": "header", "schema": {"type": "number"}}
        parameters.append(header)
    found: dict[str, Any] = {
        "summary": (route.handle.__doc__ or handler).strip().partition("\n")[0],
        "tags": [room],
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": _content(bodies.answered, bodies.answered_as, schemas)},
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if bodies.asked:
        content = _content(bodies.asked, bodies.asked_as, schemas)
        found["requestBody"] = {"required": True, "content": content}
    if route.scope is not None:
        found["security"] = [{"token": [route.scope]}]
    return found


def _content(types: Sequence[Any], others: Sequence[str], schemas: dict[Any, Any]) -> dict[str, Any]:
    return {_JSON: _schema(types, schemas), **{other: {"schema": {"type": "string"}} for other in others}}


def _schema(types: Sequence[Any], schemas: dict[Any, Any]) -> dict[str, Any]:
    found = [schemas[kind] for kind in types]
    return {"schema": found[0] if len(found) == 1 else {"anyOf": found} if found else {"type": ["object", "array"]}}
