"""Whether this node runs, and whether it can answer; what it has done so far.

    GET /livez  /readyz  /v2/health/live  /v2/health/ready     GET /status

Not here: metrics; a node that is told to stop, which takes no more calls.
Invariant: O(1), and live even while models load; ready as soon as one model can be asked.
"""

from collections.abc import Awaitable, Callable

import msgspec

from tianti.protocols import oip
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models

_UNAVAILABLE = 503


def routes(models: Models) -> list[Route]:
    """Where an orchestrator asks, and who reads the node's status."""
    ready = make_ready(models)

    async def status(_call: Call) -> Reply:
        """What each release of each model has done for requests that entered the ladder here."""
        return Reply(msgspec.json.encode(models.status()))

    return [
        *(Route("GET", path, _live, None) for path in ("/livez", "/v2/health/live")),
        *(Route("GET", path, ready, None) for path in ("/readyz", "/v2/health/ready")),
        Route("GET", "/status", status, "telemetry"),
    ]


def make_ready(models: Models) -> Callable[[Call], Awaitable[Reply]]:
    """A handler that says with its status whether there is a model to ask."""

    async def ready(_call: Call) -> Reply:
        """Whether a model can be asked."""
        if not models.names:
            return Reply(oip.encode_error("no model is loaded yet"), _UNAVAILABLE)
        return Reply(oip.encode_server_health())

    return ready


async def _live(_call: Call) -> Reply:
    """Whether this node runs."""
    return Reply(oip.encode_server_health())
