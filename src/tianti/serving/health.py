"""Whether this node runs, and whether it can answer; what it has done so far.

    GET /livez  /readyz  /v2/health/live  /v2/health/ready     GET /status

Not here: metrics.
Invariants: O(1); ready as soon as one model can be asked, until the node is told to stop.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from tianti.protocols import oip
from tianti.serving.http import Call, Reply, Route
from tianti.serving.models import Models
from tianti.serving.statuses import ByRelease

_UNAVAILABLE = 503


def routes(models: Models, tell: Callable[[], ByRelease] | None = None) -> list[Route]:
    """Where an orchestrator asks, and who reads the node's status; `tell`: that of all its processes."""
    ready = make_ready(models)

    async def status(_call: Call) -> Reply:
        """What each release of each model has done for requests that entered the ladder here."""
        return Reply(msgspec.json.encode(await asyncio.to_thread(tell or models.status)))

    return [
        *(Route("GET", path, _live, None) for path in ("/livez", "/v2/health/live")),
        *(Route("GET", path, ready, None) for path in ("/readyz", "/v2/health/ready")),
        Route("GET", "/status", status, "telemetry"),
    ]


def make_ready(models: Models) -> Callable[[Call], Awaitable[Reply]]:
    """A handler that says with its status whether there is a model to ask."""

    async def ready(_call: Call) -> Reply:
        """Whether a model can be asked."""
        if not models.ready:
            return Reply(oip.encode_error("no model is loaded, or the node is about to end"), _UNAVAILABLE)
        return Reply(oip.encode_server_health())

    return ready


async def _live(_call: Call) -> Reply:
    """Whether this node runs."""
    return Reply(oip.encode_server_health())
