"""A rung that is another of our nodes, asked over HTTP in the Open Inference Protocol.

Not here: whether to ask it (`router`), which texts go together (`relay`), the bytes' layout (`protocols.oip`), sockets
(`http`).
Invariants: an ask ends within its time, with a prediction or an UpstreamError; an answer of another release than the
one that was asked for is not `certified`.
"""

from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec

from tianti.errors import UpstreamError, UsageError
from tianti.protocols.infer import InferRequest
from tianti.protocols.oip import decode_response, encode_request
from tianti.runtimes.http import Connection
from tianti.runtimes.relay import Relay
from tianti.runtimes.trust import Trust
from tianti.spec import Prediction, Request


class RemoteRung:
    """Another node at a URL such as http://edge:8081, answering for the model of this name.

    `heard` is told, at each answer that names it, of the version of the newest rollout that the node knows.

    Raises:
        UsageError: the URL is not one, or what the trust names cannot be used with it.
    """

    def __init__(
        self, url: str, model: str, trust: Trust | None = None, heard: Callable[[int], None] | None = None
    ) -> None:
        self._connection = Connection(url, trust=trust or Trust(), heard=heard)
        self.name = self._connection.name
        self._path = f"/v2/models/{quote(model, safe='')}/infer"
        self._relay = Relay(self.name, self._send)

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        """The node's answer; waiting for company (see `relay`), connecting, waiting and reading share the time.

        Raises:
            DeadlineError: not within `remaining_s`.
            UpstreamError: it cannot be reached, answers with an error, or with what is not an answer.
        """
        return await self._relay.ask(request, remaining_s)

    async def _send(self, requests: Sequence[Request], remaining_s: float) -> list[Prediction]:
        """The answers to texts that differ in nothing else."""
        first = requests[0]
        body = encode_request(
            InferRequest(
                texts=tuple(request.text for request in requests),
                release=first.release,
                point=first.point,
                passed_by=first.passed_by,
                deadline_ms=remaining_s * 1e3,
                audit=first.audit,
                priority=first.priority,
                private=first.private,
            )
        )
        content = await self._connection.call(self._path, remaining_s, body)
        try:
            response = decode_response(content)
        except (UsageError, ValueError) as error:
            raise UpstreamError(f"{self.name}: expected answers of a Tianti node: {error}") from error
        if (got := len(response.predictions)) != len(requests):
            raise UpstreamError(f"{self.name}: expected {len(requests)} answers of a Tianti node, got {got}")
        if first.release in (None, response.release):
            return list(response.predictions)
        return [_uncertified(prediction) for prediction in response.predictions]  # whatever the node thinks

    async def probe(self) -> bool:
        """Is the node ready to answer? Never raises, and takes a second at most."""
        return await self._connection.answers("/v2/health/ready")

    async def aclose(self) -> None:
        """Close the connections; what is under way fails."""
        self._relay.close()
        await self._connection.aclose()


def _uncertified(prediction: Prediction) -> Prediction:
    decision = msgspec.structs.replace(prediction.decision, certified=False)
    return msgspec.structs.replace(prediction, decision=decision)
