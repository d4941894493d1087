"""The node's HTTP interface as an OpenAPI 3.1 document: GET /openapi.json.

Bodies are described by the records that are read and written; a summary is the handler's docstring.
Not here: the routes themselves; static files of a repository (`files`), which are as the TUF specification has them.
Invariants: every route is in it, with every status that it answers with; it is made once.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tianti.protocols import native, oip, oip_binary, sagemaker, tfs_about, tfs_serve
from tianti.router import Status
from tianti.serving.asked import DEADLINE_HEADER
from tianti.serving.http import Call, Reply, Route

_JSON = sagemaker.JSON
_OCTETS = "application/octet-stream"
_REFERENCE = "#/components/schemas/{name}"
_TEXT = "turn on the lamp"


class _Bodies(NamedTuple):
    asked: tuple[Any, ...] = ()
    answered: tuple[Any, ...] = ()
    asked_as: tuple[str, ...] = ()  # other media types than JSON
    answered_as: tuple[str, ...] = ()
    example: Any = None  # of what is asked
    fails: tuple[int, ...] = ()  # with these statuses too, beside those of every route


_ANSWERS = (404, 429, 500, 503, 504)
_ROWS = {"instances": [_TEXT]}
_EXAMPLES = {"examples": [{"text": _TEXT}]}
_TENSORS = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [_TEXT]}]}
_TFS = (tfs_serve.PredictRequest,), (tfs_serve.PredictRows, tfs_serve.PredictColumns)
_LINES = (sagemaker.LINES, sagemaker.CSV)
_BODIES = {
    "oip.infer": _Bodies((oip.RequestBody,), (oip.ResponseBody,), (_OCTETS,), (_OCTETS,), _TENSORS, _ANSWERS),
    "oip.load": _Bodies((oip.Loading,)),
    "oip.unload": _Bodies((oip.Loading,)),
    "tfs.predict": _Bodies(*_TFS, example=_ROWS, fails=_ANSWERS),
    "tfs.classify": _Bodies((tfs_serve.ExamplesRequest,), (tfs_serve.Classified,), example=_EXAMPLES, fails=_ANSWERS),
    "tfs.regress": _Bodies((tfs_serve.ExamplesRequest,), (tfs_serve.Regressed,), example=_EXAMPLES, fails=_ANSWERS),
    "tfs.status": _Bodies((), (tfs_about.ModelStatus,)),
    "tfs.metadata": _Bodies((), (tfs_about.ModelMetadata,)),
    "native.predict": _Bodies((native.PredictBody,), (native.PredictedBody,), example={"text": _TEXT}, fails=_ANSWERS),
    "hosted.invoke": _Bodies(
        (*_TFS[0], native.PredictBody),
        (*_TFS[1], native.PredictedBody),
        (*_LINES, sagemaker.PLAIN),
        _LINES,
        {"text": _TEXT},
        _ANSWERS,
    ),
    "hosted.vertex": _Bodies((tfs_serve.VertexRequest,), (tfs_serve.PredictRows,), example=_ROWS, fails=_ANSWERS),
    "health.ready": _Bodies(fails=(503,)),
    "health.status": _Bodies((), (dict[str, dict[str, Status]],)),
    "build.show_metrics": _Bodies(answered_as=("text/plain", "application/openmetrics-text")),
}
_FAILED = {
    400: "What was expected, and got.",
    401: "Not a token that this node knows.",
    403: "A token for something else.",
    404: "There is no such model, version or label here.",
    413: "The body is past the limit.",
    415: "The body has a content-encoding.",
    429: "The caller has had its share; `retry-after` says when there is more.",
    500: "No tier gave a usable answer, or a bug.",
    503: "There is no model, or no time; `retry-after` says when there may be.",
    504: "The deadline passed.",
}
_EVERY = (400, 413, 415)


def routes(described: Sequence[Route], version: str, secured: bool = False) -> list[Route]:
    """Where the document of these routes, and of this one, is read; of one version of the node.

    `secured`: callers are asked for a token.
    """

    async def document(_call: Call) -> Reply:
        """This document."""
        return Reply(body)

    own = Route("GET", "/openapi.json", document, None)
    body = msgspec.json.encode(_describe([*described, own], version, secured))
    return [own]


def _describe(described: Sequence[Route], version: str, secured: bool) -> dict[str, Any]:
    types = {kind: None for bodies in _BODIES.values() for kind in (*bodies.asked, *bodies.answered)}
    references, components = msgspec.json.schema_components([*types, oip.ErrorBody], ref_template=_REFERENCE)
    schemas: dict[Any, Any] = dict(zip([*types, oip.ErrorBody], references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, secured)
    error = _content([oip.ErrorBody], (), schemas)
    failed = {str(status): {"description": says, "content": error} for status, says in _FAILED.items()}
    found: dict[str, Any] = {"schemas": components, "responses": failed}
    if secured:
        found["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tianti node", "version": version},
        "paths": paths,
        "components": found,
    }


def _operation(route: Route, schemas: dict[Any, Any], secured: bool) -> dict[str, Any]:
    room, handler = route.handle.__module__.rpartition(".")[2], route.handle.__name__
    bodies = _BODIES.get(f"{room}.{handler}", _Bodies())
    asks_token = secured and route.scope is not None
    failures = {*_EVERY, *bodies.fails, *((404,) if "{" in route.path else ()), *((401, 403) if asks_token else ())}
    found: dict[str, Any] = {
        "summary": (route.handle.__doc__ or handler).strip().partition("\n")[0],
        "tags": [room],
        "parameters": _parameters(route, bodies),
        "responses": {
            "200": {"description": "Done.", "content": _content(bodies.answered, bodies.answered_as, schemas)},
            **{str(each): {"$ref": f"#/components/responses/{each}"} for each in sorted(failures)},
        },
    }
    if bodies.asked:
        content = _content(bodies.asked, bodies.asked_as, schemas)
        if bodies.example is not None:
            content[_JSON]["example"] = bodies.example
        found["requestBody"] = {"required": bodies.example is not None, "content": content}
    if asks_token:
        found["security"] = [{"token": [route.scope]}]
    return found


def _parameters(route: Route, bodies: _Bodies) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    headers: dict[bytes, dict[str, Any]] = {}
    if bodies.fails == _ANSWERS:
        headers[DEADLINE_HEADER] = {"type": "number", "exclusiveMinimum": 0}
    if _OCTETS in bodies.asked_as:
        headers[oip_binary.HEADER_LENGTH] = {"type": "integer", "minimum": 0}
    return found + [{"name": name.decode(), "in": "header", "schema": schema} for name, schema in headers.items()]


def _content(types: Sequence[Any], others: Sequence[str], schemas: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {other: {} for other in others}  # "schema MAY be omitted" of what is not JSON
    return {_JSON: _schema(types, schemas), **found} if types or not others else found


def _schema(types: Sequence[Any], schemas: dict[Any, Any]) -> dict[str, Any]:
    found = [schemas[kind] for kind in types]
    return {"schema": found[0] if len(found) == 1 else {"anyOf": found} if found else {"type": ["object", "array"]}}
